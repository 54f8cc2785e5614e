"""What is at the keys of an export: its object, its manifest, and the manifest's signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES
from airflow_provider_curation.s3.codes import NOT_FOUND, error_code
from airflow_provider_curation.s3.conditions import etag_of
from airflow_provider_curation.s3.faults import naming_faults

#: The field of an object's metadata that names the try that wrote it.
TRY: Final = "curation-export-try"
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Small:
    """A manifest or a signature in S3; without a body, there is none.

    :param body: its bytes; if it is longer than any manifest, only the beginning, which no parser accepts.
    """

    body: bytes | None = None
    etag: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Seen:
    """What was at the keys of an object and its manifest.

    :param head: S3's answer to ``HEAD``; ``None`` without an object.
    """

    head: dict[str, Any] | None
    manifest: Small

    @property
    def etags(self) -> tuple[str | None, str | None]:
        return etag_of(self.head) if self.head else None, self.manifest.etag


class Keys:
    """The keys of one export, for one try of it.

    :param token: names the try, in the metadata of the object that it writes.
    """

    def __init__(self, client: Any, bucket: str, key: str, manifest_key: str, token: str) -> None:
        self.client = client
        self.bucket = bucket
        self.key = key
        self.manifest_key = manifest_key
        self.signature_key = manifest_key + SIGNATURE_SUFFIX
        self._token = token

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def look(self) -> Seen:
        """Return what is at the keys of object and manifest.

        :raises ArchiveError: if S3 fails.
        """
        return Seen(self.head(), self.small(self.manifest_key))

    def look_or_none(self) -> Seen | None:
        """Return what is at the keys, or ``None`` if S3 fails."""
        try:
            return self.look()
        except ArchiveError:
            return None

    def head(self) -> dict[str, Any] | None:
        """Return S3's answer to ``HEAD`` of the object, with its checksum; ``None`` without an object."""
        from botocore.exceptions import ClientError

        with naming_faults(self.bucket, self.key):
            try:
                return dict(self.client.head_object(Bucket=self.bucket, Key=self.key, ChecksumMode="ENABLED"))
            except ClientError as error:
                if error_code(error) in NOT_FOUND:
                    return None
                raise

    def small(self, key: str) -> Small:
        """Return the manifest or the signature at a key; at most a manifest's bytes are read."""
        from botocore.exceptions import ClientError

        with naming_faults(self.bucket, key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error_code(error) not in NOT_FOUND:
                    raise
                return Small()
            body = answer["Body"]
            try:
                return Small(bytes(body.read(MOST_MANIFEST_BYTES + 1)), etag_of(answer), answer.get("VersionId"))
            finally:
                body.close()

    def sha256(self, etag: str) -> str | None:
        """Read the object, and return the SHA-256 of its bytes; ``None`` if it no longer has this ETag."""
        from botocore.exceptions import ClientError

        with naming_faults(self.bucket, self.key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.key)
            except ClientError as error:
                if error_code(error) not in NOT_FOUND:
                    raise
                return None
            body, sha256 = answer["Body"], hashlib.sha256()
            try:
                while chunk := body.read(_READ_BYTES):
                    sha256.update(chunk)
            finally:
                body.close()
        return sha256.hexdigest() if etag_of(answer) == etag else None

    def is_own(self, head: dict[str, Any] | None) -> bool:
        """Return whether this try has written an object."""
        return head is not None and head.get("Metadata", {}).get(TRY) == self._token

    def own_etag(self) -> str | None:
        """Return the ETag of the object at the key, if this try has written it."""
        head = self.head()
        return etag_of(head) if head is not None and self.is_own(head) else None
