"""Verifies an archive without a DAG: a plain function, and a command that needs neither Airflow nor S3.

``python -m airflow_provider_curation.evidence FOLDER`` verifies a copy of an archive: the chain of its seals, their
signatures, and every manifest and object that they name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.chain import Trust, read_chain
from airflow_provider_curation.audit.evidence.check import Check, Count, Reading
from airflow_provider_curation.audit.evidence.conclusion import Conclusion, conclude, unsealed
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.findings import FindingKind, Series
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.local_archive import LocalArchive
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.timestamp import StampAuthorities, request_stamp
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window, check_duration

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.archive import Archive

__all__ = ["Conclusion", "KeyRing", "Report", "conclude", "unsealed", "verify_archive"]

STREAMS = ("events", "dry_run")
FORMATS = ("jsonl", "csv", "parquet")


def verify_archive(
    location: str | os.PathLike[str],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    expected: Sequence[Sequence[str]] = (),
    retired: Sequence[Sequence[str]] = (),
    aliases: Mapping[str, str] | None = None,
    key_ring: KeyRing | str | os.PathLike[str] | None = None,
    signer: Signer | None = None,
    timestamp_url: str | None = None,
    timestamp_authorities: StampAuthorities | str | os.PathLike[str] | None = None,
    read: Reading = "suspects",
    curation_conn_id: str | None = None,
    recount: bool = True,
    retention: timedelta = RETENTION,
    export_time: timedelta = timedelta(0),
    seal: bool = False,
    known_seals: Sequence[str] = (),
    ignore: Iterable[str] = (),
    workers: int = 8,
    aws_conn_id: str | None = None,
    s3_extra_args: dict[str, Any] | None = None,
    object_lock_mode: str | None = None,
    object_lock_retain_until: datetime | timedelta | str | None = None,
    object_lock_legal_hold: bool = False,
) -> Report:
    """Verify the exports of an archive in S3, or in a folder with a copy, for a period that has ended.

    :param location: the archive's root: ``s3://bucket/curation``, or a folder. Manifests are in ``_manifests/`` below
        it.
    :param start: start of the period, inclusive: an aware datetime or ISO 8601 string; default: that of the first seal.
    :param end: end of the period, exclusive; default: that of the last seal.
    :param expected: streams and formats whose unfiltered exports must exist, such as ``[("events", "jsonl")]``: those
        of the connection's server or, without a connection, of each server that has exports. Every series that was
        exported or sealed before the end of the period is also expected.
    :param retired: series that are no longer exported, such as ``[("acme.jfrog.io", "events", "csv")]``: they are not
        expected after their last export.
    :param aliases: the earlier names of renamed servers, each with the server's current name:
        ``{"acme.jfrog.io": "packages.acme.example"}``.
    :param key_ring: the public keys that manifests and seals must be signed with: a key ring, or a file or folder of
        one, see :mod:`airflow_provider_curation.audit.evidence.key_ring`; ``None`` checks no signature.
    :param signer: signs the seal, see :mod:`airflow_provider_curation.hooks.signing`; without a key ring it is also the
        only key that is trusted.
    :param timestamp_url: the time-stamp authority (RFC 3161) that stamps the seal; needs the extra ``timestamp``.
    :param timestamp_authorities: a file with the root certificates, in PEM, of the trusted time-stamp authorities;
        ``None`` checks no time stamp.
    :param read: which objects to read: ``suspects``, those without a matching seal, and those whose ETag and S3's own
        SHA-256 both differ from the manifest's; ``checksums`` also compares that SHA-256 of every other object;
        ``all``; or also a share of the others, such as ``0.01``. In a folder, all are read.
    :param curation_conn_id: connection of the server whose exports are counted again and repaired; those of other
        servers are verified in every other respect. Default: nothing is counted again, and of several servers nothing
        repaired.
    :param recount: have that server count the windows again that it still remembers.
    :param retention: how long the server remembers events.
    :param export_time: how long an export may take after its window has ended; until then it is pending, not missing.
    :param seal: seal the period if nothing is found and nothing is pending.
    :param known_seals: SHA-256 of seals that were noted elsewhere, and must still be in the chain.
    :param ignore: kinds of findings that are expected here, such as ``["filtered"]``; the report counts them.
    :param workers: how many manifests or objects are read at the same time.
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials.
    :param s3_extra_args: extra arguments of boto3's upload of the seal.
    :param object_lock_mode: for the seal, as for ``CurationAuditToS3Operator``, like the two parameters after it.
    :raises InvalidArgumentError: for an invalid argument; the message names it. Also for a period that has not ended by
        this machine's clock, and for a folder inside an archive.
    :raises ObjectLockError: if the seal should be locked, but the bucket has no Object Lock.
    :raises MissingPackageError: if an object cannot be unpacked without a package that is not installed.
    """
    now = datetime.now(timezone.utc)
    _check_arguments(read, workers, retention)
    check_duration(export_time, "export_time")
    trust = Trust(
        _trusted(key_ring, signer, now), _authorities(timestamp_authorities), frozenset(map(str.lower, known_seals))
    )
    lock = (object_lock_mode, object_lock_retain_until, object_lock_legal_hold)
    archive, prefix = open_archive(location, aws_conn_id)
    period = _period(archive, prefix, trust, start, end)
    if seal:
        _protect(archive, period, now, lock, s3_extra_args)
    count, instance = _server(curation_conn_id, recount) if curation_conn_id else (None, None)
    check = Check(
        prefix=prefix,
        period=period,
        expected=_expected(expected),
        retired=_retired(retired),
        aliases=dict(aliases or {}),
        trust=trust,
        signer=signer,
        stamp=partial(request_stamp, timestamp_url) if timestamp_url else None,
        reading=read if isinstance(read, str) else float(read),
        count=count,
        instance=instance,
        remembered=now - retention,
        export_time=export_time,
        ignored=_kinds(ignore),
        seal=seal,
        workers=workers,
    )
    return verify(archive, check, now)


def _check_arguments(read: object, workers: int, retention: object) -> None:
    share = read if isinstance(read, int | float) and not isinstance(read, bool) else None
    if read not in ("suspects", "checksums", "all") and (share is None or not 0 <= share <= 1):
        raise InvalidArgumentError(f"read={read!r} is neither 'suspects', 'checksums', 'all' nor a share from 0 to 1.")
    if not 1 <= workers <= 64:
        raise InvalidArgumentError(f"workers={workers!r} is not a number from 1 to 64.")
    check_duration(retention, "retention")


def _trusted(ring: KeyRing | str | os.PathLike[str] | None, signer: Signer | None, now: datetime) -> KeyRing:
    """Return the keys that signatures are checked with, including the signer's own."""
    if isinstance(ring, str | os.PathLike):
        ring = KeyRing.load(ring)
    if signer is None:
        return ring or KeyRing()
    if not ring:
        return KeyRing((TrustedKey(signer.public_key, "that seals"),))
    key = ring.get(signer.key_id)
    if key is None or not key.counts(now):
        why = "is not in the key ring" if key is None else "does not count now, by its dates in the key ring"
        raise InvalidArgumentError(
            f"The key that signs the seal ({signer.key_id}) {why}, so the seal would not be trusted. Add it to the key "
            "ring, or sign with another key."
        )
    return ring


