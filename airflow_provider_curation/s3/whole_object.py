"""One small object in S3, such as a report: written in one request, whole or not at all, and read back."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from airflow_provider_curation.audit.errors import ArchiveRefusedError
from airflow_provider_curation.s3.client import s3_client
from airflow_provider_curation.s3.faults import naming_faults


def write_whole(
    bucket: str,
    key: str,
    body: bytes,
    content_type: str,
    *,
    aws_conn_id: str | None,
    extra_args: dict[str, Any] | None = None,
) -> str:
    """Write an object, replacing one that may be there, and return its URI.

    S3 compares the bytes that arrive with their SHA-256 before it stores them.

    :param extra_args: of boto3's uploads, such as ``ServerSideEncryption``.
    :raises ArchiveError: if S3 refuses the object, or returns other bytes.
    """
    client = s3_client(aws_conn_id)
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    uri = f"s3://{bucket}/{key}"
    with naming_faults(bucket, key):
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            **{**(extra_args or {}), "ContentType": content_type, "ChecksumSHA256": checksum},
        )
        stored = client.get_object(Bucket=bucket, Key=key)["Body"].read(len(body) + 1)
    if stored != body:
        raise ArchiveRefusedError(
            f"{uri} was written with {len(body):,} bytes, and S3 returns other bytes. Something else may be writing "
            "to this key; write the report again."
        )
    return uri
