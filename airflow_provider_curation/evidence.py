"""Verifying an archive without a DAG: a plain function, and a command that needs neither Airflow nor S3.

``python -m airflow_provider_curation.evidence FOLDER`` verifies a copy of an archive: the chain of its digests, their
signatures, and every manifest and object that they seal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import CurationAuditError, InvalidArgumentError
from airflow_provider_curation.audit.evidence.check import Check, Count, Reading
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.local_archive import LocalArchive
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.seal import read_chain
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.audit.window import Window, check_duration

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.archive import Archive

__all__ = ["Report", "SecretKey", "verify_archive"]


def verify_archive(
    location: str | os.PathLike[str],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    expected: Sequence[Sequence[str]] = (),
    keys: Sequence[SecretKey | bytes | str] = (),
    read: Reading = "suspects",
    curation_conn_id: str | None = None,
    recount: bool = True,
    retention: timedelta = RETENTION,
    seal: bool = False,
    known_digests: Sequence[str] = (),
    ignore: Iterable[str] = (),
    workers: int = 8,
    aws_conn_id: str | None = None,
    s3_extra_args: dict[str, Any] | None = None,
    object_lock_mode: str | None = None,
    object_lock_retain_until: datetime | timedelta | str | None = None,
    object_lock_legal_hold: bool = False,
) -> Report:
    """Verify the exports below a prefix of S3, or in a folder that holds a copy, for a period.

    :param location: the archive's root: ``s3://bucket/curation``, or a folder. Manifests lie in ``_manifests/`` and
        digests in ``_digests/`` below it.
    :param start: first moment of the period, inclusive: an aware datetime or ISO 8601 string; default: that of the
        first digest.
    :param end: end of the period, exclusive; default: that of the last digest.
    :param expected: streams and formats that must be there, of the connection's server, or of each that has exports if
        there is no connection: ``[("events", "jsonl")]``; default: those that are found.
    :param keys: that manifests and digests must be signed with, the one to seal with first; none checks no signature.
    :param read: objects to read for their SHA-256: ``suspects``, those whose ETag is not the manifest's; ``all``; or a
        share of them besides, such as ``0.01``. Those of a folder are all read.
    :param curation_conn_id: connection of the server whose exports are counted again and mended; those of other servers
        are verified in every other respect. Default: nothing is counted again, and of several servers nothing mended.
    :param recount: ask that server again for the counts of what it still remembers.
    :param retention: how long the server remembers events.
    :param seal: if nothing is found, write a digest of the period that chains to the one before.
    :param known_digests: SHA-256 of digests that were noted elsewhere, and must still be in the chain.
    :param ignore: kinds of findings that are as they should be here, such as ``["filtered"]``.
    :param workers: manifests or objects read at the same time.
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials.
    :param s3_extra_args: extra arguments of boto3's upload of the digest.
    :param object_lock_mode: of the digest, as of ``CurationAuditToS3Operator``; likewise the two that follow.
    :raises InvalidArgumentError: for an argument that cannot be used; the message names it.
    :raises ObjectLockError: if a digest is to be locked, and the bucket has no Object Lock.
    """
    now = datetime.now(timezone.utc)
    _check_arguments(read, workers, retention)
    chosen_keys = [key if isinstance(key, SecretKey) else SecretKey(_as_bytes(key)) for key in keys]
    lock = (object_lock_mode, object_lock_retain_until, object_lock_legal_hold)
    archive, prefix = _archive(location, aws_conn_id)
    period = _period(archive, prefix, chosen_keys, start, end)
    if seal:
        _protect(archive, period, now, lock, s3_extra_args)
    count, instance = _server(curation_conn_id, recount) if curation_conn_id else (None, None)
    check = Check(
        prefix=prefix,
        period=period,
        expected=_expected(expected),
        keys=chosen_keys,
        reading=read if isinstance(read, str) else float(read),
        count=count,
        instance=instance,
        remembered=now - retention,
        ignored=_kinds(ignore),
        seal=seal,
        known_digests=frozenset(digest.lower() for digest in known_digests),
        workers=workers,
    )
    return verify(archive, check, now)


def _check_arguments(read: object, workers: int, retention: object) -> None:
    share = read if isinstance(read, int | float) and not isinstance(read, bool) else None
    if read not in ("suspects", "all") and (share is None or not 0 <= share <= 1):
        raise InvalidArgumentError(f"read={read!r} is neither 'suspects', 'all' nor a share from 0 to 1.")
    if not 1 <= workers <= 64:
        raise InvalidArgumentError(f"workers={workers!r} is no number from 1 to 64.")
    check_duration(retention, "retention")


def _as_bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _archive(location: str | os.PathLike[str], aws_conn_id: str | None) -> tuple[Archive, str]:
    """Return where an archive lies, and the prefix of its keys: a folder's, so with a slash at its end."""
    if not isinstance(location, str) or not location.startswith("s3://"):
        return LocalArchive(location), ""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidArgumentError(f"{location!r} names no bucket.")
    # Loads boto, which a folder does not need.
    from airflow_provider_curation.s3.archive import S3Archive

    prefix = prefix.rstrip("/")
    return S3Archive(bucket, aws_conn_id=aws_conn_id), f"{prefix}/" if prefix else ""


