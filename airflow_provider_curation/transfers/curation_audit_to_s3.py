"""The transfer: exports each DAG run's window of audit events to one object in S3, with a manifest."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import (
    ExpiredWindowError,
    FutureWindowError,
    StoppedError,
)
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.compat import (
    AirflowSkipException,
    Asset,
    BaseOperator,
    conf,
    delay_trigger,
    ending_without_retries,
)
from airflow_provider_curation.links import CurationAuditLink, S3ManifestLink, S3ObjectLink
from airflow_provider_curation.s3.location import DEFAULT_KEY, DEFAULT_PREFIX

if TYPE_CHECKING:
    from airflow_provider_curation.compat import Context
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
    from airflow_provider_curation.s3.exported_object import S3Object
    from airflow_provider_curation.transfers.export_job import Exported, ExportJob

#: A window that ends later than this is a mistake, and not waited for.
MOST_AHEAD = timedelta(days=1)

OnExpired = Literal["fail", "skip", "warn"]


class CurationAuditToS3Operator(BaseOperator):
    """Exports the audit events of a window to S3: complete and verified, or not at all.

    The window is ``start`` and ``end``, or else the run's data interval. The object appears only if it has as many
    events as the server counted before and after reading. Its manifest, ``<s3_prefix>/_manifests/<s3_key>.json``, is
    written after the object.

    :param s3_bucket: the bucket; leave it out if ``s3_key`` is a full ``s3://`` URL. (templated)
    :param s3_prefix: the archive's root, with manifests in ``_manifests/`` and seals in ``_seals/`` below it; empty for
        the bucket itself. (templated)
    :param s3_key: the key below ``s3_prefix``: Jinja first, then the fields ``{instance}``, ``{stream}``, ``{start}``,
        ``{end}`` (UTC datetimes, with formats such as ``{start:%Y-%m-%d}``), ``{suffix}`` and ``{file_format}``. A full
        ``s3://`` URL must also be below ``s3_prefix``. (templated)
    :param file_format: ``jsonl``, one event per line in the server's own bytes; ``csv``, the server's own rows; or
        ``parquet``, typed columns for query engines (needs the extra ``parquet``).
    :param compression: jsonl: ``gzip`` (default), ``zip``, ``zstd`` or ``none``; csv: ``zip`` (default) or
        ``gzip``; parquet: its own.
    :param start: start of the window, inclusive: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the window, exclusive. (templated)
    :param dry_run: export one event per dry-run policy, instead of real events.
    :param actions: keep only events with these actions; shell patterns, as in the other filters. (templated)
    :param package_types: keep only events of these package types. (templated)
    :param repositories: keep only events of these curated repositories. (templated)
    :param policies: keep only events that one of these policies, by name or id, affected. (templated)
    :param settle_time: how long to wait after the window's end before reading it, since events can appear late.
    :param retention: how long the server remembers events.
    :param on_expired: what to do with a window that begins before that: ``fail``, ``skip`` the task, or ``warn``.
    :param allow_shrink: let an export replace an object that has more events, another window, or the same window with
        other filters or another treatment of personal data.
    :param replace: let an export replace an object; with ``False``, every re-run of an exported window fails.
    :param pseudonymize: which of ``("username", "user_mail")`` to replace with tokens: a keyed HMAC of the value, so
        the same person always has the same token. The manifest records it.
    :param pseudonym_conn_id: connection whose password is the key of the tokens. (templated)
    :param csv_safe: csv: put a ``'`` before cells that a spreadsheet would read as a formula. The manifest records it.
    :param signing_conn_id: connection whose key signs the manifest, see
        :func:`airflow_provider_curation.hooks.signing.signer_of_connection`. (templated)
    :param object_lock_mode: ``GOVERNANCE`` or ``COMPLIANCE``: object and manifest cannot be deleted for a time.
    :param object_lock_retain_until: until when: a datetime, or a timedelta after the window's end. (templated)
    :param object_lock_legal_hold: object and manifest cannot be deleted until the hold is removed.
    :param encrypt: have S3 encrypt with its own keys (SSE-S3); for KMS see ``s3_extra_args``.
    :param acl_policy: canned ACL of object and manifest.
    :param s3_extra_args: extra arguments of boto3's upload, such as ``{"ServerSideEncryption": "aws:kms", ...}``.
    :param deferrable: wait for the window to settle in the triggerer; default: Airflow's ``default_deferrable``.
    :param curation_conn_id: connection of type ``jfrog_curation``. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``uri``, ``bucket``, ``key``, ``manifest_key``, ``start``, ``end``, ``stream``, ``format``,
        ``events``, ``rows``, ``bytes``, ``sha256``, ``actions`` (events by action), ``uploaded`` (``False`` if
        the object was there already, byte for byte), ``summary`` (a sentence for people); the outlets' assets carry
        the same.
    :raises CurationAuditError: its subclasses name the fault; those that a retry cannot repair end the task without
        one.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_prefix",
        "s3_key",
        "start",
        "end",
        "actions",
        "package_types",
        "repositories",
        "policies",
        "pseudonym_conn_id",
        "signing_conn_id",
        "object_lock_retain_until",
        "curation_conn_id",
        "aws_conn_id",
    )
    #: Airflow 3 shows the rendered fields as they are after the execution: the window and the key themselves.
    overwrite_rtif_after_execution = True
    ui_color = "#d3f1e4"
    operator_extra_links = (S3ObjectLink(), S3ManifestLink(), CurationAuditLink())

    def __init__(
        self,
        *,
        s3_bucket: str | None = None,
        s3_prefix: str = DEFAULT_PREFIX,
        s3_key: str = DEFAULT_KEY,
        file_format: Literal["jsonl", "csv", "parquet"] = "jsonl",
        compression: Literal["gzip", "zip", "zstd", "none"] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        dry_run: bool = False,
        actions: Sequence[str] | None = None,
        package_types: Sequence[str] | None = None,
        repositories: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
        settle_time: timedelta = timedelta(minutes=5),
        retention: timedelta = RETENTION,
        on_expired: OnExpired = "fail",
        allow_shrink: bool = False,
        replace: bool = True,
        pseudonymize: Sequence[str] | None = None,
        pseudonym_conn_id: str | None = None,
        csv_safe: bool = False,
        signing_conn_id: str | None = None,
        object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None,
        object_lock_retain_until: datetime | timedelta | str | None = None,
        object_lock_legal_hold: bool = False,
        encrypt: bool = False,
        acl_policy: str | None = None,
        s3_extra_args: dict[str, Any] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        curation_conn_id: str = "curation_default",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.s3_bucket = s3_bucket
        self.s3_prefix = s3_prefix
        self.s3_key = s3_key
        self.file_format = file_format
        self.compression = compression
        self.start = start
        self.end = end
        # BaseOperator has a method of this name, which runs the task on its own; Airflow never calls it.
        self.dry_run: Any = dry_run
        self.actions = actions
        self.package_types = package_types
        self.repositories = repositories
        self.policies = policies
        self.settle_time = settle_time
        self.retention = retention
        self.on_expired = on_expired
        self.allow_shrink = allow_shrink
        self.replace = replace
        self.pseudonymize = pseudonymize
        self.pseudonym_conn_id = pseudonym_conn_id
        self.csv_safe = csv_safe
        self.signing_conn_id = signing_conn_id
        self.object_lock_mode = object_lock_mode
        self.object_lock_retain_until = object_lock_retain_until
        self.object_lock_legal_hold = object_lock_legal_hold
        self.encrypt = encrypt
        self.acl_policy = acl_policy
        self.s3_extra_args = s3_extra_args
        self.deferrable = deferrable
        self.curation_conn_id = curation_conn_id
        self.aws_conn_id = aws_conn_id

    @cached_property
    def hook(self) -> CurationAuditHook:
        """The hook of ``curation_conn_id``."""
        from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

        return CurationAuditHook(self.curation_conn_id)

    @cached_property
    def _stop(self) -> threading.Event:
        return threading.Event()

    def on_kill(self) -> None:
        """Stop the export at its next step, and leave nothing of it in S3."""
        # Airflow calls this in a signal handler, while the same thread may hold the lock of the event it waits for.
        threading.Thread(target=self._stop.set, name="curation-audit-stop").start()

    def execute(self, context: Context) -> dict[str, Any]:
        """Export the window, once it has settled."""
        with ending_without_retries():
            try:
                return self._execute(context)
            except ExpiredWindowError as error:
                # It may also have expired while the task waited or read.
                if self.on_expired != "skip":
                    raise
                raise AirflowSkipException(f"{error} It is skipped (on_expired='skip').") from None

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Continue after the window has settled."""
        return self.execute(context)

    def _execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_curation.transfers.planning import new_job

        # Create `_stop` before there is anything to stop, so that on_kill finds the same one.
        job = new_job(self, context, self._stop)
        self._show(job)
        self._wait_until_settled(job.plan.window)
        return self._announce(context, job.target, job.run())

    def _show(self, job: ExportJob) -> None:
        """Replace the rendered fields with the run's actual window and key."""
        self.start, self.end = format_utc(job.plan.window.start), format_utc(job.plan.window.end)
        self.s3_key = job.target.uri if self.s3_key.startswith("s3://") else job.relative_key

    def _wait_until_settled(self, window: Window) -> None:
        """Wait until the window has ended and late events have appeared, in the triggerer or here."""
        now = datetime.now(timezone.utc)
        if window.end - now > MOST_AHEAD:
            raise FutureWindowError(
                f"{window} ends more than a day ahead ({format_utc(window.end)}): too long to wait. Is end= right?"
            )
        settled = window.end + self.settle_time
        if settled <= now:
            return
        if self.deferrable:
            seconds = (settled - now).total_seconds()
            self.log.info("%s settles in %s; waiting in the triggerer.", window, format_duration(_whole(settled - now)))
            self.defer(trigger=delay_trigger(seconds), method_name="execute_complete")
        while (left := settled - datetime.now(timezone.utc)) > timedelta(0):
            self.log.info("%s settles in %s; waiting here.", window, format_duration(_whole(left)))
            if self._stop.wait(min(left.total_seconds(), 60.0)):
                raise StoppedError(f"The task was stopped while it waited for {window} to settle.")

    def _announce(self, context: Context, target: S3Object, exported: Exported) -> dict[str, Any]:
        """Return the result, and pass it to the outlets' assets and the links."""
        manifest = exported.manifest
        result: dict[str, Any] = {
            "uri": target.uri,
            "bucket": target.bucket,
            "key": target.key,
            "manifest_key": target.manifest_key,
            "start": manifest["start"],
            "end": manifest["end"],
            "stream": manifest["stream"],
            "format": manifest["format"],
            "events": manifest["events"],
            "rows": manifest["rows"],
            "bytes": manifest["size"],
            "sha256": manifest["sha256"],
            "actions": manifest["actions"],
            "uploaded": exported.uploaded,
            "summary": summary(manifest),
        }
        events = context.get("outlet_events")
        for outlet in self.outlets or ():
            if events is not None and isinstance(outlet, Asset):
                events[outlet].extra = dict(result)
        S3ObjectLink.store(context, target.page(target.key))
        S3ManifestLink.store(context, target.page(target.manifest_key))
        CurationAuditLink.store(context, self.hook.audit_page_url)
        return result


def _whole(duration: timedelta) -> timedelta:
    """Return a duration in whole seconds, rounded up."""
    return timedelta(seconds=-(-duration // timedelta(seconds=1)))


def summary(manifest: Mapping[str, Any]) -> str:
    """Return an export in a line, as in ``2026-11-05: 4,058 events, 348 blocked, reconciled``."""
    window = Window.parse(manifest["start"], manifest["end"])
    midnight = window.start.time() == time.min
    when = f"{window.start:%Y-%m-%d}" if midnight and window.width == timedelta(days=1) else str(window)
    actions = [f"{count:,} {action}" for action, count in manifest["actions"].items()]
    proof = "reconciled" if manifest["reconciled"] else "not reconciled"
    events = f"{manifest['events']:,} events"
    return f"{when}: {', '.join([events, *actions, proof])}"
