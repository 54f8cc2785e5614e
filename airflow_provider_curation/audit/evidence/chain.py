"""Reads the chain of an archive's seals, in order of time, and checks their signatures and time stamps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

from airflow_provider_curation.audit.evidence.archive import Archive, TooLargeError
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.seal import Seal, SealError, list_seals, read_seal, seal_subjects
from airflow_provider_curation.audit.evidence.signature import SignatureCheck, check_signature
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.evidence.timestamp import STAMP_SUFFIX, StampAuthorities, StampError
from airflow_provider_curation.audit.window import to_utc

_WORKERS = 8


@dataclass(frozen=True)
class Trust:
    """Whom a verification trusts.

    :param ring: keys that sign manifests and seals; an empty ring checks no signature.
    :param authorities: of time stamps; ``None`` checks no time stamp.
    :param known_seals: SHA-256 of seals that were noted elsewhere.
    """

    ring: KeyRing = field(default_factory=KeyRing)
    authorities: StampAuthorities | None = None
    known_seals: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Link:
    """One seal of a chain.

    :param seal: ``None`` if it cannot be read, or its signature does not count, so that nothing in it counts.
    :param findings: what is wrong with it.
    :param signed: whether it has a signature, whoever made it.
    :param counts: whether a trusted key signed it.
    :param proven_at: a time, in UTC, at which it is proven to have existed; ``None`` if nothing proves one.
    """

    seal: Seal | None
    findings: Sequence[Finding]
    signed: bool = False
    counts: bool = False
    proven_at: datetime | None = None


@dataclass(frozen=True)
class _Read:
    """A seal with the files beside it, before they are checked."""

    key: str
    seal: Seal | None
    fault: str | None = None
    signature: bytes | None = None
    signed: bool = False
    stamped_at: datetime | None = None
    stamp_fault: str | None = None


def read_chain(archive: Archive, layout: Layout, trust: Trust) -> Iterator[Link]:
    """Yield an archive's seals in order of time."""
    keys, listed = list_seals(archive, layout)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="curation-seals") as pool:
        read = list(pool.map(lambda key: _read(archive, key, listed, trust), keys))
    checks = _check_backwards(read, layout, trust)
    before: Seal | None = None
    intact = True
    for each, (check, proven_at) in zip(read, checks, strict=True):
        if each.seal is None:
            intact = False
            unreadable = Finding(FindingKind.SEAL_BROKEN, f"it cannot be read: {each.fault}", each.key)
            yield Link(None, [unreadable], each.signed)
            continue
        faults = [each.stamp_fault] if each.stamp_fault else []
        forged = bool(trust.ring) and not check.counts
        if forged:
            faults.append(check.detail)
        # The link to an unreadable seal cannot be checked; that finding belongs to the unreadable one alone.
        if intact and each.seal.previous_sha256 != (before.sha256 if before else None):
            faults.append("does not chain to the seal before it, which is missing or was replaced")
        before, intact = each.seal, True
        findings = [Finding(FindingKind.SEAL_BROKEN, fault, each.key, each.seal.period) for fault in faults]
        yield Link(None if forged else each.seal, findings, each.signed, check.counts, proven_at)


def _read(archive: Archive, key: str, listed: Iterable[str], trust: Trust) -> _Read:
    signed = key + SIGNATURE_SUFFIX in listed
    try:
        seal = read_seal(archive, key)
        signature = archive.read(key + SIGNATURE_SUFFIX) if signed and (trust.ring or trust.authorities) else None
    except (SealError, TooLargeError) as error:
        return _Read(key, None, str(error), signed=signed)
    read = _Read(key, seal, signature=signature, signed=signed)
    stamped_key = key + SIGNATURE_SUFFIX * signed
    if trust.authorities is None or stamped_key + STAMP_SUFFIX not in listed:
        return read
    try:
        stamped = signature if signed else archive.read(key)
        stamp = archive.read(stamped_key + STAMP_SUFFIX)
        stamped_at = trust.authorities.stamped_at(stamp or b"", stamped or b"")
    except (StampError, TooLargeError) as error:
        return replace(read, stamp_fault=f"has a time stamp that proves nothing: {error}")
    return replace(read, stamped_at=stamped_at)


def _check_backwards(
    read: Sequence[_Read], layout: Layout, trust: Trust
) -> Sequence[tuple[SignatureCheck, datetime | None]]:
    """Check signatures from the last seal to the first, since a seal that counts proves that earlier ones are older."""
    checks: list[tuple[SignatureCheck, datetime | None]] = []
    after: tuple[str | None, datetime | None] = (None, None)
    for each in reversed(read):
        if each.seal is None:
            checks.append((check_signature(None, trust.ring, Purpose.SEAL, {}), None))
            after = (None, None)
            continue
        seal = each.seal
        subjects = seal_subjects(layout, each.key, seal.sha256)
        check = check_signature(each.signature, trust.ring, Purpose.SEAL, subjects)
        # The date in a signature counts unless its key was revoked.
        moments = [each.stamped_at, check.signed_at if check.counts else None]
        if after[0] == seal.sha256:
            moments.append(after[1])
        if seal.sha256 in trust.known_seals:
            moments.append(_sealed_at(seal))
        proven_at = min((moment for moment in moments if moment is not None), default=None)
        if not check.counts and proven_at is not None:
            check = check_signature(each.signature, trust.ring, Purpose.SEAL, subjects, proven_at)
        checks.append((check, proven_at if check.counts else None))
        after = (seal.previous_sha256, checks[-1][1])
    return checks[::-1]


def _sealed_at(seal: Seal) -> datetime | None:
    try:
        return to_utc(seal.facts["sealed_at"], "sealed_at")
    except (KeyError, ValueError):
        return None
