"""A client for S3, from Airflow's hook."""

from __future__ import annotations

from typing import Any

from airflow_provider_curation.s3.faults import naming_faults


def s3_client(aws_conn_id: str | None) -> Any:
    """Return a boto3 client for a connection of type ``aws``.

    boto is imported here, so that parsing a DAG file does not load it.

    :raises ArchiveError: if the connection does not lead to a client, such as one with a profile that does not exist.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    with naming_faults(""):
        return S3Hook(aws_conn_id=aws_conn_id).get_conn()
