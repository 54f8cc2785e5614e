"""This provider: `CurationAuditToS3Operator` with its defaults, executed as a task would.

The connections come from the environment (`AIRFLOW_CONN_…`). boto3, the hook and pyarrow, which the operator
imports late, are imported first, so that time and memory count as they do for the other peers.
"""

from __future__ import annotations

import boto3  # noqa: F401
from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401
from peer import Job, parse_job, reported

from airflow_provider_curation.hooks.curation_audit import CurationAuditHook  # noqa: F401
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator


def export(job: Job) -> None:
    operator = CurationAuditToS3Operator(
        task_id="export",
        s3_bucket=job.bucket,
        s3_key="bench/export{suffix}",
        file_format=job.file_format,  # type: ignore[arg-type]
        start=job.start,
        end=job.end,
    )
    operator.execute({})


if __name__ == "__main__":
    the_job = parse_job()
    if the_job.file_format == "parquet":
        from airflow_provider_curation.audit.exporting import parquet

        # Its libraries are read from disk as they are used.
        list(parquet.encode([b'{"id":1,"created_at":"2026-03-09T14:51:03Z"}\n']))
    with reported(the_job):
        export(the_job)
