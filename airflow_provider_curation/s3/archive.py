"""A bucket as an archive that can be verified: listed page by page, read object by object.

Every fault of S3 is raised as an :class:`ArchiveError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar

from airflow_provider_curation.audit.evidence.archive import Entry, TooLargeError
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES
from airflow_provider_curation.audit.evidence.timestamp import STAMP_SUFFIX
from airflow_provider_curation.s3.checksum import checksum_of
from airflow_provider_curation.s3.client import s3_client
from airflow_provider_curation.s3.codes import NOT_FOUND, error_code
from airflow_provider_curation.s3.conditions import UNMET, Conditions, if_unchanged
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.object_lock import check_bucket, upload_arguments

_T = TypeVar("_T")
_CHUNK_BYTES: Final = 1 << 20


class S3Archive:
    """The objects of a bucket; its client is shared by threads."""

    def __init__(self, bucket: str, *, aws_conn_id: str | None) -> None:
        self.bucket = bucket
        self._aws_conn_id = aws_conn_id
        self._put_args: dict[str, Any] = {}

    @cached_property
    def _client(self) -> Any:
        return s3_client(self._aws_conn_id)

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(f"s3://{self.bucket}")

    def protect(self, lock: dict[str, Any], extra_args: dict[str, Any]) -> None:
        """Lock what is written, and upload it with extra arguments of boto3.

        :raises ObjectLockError: if the bucket has no Object Lock.
        """
        if lock:
            with naming_faults(self.bucket):
                check_bucket(self._client, self.bucket, lock)
        self._put_args = {**extra_args, **upload_arguments(lock)}

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the objects below a prefix in order of key, from pages of a thousand."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in self._named(prefix, pages):
            for found in page.get("Contents", ()):
                yield Entry(found["Key"], found["Size"], found.get("ETag", "").strip('"') or None)

    def read(self, key: str, most: int = MOST_MANIFEST_BYTES) -> bytes | None:
        """Return a small object; ``None`` if there is none.

        :raises TooLargeError: if it has more than ``most`` bytes.
        """
        try:
            body = self._body(key)
        except FileNotFoundError:
            return None
        try:
            with naming_faults(self.bucket, key):
                read = bytes(body.read(most + 1))
        finally:
            body.close()
        if len(read) > most:
            raise TooLargeError(f"it has more than {most:,} bytes")
        return read

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes in pieces.

        :raises FileNotFoundError: if there is none.
        """
        body = self._body(key)
        try:
            yield from self._named(key, body.iter_chunks(_CHUNK_BYTES))
        finally:
            body.close()

    def _named(self, key: str, parts: Iterable[_T]) -> Iterator[_T]:
        """Yield the parts of an answer, and name S3's faults, but not those of the code that uses the parts."""
        waiting = iter(parts)
        while True:
            with naming_faults(self.bucket, key):
                try:
                    part = next(waiting)
                except StopIteration:
                    return
            yield part

    def _body(self, key: str) -> Any:
        from botocore.exceptions import ClientError

        with naming_faults(self.bucket, key):
            try:
                return self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
            except ClientError as error:
                if error_code(error) in NOT_FOUND:
                    raise FileNotFoundError(self.uri(key)) from None
                raise

    def checksum(self, key: str) -> Mapping[str, str] | None:
        """Return the checksum that S3 keeps of an object; ``None`` if it keeps none, or has no such object."""
        return checksum_of(self._head(key) or {})

    def _head(self, key: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        with naming_faults(self.bucket, key):
            try:
                return dict(self._client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED"))
            except ClientError as error:
                if error_code(error) in NOT_FOUND:
                    return None
                raise

    def put_new(self, key: str, body: bytes) -> bool:
        """Write a small object unless there is one, and return whether it was written.

        On a store without conditional requests, it looks first whether there is one. If an answer was lost, boto sent
        the request again and S3 refused it, the object that is there has exactly these bytes: it was written.
        """
        from botocore.exceptions import ClientError

        def put(**asked: Any) -> bool:
            if "IfNoneMatch" not in asked and self._head(key) is not None:
                return False
            self._client.put_object(**asked)
            return True

        condition, asked = if_unchanged(None), self._put_arguments(key, body)
        with naming_faults(self.bucket, key):
            try:
                return bool(self._conditions.send(put, "PutObject", condition, **asked))
            except ClientError as error:
                if error_code(error) not in UNMET:
                    raise
                there = self._head(key)
                if there is None:
                    # The object that was in the way is gone.
                    raise
        return there["ContentLength"] == len(body) and self.read(key, len(body)) == body

    def put(self, key: str, body: bytes) -> None:
        """Write a small object, and replace one that may be there."""
        with naming_faults(self.bucket, key):
            self._client.put_object(**self._put_arguments(key, body))

    def _put_arguments(self, key: str, body: bytes) -> dict[str, Any]:
        told = {"Bucket": self.bucket, "Key": key, "Body": body, "ContentType": _content_type(key)}
        return {**self._put_args, **told}


def _content_type(key: str) -> str:
    return "application/timestamp-reply" if key.endswith(STAMP_SUFFIX) else "application/json"