def _authorities(given: StampAuthorities | str | os.PathLike[str] | None) -> StampAuthorities | None:
    if given is None or isinstance(given, StampAuthorities):
        return given
    try:
        return StampAuthorities.of_pem(Path(given).read_bytes(), f"file {str(given)!r}")
    except OSError as error:
        raise InvalidArgumentError(f"timestamp_authorities={str(given)!r} cannot be read ({error.strerror}).") from None


def open_archive(location: str | os.PathLike[str], aws_conn_id: str | None) -> tuple[Archive, str]:
    """Return an archive and the prefix of its keys, which ends with a slash unless it is empty."""
    if not isinstance(location, str) or not location.startswith("s3://"):
        archive = LocalArchive(location)
        _refuse_inner_folder(Path(location).resolve())
        return archive, ""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidArgumentError(f"{location!r} has no bucket; give s3://bucket/curation.")
    # Loads boto, which a folder does not need.
    from airflow_provider_curation.s3.archive import S3Archive

    prefix = prefix.rstrip("/")
    return S3Archive(bucket, aws_conn_id=aws_conn_id), f"{prefix}/" if prefix else ""


def _refuse_inner_folder(folder: Path) -> None:
    for above in folder.parents:
        inner = Path(Layout(str(above)).manifests) / folder.relative_to(above)
        if inner.is_dir():
            raise InvalidArgumentError(
                f"{str(folder)!r} is a folder of the archive whose root is {str(above)!r}: verify that one, since it "
                "has the manifests and seals."
            )


