"""Runs one export: compares the plan with the existing object, reads the window, uploads it and writes the manifest.

It uses neither Airflow nor boto: the operator passes it a plan, a target and a way to read the window.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.errors import IncompleteExportError, ObjectExistsError, StoppedError
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.manifest import Manifest, manifest_subjects
from airflow_provider_curation.audit.evidence.replacement import (
    Held,
    Plan,
    Present,
    check_replacement,
    may_be_unchanged,
)
from airflow_provider_curation.audit.evidence.signature import check_signature, sign
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.exporting.window_export import WindowExport, export_until_whole
from airflow_provider_curation.audit.retention import forgotten
from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.transfers.progress import ProgressLog
from airflow_provider_curation.transfers.shielded import shielded

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_curation.audit.evidence.dsse import Signer
    from airflow_provider_curation.audit.evidence.manifest import StoredManifest
    from airflow_provider_curation.s3.exported_object import S3Object

_COMPARED_BYTES: Final = 1 << 20


class NewExport(Protocol):
    """Starts one try at reading the planned window."""

    def __call__(
        self,
        *,
        stop: threading.Event,
        check: Callable[[WindowExport], None] | None,
        retention: timedelta | None,
    ) -> WindowExport: ...


@dataclass(frozen=True)
class Exported:
    """The outcome of an export.

    :param manifest: the facts of the manifest that S3 has now.
    :param uploaded: ``False`` if an identical object already existed.
    """

    manifest: Mapping[str, Any]
    uploaded: bool


@dataclass(frozen=True)
class ExportJob:
    """One export.

    :param plan: what to export.
    :param target: where to export it.
    :param relative_key: the object's key below the archive's root.
    :param new_export: starts one try at reading the window.
    :param maker: what the manifest says about who exports: ``settle_seconds``, ``airflow_version``, ``dag_run``.
    :param stop: ends the export at its next step, with nothing of it left in S3.
    :param retention: how long the server remembers events.
    :param read_expired: read what is left of a window that the server may have partly forgotten.
    :param replace: let the export replace an object.
    :param allow_shrink: let it replace evidence that it does not contain.
    :param signer: signs the manifest.
    """

    plan: Plan
    target: S3Object
    relative_key: str
    new_export: NewExport
    maker: Mapping[str, Any]
    stop: threading.Event
    retention: timedelta
    read_expired: bool = False
    replace: bool = True
    allow_shrink: bool = False
    signer: Signer | None = None
    log: Any = field(default_factory=lambda: logging.getLogger(__name__))

    def run(self) -> Exported:
        """Export the window, unless S3 has the same bytes already.

        :raises ObjectExistsError: if there is an object, and ``replace`` is false.
        :raises ArchiveError: if S3 has no such bucket, does not accept the credentials, or fails.
        :raises ExportUnderWayError: if another export of the window is running.
        :raises ShrinkError: if the export would replace evidence with less, or with something else.
        :raises StoppedError: if ``stop`` was set.
        :raises CurationAuditError: other subclasses, for other faults.
        """
        target, plan = self.target, self.plan
        self.log.info("Exporting %s of %s to %s", plan.stream, plan.window, target.uri)
        target.check()
        present = target.present()
        if present.size is not None and not self.replace:
            raise ObjectExistsError(f"{target.uri} already exists, and replace=False keeps it.")
        if not self.allow_shrink:
            check_replacement(present, plan)
        present = target.read_back(present)
        if before := self._unchanged(present):
            self.log.info(
                "%s already holds these %s events, byte for byte: nothing is uploaded.", target.uri, before["events"]
            )
            shielded(lambda: target.end_leftovers(self.stop), self.stop)
            return Exported(before, uploaded=False)
        return Exported(asdict(shielded(lambda: self._export(present), self.stop)), uploaded=True)

    def _begin(self, check: Callable[[WindowExport], None] | None = None) -> WindowExport:
        retention = None if self.read_expired else self.retention
        return self.new_export(stop=self.stop, check=check, retention=retention)

    def _unchanged(self, present: Present) -> Mapping[str, Any] | None:
        """Return the manifest of the existing object, if exporting the window again produces the same bytes.

        This reads the window once, and stops early if the server's count differs from the manifest's. The object itself
        has already been read back.
        """
        before = present.manifest
        if before is None or not may_be_unchanged(present, self.plan):
            return None
        if self.signer and not self._is_signed(before, self.signer):
            return None
        export = self._begin()
        file = export.open()
        try:
            with ProgressLog(export, self.log):
                while file.read(_COMPARED_BYTES):
                    if export.reader.total_before != before.facts["events_read"]:
                        return None
        except IncompleteExportError:
            # The export itself tries again.
            return None
        # Events that the filters leave out change the counts in the manifest, but not the bytes.
        same_counts = export.reader.reconciled and export.tally.read == before.facts["events_read"]
        return before.facts if same_counts and export.object.sha256 == before.facts["sha256"] else None

    def _export(self, present: Present) -> Manifest:
        """Read and upload the window, and write its manifest; a failure before that leaves nothing behind."""
        started = time.monotonic()
        target, plan = self.target, self.plan

        def check(export: WindowExport) -> None:
            expired = plan.expired or (self.read_expired and self._has_expired())
            check_replacement(present, replace(plan, expired=expired), held_by(export))

        def keep(export: WindowExport) -> None:
            with ProgressLog(export, self.log):
                target.upload(export.open())

        try:
            target.begin(self.stop)
            replaced = target.keep_altered(present)
            if replaced:
                self.log.warning("%s is replaced, since %s; kept: %s", target.uri, replaced["why"], replaced)
            export = export_until_whole(
                lambda: self._begin(None if self.allow_shrink else check), keep, forgetting=plan.expired
            )
            manifest = new_manifest(export, plan, target, present, {**self.maker, "replaced": replaced})
            body = manifest.to_json()
            signature = self._sign(manifest, body, self.signer) if self.signer else None
            self._check_stop()
            target.put_manifest(body, signature)
        except BaseException:
            target.undo()
            raise
        target.finish()
        self.log.info(
            "Exported %s events (%s rows, %s bytes) in %.1f s; the server counted %s before and %s after.",
            manifest.events,
            manifest.rows,
            manifest.size,
            time.monotonic() - started,
            manifest.total_before,
            manifest.total_after,
        )
        return manifest

    def _sign(self, manifest: Manifest, body: bytes, signer: Signer) -> bytes:
        subjects = manifest_subjects(self.relative_key, manifest.sha256, hashlib.sha256(body).hexdigest())
        return sign(Purpose.MANIFEST, subjects, signer, datetime.now(timezone.utc))

    def _is_signed(self, stored: StoredManifest, signer: Signer) -> bool:
        """Return whether this key has signed a manifest."""
        ring = KeyRing((TrustedKey(signer.public_key, "that signs"),))
        subjects = manifest_subjects(self.relative_key, stored.facts["sha256"], stored.sha256)
        return check_signature(self.target.signature(), ring, Purpose.MANIFEST, subjects).counts

    def _has_expired(self) -> bool:
        return forgotten(self.plan.window, self.retention, datetime.now(timezone.utc)) is not None

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StoppedError(f"The export of {self.plan.window} was stopped before it was finished.")


def held_by(export: WindowExport) -> Held:
    """Return the contents of an export's object, once its window has been read."""
    tally = export.tally
    return Held(tally.kept, tally.actions, tally.package_types, tally.ids)


def new_manifest(
    export: WindowExport, plan: Plan, target: S3Object, present: Present, maker: Mapping[str, Any]
) -> Manifest:
    """Return the manifest of an export whose object is in S3."""
    instance, stream, _ = plan.series
    return Manifest(
        **export.facts(),
        **target.stored(),
        **maker,
        stream=stream,
        instance=instance,
        bucket=target.bucket,
        key=target.key,
        filters=plan.filters,
        personal_data=plan.personal_data,
        object_lock=plan.object_lock,
        provider_version=__version__,
        exported_at=format_utc(datetime.now(timezone.utc)),
        replaces=present.manifest_sha256,
    )
