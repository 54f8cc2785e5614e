"""The transfer: each DAG run's window of audit events, as one object in S3 with a manifest beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import (
    CurationAuditError,
    ExpiredWindowError,
    FutureWindowError,
    InvalidArgumentError,
    ObjectExistsError,
    ShrinkError,
    StoppedError,
)
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.compat import (
    AirflowSkipException,
    Asset,
    BaseOperator,
    airflow_version,
    as_final,
    conf,
    delay_trigger,
)
from airflow_provider_curation.interval import window_of_run
from airflow_provider_curation.links import CurationAuditLink, S3ObjectLink

if TYPE_CHECKING:
    from airflow_provider_curation.audit.export import FileFormat, WindowExport
    from airflow_provider_curation.audit.filters import EventFilter
    from airflow_provider_curation.audit.manifest import Manifest
    from airflow_provider_curation.compat import Context
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
    from airflow_provider_curation.transfers.s3_object import S3Object

DEFAULT_KEY = "curation/{instance}/{stream}/dt={start:%Y-%m-%d}/{start:%Y%m%dT%H%M%SZ}_{end:%Y%m%dT%H%M%SZ}{suffix}"
#: A window that ends later than this is a mistake, and not waited for.
MOST_AHEAD = timedelta(days=1)

OnExpired = Literal["fail", "skip", "warn"]


class CurationAuditToS3Operator(BaseOperator):
    """Exports the audit events of a window to S3: complete and verified, or not at all.

    The window is ``start`` and ``end``, else the run's data interval. The object appears once the events in it are as
    many as the server counted before and after reading; its manifest, ``<key>.manifest.json``, after the object.

    :param s3_bucket: the bucket; leave it out if ``s3_key`` is a full ``s3://`` URL. (templated)
    :param s3_key: the key: Jinja first, then the fields ``{instance}``, ``{stream}``, ``{start}``, ``{end}`` (UTC
        datetimes, with formats such as ``{start:%Y-%m-%d}``), ``{suffix}`` and ``{file_format}``. (templated)
    :param file_format: ``jsonl``, one event a line in the server's own bytes, or ``csv``, the server's own rows.
    :param compression: jsonl: ``gzip`` (default), ``zip``, ``zstd`` or ``none``; csv: ``zip``.
    :param start: first moment of the window, inclusive: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the window, exclusive. (templated)
    :param dry_run: export one event per dry-run policy, instead of real events.
    :param actions: keep events with these actions only; shell patterns, as in the other filters. (templated)
    :param package_types: keep events of these package types only. (templated)
    :param repositories: keep events of these curated repositories only. (templated)
    :param policies: keep events that one of these policies, by name or id, affected. (templated)
    :param settle_time: how long after the window's end it is read at the earliest, since events can appear late.
    :param retention: how long the server remembers events.
    :param on_expired: what to do with a window that begins before that: ``fail``, ``skip`` the task, or ``warn``.
    :param allow_shrink: let an export replace an object that holds more events, or another window.
    :param replace: let an export replace an object; ``False`` makes every re-run of an exported window fail.
    :param encrypt: have S3 encrypt with its own keys (SSE-S3); for KMS see ``s3_extra_args``.
    :param acl_policy: canned ACL of object and manifest.
    :param s3_extra_args: extra arguments of boto3's upload, such as ``{"ServerSideEncryption": "aws:kms", ...}``.
    :param deferrable: wait for the window to settle in the triggerer; default: Airflow's ``default_deferrable``.
    :param curation_conn_id: connection of type ``jfrog_curation``. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``uri``, ``bucket``, ``key``, ``manifest_key``, ``start``, ``end``, ``stream``, ``events``,
        ``rows``, ``bytes``, ``sha256``, ``actions`` (events by action); the outlets' assets carry the same.
    :raises CurationAuditError: its subclasses name the fault; those that a retry cannot mend end the task without one.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_key",
        "start",
        "end",
        "actions",
        "package_types",
        "repositories",
        "policies",
        "curation_conn_id",
        "aws_conn_id",
    )
    ui_color = "#d3f1e4"
    operator_extra_links = (S3ObjectLink(), CurationAuditLink())

    def __init__(
        self,
        *,
        s3_bucket: str | None = None,
        s3_key: str = DEFAULT_KEY,
        file_format: Literal["jsonl", "csv"] = "jsonl",
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
        """Have the export end at its next step, with nothing of it left in S3."""
        # Airflow calls this in a signal handler, while the same thread may hold the lock of the event it waits for.
        threading.Thread(target=self._stop.set, name="curation-audit-stop").start()

    def execute(self, context: Context) -> dict[str, Any]:
        """Export the window, once it has settled."""
        try:
            return self._execute(context)
        except CurationAuditError as error:
            if error.retryable:
                raise
            raise as_final(error) from error.__cause__

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on after the window has settled."""
        return self.execute(context)

    def _execute(self, context: Context) -> dict[str, Any]:
        # Everything that can be wrong with the arguments is found before the first request.
        file_format, wanted = self._file_format(), self._wanted()
        window = window_of_run(context, self.start, self.end)
        target = self._target(window, file_format)
        now = datetime.now(timezone.utc)
        self._check_retention(window, now)
        self._wait_until_settled(window, now)

        self.log.info("Exporting %s of %s to %s", self._stream, window, target.uri)
        there = target.exists()
        if there and not self.replace:
            raise ObjectExistsError(f"{target.uri} exists already, and replace=False keeps it.")
        previous = target.manifest() if there else None
        target.abort_open_uploads()
        manifest = self._export(context, target, window, file_format, wanted, previous if there else None, there)
        return self._announce(context, target, manifest)

    # Arguments

    @property
    def _stream(self) -> str:
        return "dry_run" if self.dry_run else "events"

    def _file_format(self) -> FileFormat:
        from airflow_provider_curation.audit.export import FileFormat

        if self.on_expired not in ("fail", "skip", "warn"):
            raise InvalidArgumentError(f"on_expired={self.on_expired!r} is unknown; it is one of fail, skip, warn.")
        return FileFormat.of(self.file_format, self.compression)

    def _wanted(self) -> EventFilter:
        from airflow_provider_curation.audit.filters import EventFilter

        return EventFilter.of(self.actions, self.package_types, self.repositories, self.policies)

    def _target(self, window: Window, file_format: FileFormat) -> S3Object:
        from airflow_provider_curation.transfers.s3_object import S3Object

        bucket, key = self._bucket_and_key(window, file_format)
        return S3Object(
            bucket,
            key,
            aws_conn_id=self.aws_conn_id,
            encrypt=self.encrypt,
            acl_policy=self.acl_policy,
            extra_args=self.s3_extra_args,
        )

    def _bucket_and_key(self, window: Window, file_format: FileFormat) -> tuple[str, str]:
        fields = {
            "instance": self.hook.instance,
            "stream": self._stream,
            "start": window.start,
            "end": window.end,
            "suffix": file_format.suffix,
            "file_format": file_format.name,
        }
        try:
            key = self.s3_key.format(**fields)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArgumentError(
                f"s3_key={self.s3_key!r} cannot be filled in ({type(error).__name__}: {error}); its fields are "
                f"{', '.join('{' + name + '}' for name in fields)}."
            ) from None
        bucket = self.s3_bucket
        if key.startswith("s3://"):
            if bucket:
                raise InvalidArgumentError(f"s3_key={key!r} names a bucket already; leave s3_bucket={bucket!r} out.")
            bucket, _, key = key.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidArgumentError(f"s3_bucket={self.s3_bucket!r} is empty, and s3_key names no bucket either.")
        if not key or key.endswith("/"):
            raise InvalidArgumentError(f"s3_key={self.s3_key!r} makes {key!r}, which is no object's key.")
        return bucket, key

    # Time

    def _check_retention(self, window: Window, now: datetime) -> None:
        """Refuse a window of which the server may have forgotten a part: its silence would look like no events."""
        remembered = now - self.retention
        if window.start >= remembered:
            return
        said = (
            f"{window} begins before {format_utc(remembered + timedelta(seconds=1))}, the first second that can still "
            f"be had from a server that keeps events for {self.retention}: an export would miss what was forgotten."
        )
        if self.on_expired == "warn":
            self.log.warning("%s It is exported nevertheless (on_expired='warn').", said)
        elif self.on_expired == "skip":
            raise AirflowSkipException(f"{said} It is skipped (on_expired='skip').")
        else:
            raise ExpiredWindowError(
                f"{said} Give a later start, retention= if your server keeps more, or on_expired='skip' or 'warn'."
            )

    def _wait_until_settled(self, window: Window, now: datetime) -> None:
        """Wait until the window has ended and late events have appeared, in the triggerer or here."""
        if window.end - now > MOST_AHEAD:
            raise FutureWindowError(
                f"{window} ends more than a day ahead ({format_utc(window.end)}): too long to wait. Is end= right?"
            )
        settled = window.end + self.settle_time
        if settled <= now:
            return
        if self.deferrable:
            seconds = (settled - now).total_seconds()
            self.log.info("%s has settled in %.0f s; waiting in the triggerer.", window, seconds)
            self.defer(trigger=delay_trigger(seconds), method_name="execute_complete")
        while (left := (settled - datetime.now(timezone.utc)).total_seconds()) > 0:
            self.log.info("%s has settled in %.0f s; waiting here.", window, left)
            if self._stop.wait(min(left, 60.0)):
                raise StoppedError(f"The task was stopped while it waited for {window} to settle.")

    # Export

    def _export(
        self,
        context: Context,
        target: S3Object,
        window: Window,
        file_format: FileFormat,
        wanted: EventFilter,
        previous: Mapping[str, Any] | None,
        there: bool,
    ) -> Manifest:
        from airflow_provider_curation.audit.export import export_until_whole
        from airflow_provider_curation.transfers.progress import ProgressLog

        started = time.monotonic()

        def begin() -> WindowExport:
            return self.hook.new_export(
                window,
                file_format,
                dry_run=bool(self.dry_run),
                wanted=wanted,
                stop=self._stop,
                check=lambda export: self._check_shrink(export, target, previous, there),
            )

        def keep(export: WindowExport) -> None:
            with ProgressLog(export, self.log):
                target.upload(export.open())

        try:
            export = export_until_whole(begin, keep)
            manifest = self._manifest(context, export, target)
            self._check_stop(window)
            target.put_manifest(manifest.to_json())
        except BaseException:
            # Also for the exceptions that Airflow raises in a task that is to end.
            target.undo()
            raise
        seconds = time.monotonic() - started
        self.log.info(
            "Exported %s events (%s rows, %s bytes) in %.1f s; the server counted %s before and %s after.",
            manifest.events,
            manifest.rows,
            manifest.size,
            seconds,
            manifest.total_before,
            manifest.total_after,
        )
        return manifest

    def _check_stop(self, window: Window) -> None:
        if self._stop.is_set():
            raise StoppedError(f"The export of {window} was stopped before its manifest was written.")

    def _check_shrink(
        self, export: WindowExport, target: S3Object, previous: Mapping[str, Any] | None, there: bool
    ) -> None:
        """Refuse to replace evidence by less of it.

        :raises ShrinkError: unless ``allow_shrink``.
        """
        if self.allow_shrink or not there:
            return
        window, events = export.window, export.tally.kept
        advice = "Pass allow_shrink=True to replace it all the same."
        if previous is None:
            if self.on_expired == "warn" and events == 0:
                raise ShrinkError(
                    f"{target.uri} exists without a manifest, and would be replaced by no events. {advice}"
                )
            return
        if (previous.get("start"), previous.get("end")) != (format_utc(window.start), format_utc(window.end)):
            raise ShrinkError(
                f"{target.uri} holds another window ([{previous.get('start')}, {previous.get('end')})), and would be "
                f"replaced by {window}. Put {{start}} and {{end}} into s3_key. {advice}"
            )
        before = previous.get("events")
        if isinstance(before, int) and events < before:
            raise ShrinkError(
                f"{target.uri} holds {before} events, and would be replaced by {events}: the server may have "
                f"forgotten the others, or the filters differ. {advice}"
            )

    def _manifest(self, context: Context, export: WindowExport, target: S3Object) -> Manifest:
        from airflow_provider_curation.audit.manifest import Manifest

        tally, reader = export.tally, export.reader
        return Manifest(
            start=format_utc(export.window.start),
            end=format_utc(export.window.end),
            stream=self._stream,
            instance=self.hook.instance,
            bucket=target.bucket,
            key=target.key,
            format=export.file_format.name,
            compression=export.file_format.compression,
            events_read=tally.read,
            events=tally.kept,
            rows=tally.rows,
            actions=dict(sorted(tally.actions.items())),
            first_id=tally.first.id if tally.first else None,
            first_created_at=tally.first.created_at if tally.first else None,
            last_id=tally.last.id if tally.last else None,
            last_created_at=tally.last.created_at if tally.last else None,
            total_before=reader.total_before,
            total_after=reader.total_after,
            reconciled=reader.reconciled,
            filters=export.wanted.as_dict(),
            size=export.object.bytes,
            sha256=export.object.sha256,
            content_size=export.content.bytes,
            content_sha256=export.content.sha256,
            settle_seconds=int(self.settle_time.total_seconds()),
            provider_version=__version__,
            airflow_version=airflow_version(),
            dag_run=_dag_run(context),
        )

    def _announce(self, context: Context, target: S3Object, manifest: Manifest) -> dict[str, Any]:
        """Return the result, and give it to the outlets' assets and the links."""
        result: dict[str, Any] = {
            "uri": target.uri,
            "bucket": target.bucket,
            "key": target.key,
            "manifest_key": target.manifest_key,
            "start": manifest.start,
            "end": manifest.end,
            "stream": manifest.stream,
            "events": manifest.events,
            "rows": manifest.rows,
            "bytes": manifest.size,
            "sha256": manifest.sha256,
            "actions": manifest.actions,
        }
        events = context.get("outlet_events")
        for outlet in self.outlets or ():
            if events is not None and isinstance(outlet, Asset):
                events[outlet].extra = dict(result)
        S3ObjectLink.store(context, S3ObjectLink.address(target.bucket, target.key))
        CurationAuditLink.store(context, self.hook.audit_page_url)
        return result


def _dag_run(context: Context) -> dict[str, Any]:
    """Return which run made an export; empty outside of Airflow's runs."""
    task_instance = context.get("ti")
    if task_instance is None:
        return {}
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number")
    return {name: getattr(task_instance, name, None) for name in names}
