"""Turns an operator's arguments into an export that can run, and raises an error for anything wrong with them.

It sends no request, except one to S3 if the bucket must have Object Lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Protocol

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.audit.evidence.replacement import Plan
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer, check_fields
from airflow_provider_curation.audit.retention import check_remembered, forgotten
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window, check_duration
from airflow_provider_curation.compat import airflow_version
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.hooks.secret import key_of_connection
from airflow_provider_curation.hooks.signing import signer_of_connection
from airflow_provider_curation.interval import window_of_run
from airflow_provider_curation.s3.exported_object import S3Object
from airflow_provider_curation.s3.location import Location, locate
from airflow_provider_curation.s3.object_lock import wanted_lock
from airflow_provider_curation.transfers.export_job import ExportJob


class Arguments(Protocol):
    """The arguments of an export, with the names of ``CurationAuditToS3Operator`` and rendered templates."""

    s3_bucket: str | None
    s3_prefix: str
    s3_key: str
    file_format: Any
    compression: Any
    start: datetime | str | None
    end: datetime | str | None
    dry_run: Any
    actions: Sequence[str] | None
    package_types: Sequence[str] | None
    repositories: Sequence[str] | None
    policies: Sequence[str] | None
    settle_time: timedelta
    retention: timedelta
    on_expired: Any
    allow_shrink: bool
    replace: bool
    pseudonymize: Sequence[str] | None
    pseudonym_conn_id: str | None
    csv_safe: bool
    signing_conn_id: str | None
    object_lock_mode: Any
    object_lock_retain_until: datetime | timedelta | str | None
    object_lock_legal_hold: bool
    encrypt: bool
    acl_policy: str | None
    s3_extra_args: dict[str, Any] | None
    aws_conn_id: str | None

    @property
    def hook(self) -> CurationAuditHook: ...

    @property
    def log(self) -> Any: ...


def new_job(arguments: Arguments, context: Mapping[str, Any], stop: threading.Event) -> ExportJob:
    """Return the export of a run.

    :param context: the task's context, whose data interval is the window if ``start`` and ``end`` are not given.
    :param stop: ends the export when it is set.
    :raises InvalidArgumentError: for an invalid argument; the message names it.
    :raises UndefinedWindowError: if there is no window.
    :raises ExpiredWindowError: if the server may have forgotten a part of the window, unless ``on_expired="warn"``.
    :raises ObjectLockError: if the object should be locked, but the bucket has no Object Lock.
    """
    check_duration(arguments.settle_time, "settle_time")
    check_duration(arguments.retention, "retention")
    form = file_format(arguments)
    wanted = EventFilter.of(arguments.actions, arguments.package_types, arguments.repositories, arguments.policies)
    window = window_of_run(context, arguments.start, arguments.end)
    now = datetime.now(timezone.utc)
    treatment = _treatment(arguments)
    signing = arguments.signing_conn_id
    signer = signer_of_connection(signing, "signing_conn_id") if signing else None
    _refuse_one_key_for_both(treatment, signer)
    plan = Plan(
        window=window,
        series=(arguments.hook.instance, stream(arguments), form.name),
        compression=form.compression,
        filters=wanted.as_dict(),
        personal_data=treatment.as_dict(),
        expired=_has_expired(arguments, window, now),
        object_lock=wanted_lock(
            window,
            now,
            arguments.object_lock_mode,
            arguments.object_lock_retain_until,
            bool(arguments.object_lock_legal_hold),
        ),
    )
    place = location(arguments, window, form)
    new_export = partial(
        arguments.hook.new_export, window, form, dry_run=bool(arguments.dry_run), wanted=wanted, treatment=treatment
    )
    return ExportJob(
        plan=plan,
        target=_target(arguments, plan, place),
        relative_key=place.relative,
        new_export=new_export,
        maker=_maker(arguments, context),
        stop=stop,
        retention=arguments.retention,
        read_expired=arguments.on_expired == "warn",
        replace=arguments.replace,
        allow_shrink=arguments.allow_shrink,
        signer=signer,
        log=arguments.log,
    )


def _refuse_one_key_for_both(treatment: Treatment, signer: Signer | None) -> None:
    """Refuse the signing key as the key of pseudonyms: whoever can compute pseudonyms could sign."""
    pseudonymizer = treatment.pseudonymizer
    if pseudonymizer and isinstance(signer, PrivateKey) and signer.is_held_by(pseudonymizer.key.value):
        raise InvalidArgumentError(
            "pseudonym_conn_id and signing_conn_id hold the same key. Use a separate key for pseudonyms, such as the "
            'output of: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )


def stream(arguments: Arguments) -> str:
    return "dry_run" if arguments.dry_run else "events"


def file_format(arguments: Arguments) -> FileFormat:
    """Return the object's format, after checking the arguments that take one of a few words."""
    if arguments.on_expired not in ("fail", "skip", "warn"):
        raise InvalidArgumentError(f"on_expired={arguments.on_expired!r} is unknown; it is one of fail, skip, warn.")
    if arguments.csv_safe and arguments.file_format != "csv":
        raise InvalidArgumentError(f"csv_safe=True goes with file_format='csv', not with {arguments.file_format!r}.")
    return FileFormat.of(arguments.file_format, arguments.compression)


def location(arguments: Arguments, window: Window, form: FileFormat) -> Location:
    """Return the location of a window's object."""
    fields = {
        "instance": arguments.hook.instance,
        "stream": stream(arguments),
        "start": window.start,
        "end": window.end,
        "suffix": form.suffix,
        "file_format": form.name,
    }
    return locate(arguments.s3_bucket, arguments.s3_prefix, arguments.s3_key, fields)


def _target(arguments: Arguments, plan: Plan, place: Location) -> S3Object:
    target = S3Object(
        place.bucket,
        place.key,
        place.manifest_key,
        aws_conn_id=arguments.aws_conn_id,
        encrypt=arguments.encrypt,
        acl_policy=arguments.acl_policy,
        extra_args=arguments.s3_extra_args,
        lock=plan.object_lock,
    )
    target.check_lock()
    return target


def _treatment(arguments: Arguments) -> Treatment:
    if arguments.pseudonymize is None:
        return Treatment(None, arguments.csv_safe)
    fields = check_fields(arguments.pseudonymize)
    if not arguments.pseudonym_conn_id:
        raise InvalidArgumentError("pseudonymize needs pseudonym_conn_id: a connection whose password is the key.")
    key = key_of_connection(arguments.pseudonym_conn_id, "pseudonym_conn_id")
    return Treatment(Pseudonymizer(fields, key), arguments.csv_safe)


def _has_expired(arguments: Arguments, window: Window, now: datetime) -> bool:
    """Refuse a window that the server may have partly forgotten, since that would look like a lack of events.

    :return: whether it is such a window, but should be read anyway.
    """
    if arguments.on_expired != "warn":
        check_remembered(window, arguments.retention, now)
        return False
    said = forgotten(window, arguments.retention, now)
    if said:
        arguments.log.warning("%s It is exported anyway (on_expired='warn').", said)
    return bool(said)


def _maker(arguments: Arguments, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says about who exports; outside Airflow's runs, there is no DAG run."""
    task_instance = context.get("ti")
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number")
    return {
        "settle_seconds": int(arguments.settle_time.total_seconds()),
        "airflow_version": airflow_version(),
        "dag_run": {name: getattr(task_instance, name, None) for name in names} if task_instance is not None else {},
    }