def _period(
    archive: Archive,
    prefix: str,
    keys: Sequence[SecretKey],
    start: datetime | str | None,
    end: datetime | str | None,
) -> Window:
    """Return the period to verify: what was asked for, else what is sealed."""
    if start is not None and end is not None:
        return Window.parse(start, end)
    sealed = [digest.period for digest, _ in read_chain(archive, prefix, keys) if digest is not None]
    if not sealed:
        raise InvalidArgumentError(
            f"{archive.uri(prefix)} has no digest to take a period from (none that can be trusted, if keys were "
            "given): give start and end."
        )
    return Window.parse(
        min(each.start for each in sealed) if start is None else start,
        max(each.end for each in sealed) if end is None else end,
    )


def _expected(expected: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    pairs = [tuple(pair) for pair in expected]
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in ("events", "dry_run") or pair[1] not in ("jsonl", "csv"):
            raise InvalidArgumentError(
                f"expected={expected!r}: {pair!r} is no stream (events, dry_run) and format (jsonl, csv)."
            )
    return [(pair[0], pair[1]) for pair in pairs]


def _kinds(names: Iterable[str]) -> frozenset[FindingKind]:
    known = [kind.value for kind in FindingKind]
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"ignore: {name!r} is none of {', '.join(sorted(known))}.")
    return frozenset(map(FindingKind, names))


def _protect(
    archive: Archive, period: Window, now: datetime, lock: tuple[Any, Any, bool], extra_args: dict[str, Any] | None
) -> None:
    """Have the digest written as the user wants it."""
    if not any(lock) and not extra_args:
        return
    if isinstance(archive, LocalArchive):
        raise InvalidArgumentError("object_lock_* and s3_extra_args go with an s3:// location.")
    from airflow_provider_curation.s3.archive import S3Archive
    from airflow_provider_curation.s3.object_lock import wanted_lock

    assert isinstance(archive, S3Archive)
    archive.protect(wanted_lock(period, now, *lock), extra_args or {})


def _server(curation_conn_id: str, recount: bool) -> tuple[Count | None, str | None]:
    """Return what asks the server for a window's count, from several threads, and its name in manifests."""
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

    hook = CurationAuditHook(curation_conn_id)
    if not recount:
        try:
            return None, hook.instance
        except InvalidArgumentError:
            # It was not to be asked, so that there need not be one.
            return None, None
    # Made before the threads are: looking up a connection is a call to Airflow.
    _ = hook.client
    at_once = threading.BoundedSemaphore(hook.settings.concurrency)

    def count(window: Window, dry_run: bool) -> int:
        with at_once:
            return hook.count_events(window.start, window.end, dry_run)

    return count, hook.instance


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names: 0 if nothing is missing, 1 with findings, 2 if it could not be verified."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_curation.evidence",
        description="Verify an archive of audit events: the chain of its digests, and what they seal.",
    )
    parser.add_argument("location", help="a folder that holds a copy of the archive, or s3://bucket/prefix/")
    parser.add_argument("--start", help="first moment of the period (default: of the first digest)")
    parser.add_argument("--end", help="end of the period, exclusive (default: of the last digest)")
    parser.add_argument(
        "--key-file", action="append", default=[], metavar="FILE", help="holds the signing key; may be given again"
    )
    parser.add_argument(
        "--known-digest", action="append", default=[], metavar="SHA256", help="a digest that must be in the chain"
    )
    parser.add_argument("--read", default="suspects", help="suspects (default), all, or a share such as 0.01")
    parser.add_argument("--ignore", action="append", default=[], metavar="KIND", help="a kind of finding to leave out")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    chosen = parser.parse_args(arguments)
    try:
        report = verify_archive(
            chosen.location,
            chosen.start,
            chosen.end,
            keys=[_key_of_file(name) for name in chosen.key_file],
            read=_reading(chosen.read),
            known_digests=chosen.known_digest,
            ignore=chosen.ignore,
        )
    except (CurationAuditError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.as_dict(), indent=2) if chosen.json else report.summary())
    return 1 if report.findings else 0


def _key_of_file(name: str) -> SecretKey:
    # An editor's line break at the end is not the key's.
    return SecretKey(Path(name).read_bytes().rstrip(b"\r\n"), f"file {name!r}")


def _reading(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
