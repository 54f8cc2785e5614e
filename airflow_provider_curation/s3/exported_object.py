"""One object of S3 and its manifest: written whole or not at all."""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest
from airflow_provider_curation.audit.evidence.replacement import Present
from airflow_provider_curation.s3.client import NOT_FOUND, error_code, s3_hook
from airflow_provider_curation.s3.object_lock import check_bucket, ensure_locked, upload_arguments
from airflow_provider_curation.s3.quarantine import keep_altered

if TYPE_CHECKING:
    from io import BytesIO

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

_DENIED = ("AccessDenied", "403")


class S3Object:
    """An object that an export writes, and its manifest.

    :param encrypt: have S3 encrypt the object with its own keys (SSE-S3); KMS goes through ``extra_args``.
    :param extra_args: of boto3's uploads, such as ``ServerSideEncryption`` and ``SSEKMSKeyId``.
    :param lock: how object and manifest are protected, as a manifest says it: ``mode``, ``retain_until``,
        ``legal_hold``.
    """

    def __init__(
        self,
        bucket: str,
        key: str,
        manifest_key: str,
        *,
        aws_conn_id: str | None,
        encrypt: bool = False,
        acl_policy: str | None = None,
        extra_args: dict[str, Any] | None = None,
        lock: dict[str, Any] | None = None,
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.manifest_key = manifest_key
        self.signature_key = manifest_key + SIGNATURE_SUFFIX
        self._aws_conn_id = aws_conn_id
        self._encrypt = encrypt
        self._acl_policy = acl_policy
        self._lock = lock or {}
        self._extra_args = {**(extra_args or {}), **upload_arguments(self._lock)}
        self._there: set[str] = set()
        self._written_manifest: bytes | None = None
        self._signed = False
        self._etag: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @cached_property
    def _hook(self) -> S3Hook:
        return s3_hook(self._aws_conn_id, self._extra_args)

    @cached_property
    def _client(self) -> Any:
        return self._hook.get_conn()

    def check_lock(self) -> None:
        """Hold the wanted protection against the bucket, before anything is read.

        :raises ObjectLockError: if the bucket has no Object Lock.
        """
        # Without a lock there is no reason to make a client yet: the task may only have to wait.
        if self._lock:
            check_bucket(self._client, self.bucket, self._lock)

    def present(self) -> Present:
        """Return what is at the key, and remember it: what was there before is never deleted."""
        found = self._find()
        there = {self.key: found.size, self.manifest_key: found.manifest_sha256}
        self._there = {key for key, known in there.items() if known is not None}
        return found

    def _find(self) -> Present:
        head = self._hook.head_object(self.key, self.bucket)
        body = self._small(self.manifest_key)
        manifest = None
        if body is not None:
            try:
                manifest = StoredManifest.parse(body)
            except ManifestError as error:
                log.warning("s3://%s/%s is no manifest: %s.", self.bucket, self.manifest_key, error)
        return Present(
            self.uri,
            size=head["ContentLength"] if head else None,
            etag=_etag(head) if head else None,
            manifest=manifest,
            manifest_sha256=None if body is None else hashlib.sha256(body).hexdigest(),
        )

    def signature(self) -> bytes | None:
        """Return the manifest's signature; ``None`` if there is none."""
        return self._small(self.signature_key)

    def _small(self, key: str) -> bytes | None:
        from botocore.exceptions import ClientError

        try:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error_code(error) in NOT_FOUND:
                return None
            raise

    def keep_altered(self, present: Present) -> dict[str, Any] | None:
        """Keep what is about to be replaced if it was altered, see :mod:`airflow_provider_curation.s3.quarantine`."""
        extra_args = {**({"ServerSideEncryption": "AES256"} if self._encrypt else {}), **self._extra_args}
        return keep_altered(self._client, self.bucket, self.key, self.manifest_key, present, extra_args)

    def stored(self) -> dict[str, Any]:
        """Return what S3 says of the object that was written, by the names of a manifest.

        :raises ObjectLockError: if it was to be locked, and is not.
        """
        head = self._hook.head_object(self.key, self.bucket) or {}
        ensure_locked(self._client, self.bucket, self.key, self._lock, head)
        self._etag = _etag(head)
        encryption = {"algorithm": head.get("ServerSideEncryption"), "kms_key_id": head.get("SSEKMSKeyId")}
        return {
            "etag": self._etag,
            "version_id": head.get("VersionId"),
            "encryption": {name: value for name, value in encryption.items() if value},
        }

    def abort_open_uploads(self) -> None:
        """Abort the multipart uploads that were left open on this key, as a killed task leaves them."""
        from botocore.exceptions import ClientError

        try:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.key)
            found = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == self.key]
        except ClientError as error:
            if error_code(error) not in _DENIED:
                raise
            log.warning(
                "Uploads that were left open on %s cannot be looked for (%s): grant s3:ListBucketMultipartUploads, or "
                "give the bucket a lifecycle rule that aborts incomplete uploads.",
                self.uri,
                error_code(error),
            )
            return
        for upload in found:
            log.info("Aborting an upload to %s that was left open since %s.", self.uri, upload.get("Initiated"))
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=upload["UploadId"])

    def upload(self, file: BinaryIO | Any) -> None:
        """Upload an unseekable file; an error in reading it leaves no object and no upload behind."""
        self._hook.load_file_obj(
            cast("BytesIO", file),
            self.key,
            self.bucket,
            replace=True,
            encrypt=self._encrypt,
            acl_policy=self._acl_policy,
        )

    def put_manifest(self, manifest: bytes, signature: bytes | None = None) -> None:
        """Write the manifest after its signature, if there is one, with the object's encryption and access."""
        extra_args = dict(self._extra_args)
        if self._encrypt:
            extra_args["ServerSideEncryption"] = "AES256"
        if self._acl_policy:
            extra_args["ACL"] = self._acl_policy
        extra_args["ContentType"] = "application/json"
        extra_args.pop("ContentEncoding", None)
        if signature is not None:
            self._signed = True
            self._client.put_object(Bucket=self.bucket, Key=self.signature_key, Body=signature, **extra_args)
        self._written_manifest = manifest
        self._client.put_object(Bucket=self.bucket, Key=self.manifest_key, Body=manifest, **extra_args)

    def check_kept(self) -> None:
        """Hold that S3 still has the object, now that its manifest is there, too.

        Another try of the same window, as after a scheduler was killed, may have removed it in between.

        :raises IncompleteExportError: if it has not; nothing is left then.
        """
        head = self._hook.head_object(self.key, self.bucket)
        if head is not None and _etag(head) == self._etag:
            return
        self.undo()
        raise IncompleteExportError(
            f"{self.uri} was removed or replaced while its manifest was written, by something else that writes to this "
            "key, such as another try of this task. Nothing of this export was kept; the next try exports it again."
        )

    def undo(self) -> None:
        """Leave nothing of a failed export behind: no open upload, and no object or manifest that was not there.

        What was there before is kept: an object that replaced it was verified, and holds no less. So is what another
        try has finished meanwhile, as when this task has outlived a killed scheduler that its run has not. In a bucket
        with versions, what is removed stays as a version under a delete marker.
        """
        try:
            self.abort_open_uploads()
            mine = [key for key in (self.manifest_key, self.key) if key not in self._there]
            if not mine:
                return
            found = self._find()
            if found.intact and not self._is_own(found):
                log.warning("%s was finished by another try meanwhile, and is kept.", self.uri)
                return
            for key in mine:
                if (found.size if key == self.key else found.manifest_sha256) is not None:
                    self._client.delete_object(Bucket=self.bucket, Key=key)
            if self._signed and self.manifest_key in mine:
                self._client.delete_object(Bucket=self.bucket, Key=self.signature_key)
        except Exception:
            log.exception(
                "What the failed export left at %s could not be removed; the next try aborts its open upload.", self.uri
            )

    def _is_own(self, found: Present) -> bool:
        """Say whether the manifest that was found is the one that was written here."""
        own = self._written_manifest
        return own is not None and found.manifest_sha256 == hashlib.sha256(own).hexdigest()


def _etag(head: dict[str, Any]) -> str | None:
    return str(head["ETag"]).strip('"') if head.get("ETag") else None
