"""A prefix of S3 as a store that can be verified: listed page by page, read object by object."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

from airflow_provider_curation.audit.evidence.archive import Entry
from airflow_provider_curation.s3.client import NOT_FOUND, error_code, s3_hook

_CHUNK_BYTES: Final = 1 << 20


class S3Archive:
    """The objects of a bucket; its client is shared by threads."""

    def __init__(self, bucket: str, *, aws_conn_id: str | None) -> None:
        self.bucket = bucket
        self._aws_conn_id = aws_conn_id
        self._put_args: dict[str, Any] = {}

    @cached_property
    def _client(self) -> Any:
        return s3_hook(self._aws_conn_id).get_conn()

    def protect(self, lock: dict[str, Any], extra_args: dict[str, Any]) -> None:
        """Have what is written locked, and uploaded with extra arguments of boto3.

        :raises ObjectLockError: if the bucket has no Object Lock.
        """
        from airflow_provider_curation.s3.object_lock import check_bucket, upload_arguments

        if lock:
            check_bucket(self._client, self.bucket, lock)
        self._put_args = {**extra_args, **upload_arguments(lock)}

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Give the objects below a prefix in order of key, a page of a thousand at a time."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield Entry(found["Key"], found["Size"], found.get("ETag", "").strip('"') or None)

    def read(self, key: str) -> bytes | None:
        """Return a small object; ``None`` if there is none."""
        from botocore.exceptions import ClientError

        try:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error_code(error) in NOT_FOUND:
                return None
            raise

    def chunks(self, key: str) -> Iterator[bytes]:
        """Give an object's bytes piece by piece."""
        body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
        try:
            yield from body.iter_chunks(_CHUNK_BYTES)
        finally:
            body.close()

    def put_new(self, key: str, body: bytes) -> bool:
        """Write a small object, unless there is one; say whether it was written."""
        from botocore.exceptions import ClientError

        try:
            arguments = {**self._put_args, "ContentType": "application/json", "IfNoneMatch": "*"}
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, **arguments)
        except ClientError as error:
            if error_code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                return False
            raise
        return True
