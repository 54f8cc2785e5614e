"""One object of S3 and its manifest: written whole or not at all, by one try at a time.

:doc:`guarantees` has the protocol of two tries on one key; ``tests/unit/s3/test_two_tries.py`` explores it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import threading
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError, ExportUnderWayError, IncompleteExportError
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest
from airflow_provider_curation.audit.evidence.replacement import Present
from airflow_provider_curation.s3.checksum import ALGORITHM, checksum_of
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.client import s3_client
from airflow_provider_curation.s3.conditions import NEXT_TRY, Conditions, etag_of, if_unchanged, naming_conflicts
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.keys import TRY, Keys, Seen
from airflow_provider_curation.s3.object_lock import check_bucket, ensure_locked, upload_arguments
from airflow_provider_curation.s3.quarantine import keep_altered
from airflow_provider_curation.s3.undo import Written, take_back
from airflow_provider_curation.s3.upload import Stream, Upload
from airflow_provider_curation.s3.web import object_page

log = logging.getLogger(__name__)

_CLAIMS: Final = ".claims/"
_MOST_CONFLICTS: Final = 3


class S3Object:
    """An object that an export writes, and its manifest.

    Call :meth:`check`, :meth:`present`, :meth:`read_back`, :meth:`begin`, :meth:`upload`, :meth:`stored`,
    :meth:`put_manifest` and :meth:`finish` in this order; :meth:`undo` if anything fails from :meth:`begin` on.

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
        seen = self._before = self._keys.look()
        manifest = None
        if seen.manifest.body is not None:
            try:
                manifest = StoredManifest.parse(seen.manifest.body)
            except ManifestError as error:
                log.warning("s3://%s/%s is not a manifest: %s.", self.bucket, self.manifest_key, error)
        return Present(
            self.uri,
            size=seen.head["ContentLength"] if seen.head else None,
            etag=seen.etags[0],
            manifest=manifest,
            manifest_sha256=None if seen.manifest.body is None else hashlib.sha256(seen.manifest.body).hexdigest(),
        )

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
        """Claim the key for this try, and abort what dead tries left open on it.

        :param stop: ends the wait for a try that may be dead.
        :raises ExportUnderWayError: if another try is writing to the key, or has done so since :meth:`present`.
        """
        self._claim.take(stop)
        self._claim.abort_uploads(self.key)
        if self._before is None or self._keys.look().etags != self._before.etags:
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
        metadata = {**self._arguments.get("Metadata", {}), TRY: self._token}
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
        """Return what S3 says of the object that was written, by the names of a manifest.

        :raises ObjectLockError: if it was to be locked, and is not.
        :raises ExportUnderWayError: if S3 holds another object there by now.
        :raises IncompleteExportError: if S3's checksum of it is not that of the bytes that were sent.
        """
        with naming_faults(self.bucket, self.key):
            head = self._keys.head()
            if head is None or not self._keys.is_own(head):
                raise ExportUnderWayError(f"{self.uri} was removed or replaced as soon as it was written. {NEXT_TRY}")
            ensure_locked(self._client, self.bucket, self.key, self._lock, head)
        self._written.etag = etag_of(head)
        encryption = {"algorithm": head.get("ServerSideEncryption"), "kms_key_id": head.get("SSEKMSKeyId")}
        return {
            "etag": self._written.etag,
            "version_id": head.get("VersionId"),
            "encryption": {name: value for name, value in encryption.items() if value},
            "checksum": self._checksum(head),
        }

    def _checksum(self, head: dict[str, Any]) -> dict[str, str] | None:
        """Return the checksum that S3 keeps, which must be that of the bytes that were sent."""
        kept, sent = checksum_of(head), self._upload.checksum if self._upload else None
        if sent is None:
            return kept
        if kept is None or kept["algorithm"] != ALGORITHM:
            log.info("The store keeps no SHA-256 of %s, and its manifest names none.", self.uri)
            return kept
        if kept["value"].partition("-")[0] != sent:
            raise IncompleteExportError(
                f"{self.uri}: S3 keeps the SHA-256 {kept['value']} of the upload's parts, and parts with {sent} were "
                f"sent: it has other bytes. {NEXT_TRY}"
            )
        # Not every store says so, but that of an upload in parts is always composite.
        return {**kept, "type": "COMPOSITE"}

    def put_manifest(self, manifest: bytes, signature: bytes | None = None) -> None:
        """Write the manifest after its signature, if there is one: from then on the export is finished.

        Both have the object's encryption and access.

        :raises ExportUnderWayError: if another try has taken over.
        """
        self._written.manifest, self._written.signature = manifest, signature
        before = self._before.manifest.etag if self._before else None
        for conflict in range(_MOST_CONFLICTS):
            try:
                if signature is not None:
                    self._put_signature(signature)
                self._claim.ensure_held()
                self._put_json(self.manifest_key, manifest, before)
                return
            except ArchiveError as error:
                seen = self._keys.look_or_none()
                if seen is not None and seen.manifest.body == manifest:
                    return
                stale = isinstance(error, ExportUnderWayError) and seen is not None and self._keys.is_own(seen.head)
                if not stale or conflict == _MOST_CONFLICTS - 1:
                    raise
                # A try that has lost its claim wrote it: its object is not the one that is there.
                assert seen is not None
                if seen.manifest.etag == before:
                    self._conditions.distrust("PutObject")
                before = seen.manifest.etag

    def _put_signature(self, signature: bytes) -> None:
        """Write the signature in place of the one that is there: no later than its manifest, and never after another's.

        A try that has lost its claim may have written one meanwhile, or this try, whose answer was lost.
        """
        found = self._keys.small(self._keys.signature_key)
        for conflict in range(_MOST_CONFLICTS):
            if found.body == signature:
                return
            # After looking: what was seen is no later try's then.
            self._claim.ensure_held()
            try:
                self._put_json(self._keys.signature_key, signature, found.etag)
                return
            except ExportUnderWayError:
                seen = self._keys.small(self._keys.signature_key)
                if conflict == _MOST_CONFLICTS - 1:
                    raise
                if seen.etag == found.etag:
                    self._conditions.distrust("PutObject")
                found = seen

    def _put_json(self, key: str, body: bytes, replaced: str | None) -> None:
        """Write a small object, if what is there has still this ETag (``None``: if nothing is there)."""
        with naming_faults(self.bucket, key), naming_conflicts(self.uri):
            self._conditions.send(
                self._client.put_object,
                "PutObject",
                if_unchanged(replaced),
                Bucket=self.bucket,
                Key=key,
                Body=body,
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
                kept = self._keys.is_own(self._keys.head())
        except ArchiveError:
            # Everything is written, as the next try will find.
            self._release()
            raise
        if not kept:
            self.undo()
            raise IncompleteExportError(
                f"{self.uri} was removed or replaced while its manifest was written, by something else that writes to "
                f"this key. {NEXT_TRY}"
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
            if self._upload is not None and self._written.etag is None:
                with naming_faults(self.bucket, self.key):
                    self._upload.abort()
            if self._claim.taken:
                self._claim.ensure_held()
                self._claim.abort_uploads(self.key)
                if self._written.completing:
                    take_back(self._keys, self._claim, self._conditions, self._written, self._before)
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
