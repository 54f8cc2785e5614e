"""One object of S3 and its manifest: written whole or not at all."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_curation.audit.manifest import MANIFEST_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BytesIO

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

# boto's own threads cost memory and win nothing for an upload that reads a stream. Parts of 5 MiB, S3's smallest, keep
# memory low; 10,000 of them make 48 GiB.
_PART_BYTES = 5 * 1024 * 1024
_TRANSFER = {"use_threads": False, "multipart_chunksize": _PART_BYTES, "multipart_threshold": _PART_BYTES}
_NOT_FOUND = ("404", "NoSuchKey", "NotFound")


class S3Object:
    """An object that an export writes, and ``<key>.manifest.json`` beside it.

    :param encrypt: have S3 encrypt the object with its own keys (SSE-S3); KMS goes through ``extra_args``.
    :param extra_args: of boto3's uploads, such as ``ServerSideEncryption`` and ``SSEKMSKeyId``.
    """

    def __init__(
        self,
        bucket: str,
        key: str,
        *,
        aws_conn_id: str | None,
        encrypt: bool = False,
        acl_policy: str | None = None,
        extra_args: dict[str, Any] | None = None,
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.manifest_key = key + MANIFEST_SUFFIX
        self._aws_conn_id = aws_conn_id
        self._encrypt = encrypt
        self._acl_policy = acl_policy
        self._extra_args = extra_args or {}
        self._was_there = False
        self._manifest: bytes | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @cached_property
    def _hook(self) -> S3Hook:
        # Here, so that reading a DAG file does not load boto.
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        return S3Hook(aws_conn_id=self._aws_conn_id, extra_args=self._extra_args, transfer_config_args=dict(_TRANSFER))

    @cached_property
    def _client(self) -> Any:
        return self._hook.get_conn()

    def exists(self) -> bool:
        """Say whether there is an object at the key, and remember it: what was there before is never deleted."""
        self._was_there = self._hook.head_object(self.key, self.bucket) is not None
        return self._was_there

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest of the object that is there, ``None`` without one or for one that cannot be read."""
        body = self._manifest_body()
        if body is None:
            return None
        try:
            manifest = json.loads(body)
        except ValueError:
            log.warning("s3://%s/%s is no JSON, and is treated as missing.", self.bucket, self.manifest_key)
            return None
        return manifest if isinstance(manifest, dict) else None

    def _manifest_body(self) -> bytes | None:
        from botocore.exceptions import ClientError

        try:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=self.manifest_key)["Body"].read())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_FOUND:
                return None
            raise

    def abort_open_uploads(self) -> None:
        """Abort the multipart uploads that were left open on this key, as a killed task leaves them."""
        from botocore.exceptions import ClientError

        try:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.key)
            found = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == self.key]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("AccessDenied", "403"):
                raise
            log.warning(
                "Uploads that were left open on %s cannot be looked for (%s): grant s3:ListBucketMultipartUploads, or "
                "give the bucket a lifecycle rule that aborts incomplete uploads.",
                self.uri,
                error.response.get("Error", {}).get("Code"),
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

    def put_manifest(self, manifest: bytes) -> None:
        """Write the manifest, with the object's encryption and access."""
        extra_args = dict(self._extra_args)
        if self._encrypt:
            extra_args["ServerSideEncryption"] = "AES256"
        if self._acl_policy:
            extra_args["ACL"] = self._acl_policy
        extra_args["ContentType"] = "application/json"
        extra_args.pop("ContentEncoding", None)
        self._manifest = manifest
        self._client.put_object(Bucket=self.bucket, Key=self.manifest_key, Body=manifest, **extra_args)

    def undo(self) -> None:
        """Leave nothing of a failed export behind: no open upload, and neither object nor manifest if none was there.

        An object that was there before is kept: the export that replaced it was verified, and holds no less. So is one
        that another try has finished meanwhile, as when this task has outlived a killed scheduler that its run has not.
        """
        try:
            self.abort_open_uploads()
            if self._was_there:
                return
            found = self._hook.head_object(self.key, self.bucket)
            if found is not None and self._is_of_another_try(found):
                log.warning("%s was finished by another try meanwhile, and is kept.", self.uri)
                return
            if self._hook.head_object(self.manifest_key, self.bucket) is not None:
                self._client.delete_object(Bucket=self.bucket, Key=self.manifest_key)
            if found is not None:
                self._client.delete_object(Bucket=self.bucket, Key=self.key)
        except Exception:
            log.exception(
                "What the failed export left at %s could not be removed; the next try aborts its open upload.", self.uri
            )

    def _is_of_another_try(self, found: Mapping[str, Any]) -> bool:
        """Say whether the manifest is that of the object which was found, and not the one that was written here."""
        if self._manifest is not None and self._manifest_body() == self._manifest:
            return False
        manifest = self.manifest()
        return manifest is not None and manifest.get("size") == found.get("ContentLength")