def _period(
    archive: Archive,
    prefix: str,
    trust: Trust,
    start: datetime | str | None,
    end: datetime | str | None,
) -> Window:
    """Return the period to verify: the given one, or else the sealed one."""
    if start is not None and end is not None:
        return Window.parse(start, end)
    chain = read_chain(archive, Layout(prefix.rstrip("/")), trust)
    sealed = [link.seal.period for link in chain if link.seal is not None]
    if not sealed:
        raise InvalidArgumentError(
            f"{archive.uri(prefix)} has no seal to take a period from (none that can be trusted, if a key ring was "
            "given): give start and end."
        )
    return Window.parse(
        min(each.start for each in sealed) if start is None else start,
        max(each.end for each in sealed) if end is None else end,
    )


def _expected(expected: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    pairs = [tuple(pair) for pair in expected]
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in STREAMS or pair[1] not in FORMATS:
            raise InvalidArgumentError(
                f"expected={expected!r}: {pair!r} is not a stream ({', '.join(STREAMS)}) and a format "
                f"({', '.join(FORMATS)})."
            )
    return [(pair[0], pair[1]) for pair in pairs]


def _retired(retired: Sequence[Sequence[str]]) -> frozenset[Series]:
    named = [tuple(each) for each in retired]
    for each in named:
        if len(each) != 3 or each[1] not in STREAMS or each[2] not in FORMATS:
            raise InvalidArgumentError(
                f"retired={retired!r}: {each!r} is not a server's name, a stream ({', '.join(STREAMS)}) and a format "
                f"({', '.join(FORMATS)})."
            )
    return frozenset(Series(*each) for each in named)


def _kinds(names: Iterable[str]) -> frozenset[FindingKind]:
    known = [kind.value for kind in FindingKind if kind is not FindingKind.NO_EXPORTS]
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"ignore: {name!r} is none of {', '.join(sorted(known))}.")
    return frozenset(map(FindingKind, names))


def _protect(
    archive: Archive, period: Window, now: datetime, lock: tuple[Any, Any, bool], extra_args: dict[str, Any] | None
) -> None:
    """Write the seal with the requested lock and extra arguments."""
    if not any(lock) and not extra_args:
        return
    if isinstance(archive, LocalArchive):
        raise InvalidArgumentError("object_lock_* and s3_extra_args need an s3:// location.")
    from airflow_provider_curation.s3.archive import S3Archive
    from airflow_provider_curation.s3.object_lock import wanted_lock

    assert isinstance(archive, S3Archive)
    archive.protect(wanted_lock(period, now, *lock), extra_args or {})


def _server(curation_conn_id: str, recount: bool) -> tuple[Count | None, str | None]:
    """Return a function that asks the server for a window's count, for several threads, and the server's name."""
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

    hook = CurationAuditHook(curation_conn_id)
    if not recount:
        try:
            return None, hook.instance
        except InvalidArgumentError:
            # Without a recount, there may be no connection.
            return None, None
    # Look up the connection before the threads start, since that is a call to Airflow.
    _ = hook.client

    def count(window: Window, dry_run: bool) -> int:
        return hook.count_events(window.start, window.end, dry_run)

    return count, hook.instance
