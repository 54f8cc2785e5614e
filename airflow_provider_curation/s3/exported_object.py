"""One object of S3 and its manifest: written whole or not at all, by one try at a time.

:doc:`guarantees` has the protocol of two tries on one key; ``tests/unit/s3/test_two_tries.py`` explores it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Final

from airflow_provider_curation.audit.errors import (
    ArchiveError,
    ExportUnderWayError,
    IncompleteExportError,
)
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest
from airflow_provider_curation.audit.evidence.replacement import Present
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.client import s3_client
from airflow_provider_curation.s3.codes import DENIED, NOT_FOUND, error_code
from airflow_provider_curation.s3.conditions import UNMET, Conditions, etag_of, if_unchanged
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.object_lock import check_bucket, ensure_locked, upload_arguments
from airflow_provider_curation.s3.quarantine import keep_altered
from airflow_provider_curation.s3.upload import Stream, Upload
from airflow_provider_curation.s3.web import object_page

log = logging.getLogger(__name__)

#: The object's metadata that names the try which wrote it.
_TRY: Final = "curation-export-try"
_CLAIMS: Final = ".claims/"
_MOST_CONFLICTS: Final = 3


@dataclass(frozen=True)
class _Seen:
    """What is at the two keys.

    :param head: S3's answer to ``HEAD``; ``None`` without an object.
    """

    head: dict[str, Any] | None
    manifest: bytes | None
    manifest_etag: str | None
    manifest_version: str | None

    @property
    def etags(self) -> tuple[str | None, str | None]:
        return etag_of(self.head) if self.head else None, self.manifest_etag


class S3Object:
    """An object that an export writes, and its manifest.

    Call :meth:`check`, :meth:`present`, :meth:`begin`, :meth:`upload`, :meth:`stored`, :meth:`put_manifest` and
    :meth:`finish` in this order; :meth:`undo` if anything fails from :meth:`begin` on.

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
        self._lock = lock or {}
        self._arguments = {**(extra_args or {}), **upload_arguments(self._lock)}
        if encrypt:
            self._arguments["ServerSideEncryption"] = "AES256"
        if acl_policy:
            self._arguments["ACL"] = acl_policy
        self._token = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._conditions = Conditions(self.uri)
        self._before: _Seen | None = None
        self._upload: Upload | None = None
        #: Whether S3 was asked to complete the upload, so that the object at the key may be this try's.
        self._completing = False
        self._own_etag: str | None = None
        self._own_manifest: bytes | None = None
        self._own_signature: bytes | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @cached_property
    def _client(self) -> Any:
        return s3_client(self._aws_conn_id)

    @cached_property
    def _claim(self) -> Claim:
        return Claim(self._client, self.bucket, self.manifest_key + _CLAIMS, self._token)

    def page(self, key: str) -> str:
        """Return the page where people find an object of the bucket, see :mod:`airflow_provider_curation.s3.web`."""
        return object_page(self._client, self.bucket, key)

    # Before anything is read

    def check_lock(self) -> None:
        """Check that the bucket can lock what is to be locked; without a lock, nothing is asked.

        :raises ObjectLockError: if it cannot.
        """
        if self._lock:
            with naming_faults(self.bucket):
                check_bucket(self._client, self.bucket, self._lock)

    def check(self) -> None:
        """Check that there are a bucket and credentials for it.

        :raises ArchiveError: which says what is missing.
        """
        with naming_faults(self.bucket):
            # Unlike a HEAD, its answer has a body, which says what is wrong with the bucket or the credentials.
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.key, MaxKeys=1)

    def present(self) -> Present:
        """Return what is at the key, and remember it: nothing that this try has not seen is replaced.

        :raises ArchiveError: if S3 does not say.
        """
        seen = self._before = self._look()
        manifest = None
        if seen.manifest is not None:
            try:
                manifest = StoredManifest.parse(seen.manifest)
            except ManifestError as error:
                log.warning("s3://%s/%s is not a manifest: %s.", self.bucket, self.manifest_key, error)
        return Present(
            self.uri,
            size=seen.head["ContentLength"] if seen.head else None,
            etag=seen.etags[0],
            manifest=manifest,
            manifest_sha256=None if seen.manifest is None else hashlib.sha256(seen.manifest).hexdigest(),
        )

    def signature(self) -> bytes | None:
        """Return the manifest's signature; ``None`` if there is none."""
        with naming_faults(self.bucket, self.signature_key):
            return self._small(self.signature_key)[0]

    # Writing

    def begin(self, stop: threading.Event) -> None:
        """Claim the key for this try, and abort what dead tries left open on it.

        :param stop: ends the wait for a try that may be dead.
        :raises ExportUnderWayError: if another try is writing to the key, or has done so since :meth:`present`.
        """
        self._claim.take(stop)
        self._claim.abort_uploads(self.key)
        if self._before is None or self._look().etags != self._before.etags:
            raise ExportUnderWayError(
                f"{self.uri} was written by another export of this window just now. Nothing was read; the next try of "
                "this task compares with what is there."
            )

    def keep_altered(self, present: Present) -> dict[str, Any] | None:
        """Keep what is about to be replaced if it was altered, see :mod:`airflow_provider_curation.s3.quarantine`."""
        with naming_faults(self.bucket, self.key):
            return keep_altered(self._client, self.bucket, self.key, self.manifest_key, present, self._arguments)

    def upload(self, file: Stream) -> None:
        """Upload a stream; an error in reading it leaves no object and no upload behind.

        :raises ExportUnderWayError: if something else has written to the key meanwhile.
        """
        metadata = {**self._arguments.get("Metadata", {}), _TRY: self._token}
        self._upload = Upload(self._client, self.bucket, self.key, {**self._arguments, "Metadata": metadata})
        try:
            with naming_faults(self.bucket, self.key):
                self._upload.send(file)
        except BaseException:
            # What cannot be aborted now is aborted in undoing.
            with contextlib.suppress(Exception):
                self._upload.abort()
            raise
        self._claim.ensure_held()
        self._complete(self._upload)

    def _complete(self, upload: Upload) -> None:
        """Make the object of an upload; if S3 refuses or its answer is lost, look whether it was made."""
        assert self._before is not None
        replaced = self._own_etag or self._before.etags[0]
        self._completing = True
        try:
            with naming_faults(self.bucket, self.key), self._naming_conflicts():
                upload.complete(self._conditions, if_unchanged(replaced))
        except ArchiveError:
            with contextlib.suppress(ArchiveError):
                self._own_etag = self._etag_of_own()
            if self._own_etag is None:
                raise
            log.info("S3 had completed the upload to %s although it answered with an error.", self.uri)

    def stored(self) -> dict[str, Any]:
        """Return what S3 says of the object that was written, by the names of a manifest.

        :raises ObjectLockError: if it was to be locked, and is not.
        :raises ExportUnderWayError: if S3 holds another object there by now.
        """
        with naming_faults(self.bucket, self.key):
            head = self._head()
            if head is None or not self._is_own(head):
                raise ExportUnderWayError(f"{self.uri} was removed or replaced as soon as it was written. {_NEXT_TRY}")
            ensure_locked(self._client, self.bucket, self.key, self._lock, head)
        self._own_etag = etag_of(head)
        encryption = {"algorithm": head.get("ServerSideEncryption"), "kms_key_id": head.get("SSEKMSKeyId")}
        return {
            "etag": self._own_etag,
            "version_id": head.get("VersionId"),
            "encryption": {name: value for name, value in encryption.items() if value},
        }

    def put_manifest(self, manifest: bytes, signature: bytes | None = None) -> None:
        """Write the manifest after its signature, if there is one: from then on the export is finished.

        Both have the object's encryption and access.

        :raises ExportUnderWayError: if another try has taken over.
        """
        self._own_manifest, self._own_signature = manifest, signature
        before = self._before.manifest_etag if self._before else None
        for conflict in range(_MOST_CONFLICTS):
            self._claim.ensure_held()
            try:
                if signature is not None:
                    with naming_faults(self.bucket, self.signature_key):
                        self._client.put_object(
                            Bucket=self.bucket, Key=self.signature_key, Body=signature, **self._json_arguments
                        )
                with naming_faults(self.bucket, self.manifest_key), self._naming_conflicts():
                    self._put_manifest(manifest, before)
                return
            except ArchiveError as error:
                seen = self._look_or_none()
                if seen is not None and seen.manifest == manifest:
                    return
                stale = isinstance(error, ExportUnderWayError) and seen is not None and self._is_own(seen.head)
                if not stale or conflict == _MOST_CONFLICTS - 1:
                    raise
                # A try that has lost its claim wrote it: its object is not the one that is there.
                assert seen is not None
                if seen.manifest_etag == before:
                    self._conditions.distrust("PutObject")
                before = seen.manifest_etag

    def _put_manifest(self, manifest: bytes, before: str | None) -> None:
        self._conditions.send(
            self._client.put_object,
            "PutObject",
            if_unchanged(before),
            Bucket=self.bucket,
            Key=self.manifest_key,
            Body=manifest,
            **self._json_arguments,
        )

    @property
    def _json_arguments(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in self._arguments.items() if name != "ContentEncoding"},
            "ContentType": "application/json",
        }

    # The end

    def finish(self) -> None:
        """Check that S3 still has the object now that its manifest is there, too, and withdraw the claim.

        :raises IncompleteExportError: if it has not; nothing of this try is left then.
        """
        try:
            with naming_faults(self.bucket, self.key):
                kept = self._is_own(self._head())
        except ArchiveError:
            # Everything is written, as the next try will find.
            self._release()
            raise
        if not kept:
            self.undo()
            raise IncompleteExportError(
                f"{self.uri} was removed or replaced while its manifest was written, by something else that writes to "
                f"this key. {_NEXT_TRY}"
            )
        try:
            # S3 may have begun an upload, and its answer was lost: boto began another one.
            self._claim.abort_uploads(self.key)
        except ArchiveError as error:
            log.warning("%s is finished; uploads that are open beside it were not looked for: %s", self.uri, error)
        self._release()

    def undo(self) -> None:
        """Take back what this try has written, and nothing else: never raises.

        A finished export is kept, also one whose last answer was lost. So is an object that replaced an older one in a
        bucket without versions: it was verified, and what was there before cannot be restored.
        """
        try:
            self._abort_own_upload()
            if self._claim.taken:
                self._claim.ensure_held()
                self._claim.abort_uploads(self.key)
                if self._completing:
                    self._take_back(self._look())
        except ExportUnderWayError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("What the failed export left at %s could not be removed.", self.uri)
        self._release()

    def _release(self) -> None:
        try:
            self._claim.release()
        except Exception as error:
            log.warning("The claim on %s could not be withdrawn, and ends by itself: %s", self.uri, error)

    def _abort_own_upload(self) -> None:
        if self._upload is not None and self._own_etag is None:
            with naming_faults(self.bucket, self.key):
                self._upload.abort()

    def _take_back(self, seen: _Seen) -> None:
        own_manifest = self._own_manifest is not None and seen.manifest == self._own_manifest
        own_object = self._is_own(seen.head)
        if own_manifest and own_object:
            log.warning("%s and its manifest are finished, and are kept.", self.uri)
            return
        before = self._before.etags if self._before else (None, None)
        if own_manifest:
            self._delete(self.manifest_key, seen.manifest_etag, seen.manifest_version, before[1])
        if self._own_signature is not None and seen.manifest in (None, self._own_manifest):
            with naming_faults(self.bucket, self.signature_key):
                found, etag, version = self._small(self.signature_key)
            if found == self._own_signature:
                self._delete(self.signature_key, etag, version, before[1])
        if own_object and seen.head is not None:
            self._delete(self.key, etag_of(seen.head), seen.head.get("VersionId"), before[0])

    def _delete(self, key: str, etag: str | None, version: str | None, before: str | None) -> None:
        """Delete what this try has written: its very version, or what has its ETag, if nothing was there before."""
        from botocore.exceptions import ClientError

        self._claim.ensure_held()
        with naming_faults(self.bucket, key):
            if version and version != "null":
                try:
                    self._client.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
                    return
                except ClientError as error:
                    # Locked, or s3:DeleteObjectVersion is not granted: a delete marker hides it as well.
                    if error_code(error) not in DENIED:
                        raise
            if before is None and etag is not None:
                with contextlib.suppress(ExportUnderWayError), self._naming_conflicts():
                    self._conditions.send(
                        self._client.delete_object, "DeleteObject", if_unchanged(etag), Bucket=self.bucket, Key=key
                    )

    # Looking

    def _look(self) -> _Seen:
        with naming_faults(self.bucket, self.key):
            head = self._head()
        with naming_faults(self.bucket, self.manifest_key):
            return self._seen(head)

    def _look_or_none(self) -> _Seen | None:
        try:
            return self._look()
        except ArchiveError:
            return None

    def _seen(self, head: dict[str, Any] | None) -> _Seen:
        return _Seen(head, *self._small(self.manifest_key))

    def _small(self, key: str) -> tuple[bytes | None, str | None, str | None]:
        """Return a small object's bytes, ETag and version."""
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) not in NOT_FOUND:
                raise
            return None, None, None
        return bytes(answer["Body"].read()), etag_of(answer), answer.get("VersionId")

    def _head(self) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            return dict(self._client.head_object(Bucket=self.bucket, Key=self.key))
        except ClientError as error:
            if error_code(error) in NOT_FOUND:
                return None
            raise

    def _is_own(self, head: dict[str, Any] | None) -> bool:
        return head is not None and head.get("Metadata", {}).get(_TRY) == self._token

    def _etag_of_own(self) -> str | None:
        """Return the ETag of the object at the key, if this try has written it."""
        with naming_faults(self.bucket, self.key):
            head = self._head()
        return etag_of(head) if head is not None and self._is_own(head) else None

    @contextlib.contextmanager
    def _naming_conflicts(self) -> Iterator[None]:
        """Name a condition that does not hold, or an upload that somebody else has aborted."""
        from botocore.exceptions import ClientError

        try:
            yield
        except ClientError as error:
            if error_code(error) not in (*UNMET, *NOT_FOUND):
                raise
            raise ExportUnderWayError(
                f"{self.uri} was written by something else while this export ran ({error.operation_name}: "
                f"{error_code(error)}). {_NEXT_TRY}"
            ) from error


_NEXT_TRY: Final = "Nothing of this export was kept; the next try exports the window again."
