"""One object in S3 and its manifest: written whole or not at all, by one try at a time.

:doc:`guarantees` describes the protocol of two tries on one key; ``tests/unit/s3/test_two_tries.py`` explores it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Final

from airflow_provider_curation.audit.errors import (
    ArchiveError,
    ExportUnderWayError,
    IncompleteExportError,
    StoppedError,
)
from airflow_provider_curation.audit.evidence.replacement import Present
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.client import s3_client
from airflow_provider_curation.s3.commit import Commit
from airflow_provider_curation.s3.conditions import NEXT_TRY, Conditions, etag_of, if_unchanged, naming_conflicts
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.keys import TRY, Keys, Seen
from airflow_provider_curation.s3.object_lock import check_bucket, ensure_locked, upload_arguments
from airflow_provider_curation.s3.quarantine import keep_altered
from airflow_provider_curation.s3.stored import present_of, stored_facts
from airflow_provider_curation.s3.undo import Written, take_back
from airflow_provider_curation.s3.upload import Stream, Upload
from airflow_provider_curation.s3.web import object_page

log = logging.getLogger(__name__)

_CLAIMS: Final = ".claims/"


class S3Object:
    """An object that an export writes, and its manifest.

    Call :meth:`check`, :meth:`present`, :meth:`read_back`, :meth:`begin`, :meth:`upload`, :meth:`stored`,
    :meth:`put_manifest` and :meth:`finish` in this order; :meth:`undo` if anything fails from :meth:`begin` on, and
    :meth:`end_leftovers` if :meth:`present` shows that nothing needs to be written.

    :param encrypt: have S3 encrypt the object with its own keys (SSE-S3); KMS goes through ``extra_args``.
    :param extra_args: of boto3's uploads, such as ``ServerSideEncryption`` and ``SSEKMSKeyId``.
    :param lock: the Object Lock of object and manifest: ``mode``, ``retain_until``, ``legal_hold``.
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
        self._aws_conn_id = aws_conn_id
        self._lock = lock or {}
        self._arguments = {**(extra_args or {}), **upload_arguments(self._lock)}
        if encrypt:
            self._arguments["ServerSideEncryption"] = "AES256"
        if acl_policy:
            self._arguments["ACL"] = acl_policy
        self._token = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._conditions = Conditions(self.uri)
        self._before: Seen | None = None
        self._upload: Upload | None = None
        self._written = Written()

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @cached_property
    def _client(self) -> Any:
        return s3_client(self._aws_conn_id)

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self._client, self.bucket, self.key, self.manifest_key, self._token)

    @cached_property
    def _commit(self) -> Commit:
        return Commit(self._keys, self._claim, self._conditions, self._arguments, self._written)

    @cached_property
    def _claim(self) -> Claim:
        return Claim(self._client, self.bucket, self.manifest_key + _CLAIMS, self._token)

    def page(self, key: str) -> str:
        """Return the page where people find an object of the bucket, see :mod:`airflow_provider_curation.s3.web`."""
        return object_page(self._client, self.bucket, key)

    # Before anything is read

    def check_lock(self) -> None:
        """Check that the bucket supports Object Lock, if a lock is wanted.

        :raises ObjectLockError: if it does not.
        """
        if self._lock:
            with naming_faults(self.bucket):
                check_bucket(self._client, self.bucket, self._lock)

    def check(self) -> None:
        """Check that the bucket and credentials for it exist.

        :raises ArchiveError: if not; it says what is missing.
        """
        with naming_faults(self.bucket):
            # Unlike the answer to HEAD, this one has a body, which says what is wrong with bucket or credentials.
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.key, MaxKeys=1)

    def present(self) -> Present:
        """Return what is at the key, and remember it: nothing that this try has not seen is replaced.

        :raises ArchiveError: if S3 fails.
        """
        self._before = self._keys.look()
        return present_of(self.uri, f"s3://{self.bucket}/{self.manifest_key}", self._before)

    def read_back(self, present: Present) -> Present:
        """Read an object that looks like its manifest's, since neither size nor ETag proves that its bytes are.

        :return: what is at the key, with the SHA-256 of the object's bytes.
        :raises ArchiveError: if S3 does not give them.
        """
        if not present.intact or present.etag is None:
            return present
        sha256 = self._keys.sha256(present.etag)
        # One that was replaced meanwhile is noticed by begin(), and was not the manifest's object until then.
        return replace(present, sha256=sha256) if sha256 else replace(present, etag=None)

    def signature(self) -> bytes | None:
        """Return the manifest's signature; ``None`` if there is none."""
        return self._keys.small(self._keys.signature_key).body

    # Writing

    def begin(self, stop: threading.Event) -> None:
        """Claim the key for this try, and abort the uploads that dead tries left open on it.

        :param stop: ends the wait for a try that may be dead.
        :raises ExportUnderWayError: if another try is writing to the key, or has done so since :meth:`present`.
        """
        self._claim.take(stop)
        self._claim.abort_uploads(self.key)
        if self._before is None or self._keys.look().etags != self._before.etags:
            raise ExportUnderWayError(
                f"{self.uri} was just written by another export of this window. Nothing was read; the next try of this "
                "task compares with what is there."
            )

    def keep_altered(self, present: Present) -> dict[str, Any] | None:
        """Keep what is about to be replaced if it was altered, see :mod:`airflow_provider_curation.s3.quarantine`."""
        with naming_faults(self.bucket, self.key):
            return keep_altered(self._client, self.bucket, self.key, self.manifest_key, present, self._arguments)

    def upload(self, file: Stream) -> None:
        """Upload a stream; if reading it fails, no object and no upload is left.

        :raises ExportUnderWayError: if something else has written to the key meanwhile.
        """
        metadata = {**self._arguments.get("Metadata", {}), TRY: self._token}
        self._upload = Upload(self._client, self.bucket, self.key, {**self._arguments, "Metadata": metadata})
        try:
            with naming_faults(self.bucket, self.key):
                self._upload.send(file)
        except BaseException:
            # If it cannot be aborted now, undo() tries again.
            with contextlib.suppress(Exception):
                self._upload.abort()
            raise
        self._claim.ensure_held()
        self._complete(self._upload)
        try:
            # If the answer to an upload's creation was lost, boto has begun another one.
            self._claim.abort_uploads(self.key)
        except ArchiveError as error:
            log.warning("Uploads that may be open beside %s were not looked for: %s", self.uri, error)

    def _complete(self, upload: Upload) -> None:
        """Complete an upload; if S3 refuses or its answer is lost, look whether the object was made."""
        assert self._before is not None
        replaced = self._written.etag or self._before.etags[0]
        self._written.completing = True
        try:
            with naming_faults(self.bucket, self.key), naming_conflicts(self.uri):
                upload.complete(self._conditions, if_unchanged(replaced))
        except ArchiveError:
            with contextlib.suppress(ArchiveError):
                self._written.etag = self._keys.own_etag()
            if self._written.etag is None:
                raise
            log.info("S3 had completed the upload to %s although it answered with an error.", self.uri)

    def stored(self) -> dict[str, Any]:
        """Return what S3 says about the object that was written, under the names of a manifest's fields.

        :raises ObjectLockError: if it should be locked and is not.
        :raises ExportUnderWayError: if another object is there by now.
        :raises IncompleteExportError: if S3's checksum of it is not that of the bytes that were sent.
        """
        with naming_faults(self.bucket, self.key):
            head = self._keys.head()
            if head is None or not self._keys.is_own(head):
                raise ExportUnderWayError(f"{self.uri} was removed or replaced as soon as it was written. {NEXT_TRY}")
            ensure_locked(self._client, self.bucket, self.key, self._lock, head)
        self._written.etag = etag_of(head)
        return stored_facts(self.uri, head, self._upload.checksum if self._upload else None)

    def put_manifest(self, manifest: bytes, signature: bytes | None = None) -> None:
        """Write the manifest after its signature, if there is one: from then on the export is finished.

        :raises ExportUnderWayError: if another try has taken over.
        """
        self._commit.put(manifest, signature, self._before.manifest.etag if self._before else None)

    # The end

    def finish(self) -> None:
        """Check that S3 still has the object now that its manifest is there, and withdraw the claim.

        :raises IncompleteExportError: if it does not; then nothing of this try is left.
        """
        try:
            with naming_faults(self.bucket, self.key):
                kept = self._keys.is_own(self._keys.head())
        except ArchiveError:
            # Everything is written; the next try finds that.
            self._release()
            raise
        if not kept:
            self.undo()
            raise IncompleteExportError(
                f"{self.uri} was removed or replaced while its manifest was written, by something else that writes to "
                f"this key. {NEXT_TRY}"
            )
        self._release()

    def end_leftovers(self, stop: threading.Event) -> None:
        """End what stopped or killed tries left open at a finished export: never raises.

        :param stop: ends the wait for a try that may be dead.
        """
        finished = (self._before.head or {}).get("Metadata", {}).get(TRY) if self._before else None
        try:
            if not self._claim.is_any_open(self.key):
                return
            self._claim.take(stop, finished)
            self._claim.abort_uploads(self.key)
        except (ExportUnderWayError, StoppedError):
            log.info("Another export of %s may be running; what it has open is left to it.", self.uri)
        except Exception as error:
            log.warning("What earlier tries left open at %s could not be ended: %s", self.uri, error)
        self._release()

    def undo(self) -> None:
        """Delete what this try has written, and nothing else: never raises.

        A finished export is kept, also one whose last answer was lost. So is an object that replaced an older one in a
        bucket without versions: it was verified, and what was there before cannot be restored.
        """
        try:
            if self._upload is not None and self._written.etag is None:
                # If this fails, the upload is found again below.
                with contextlib.suppress(ArchiveError):
                    self._upload.abort()
            if self._claim.taken:
                self._claim.ensure_held()
                self._claim.abort_uploads(self.key)
                if self._written.completing:
                    take_back(self._keys, self._claim, self._conditions, self._written, self._before)
                if self._before is not None:
                    self._commit.restore_signature(self._before.manifest)
        except ExportUnderWayError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("The leftovers of the failed export at %s could not be removed.", self.uri)
        self._release()

    def _release(self) -> None:
        try:
            self._claim.release()
        except Exception as error:
            log.warning("Claims on %s could not be withdrawn, and end by themselves: %s", self.uri, error)
