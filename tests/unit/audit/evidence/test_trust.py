"""Signatures and seals that should be there, and that somebody should check."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window, format_utc
from tests.support.archives import DAY, HOUR, KEY, START, TRUST, Exporter, MemoryArchive, TruthClient, manifest_key

DAYS = list(Window(START, START + 3 * DAY).split(DAY))
PERIOD = Window(START, START + 3 * DAY)
NOW = PERIOD.end + HOUR


@pytest.fixture
def archive() -> MemoryArchive:
    made, exporter = MemoryArchive(), Exporter(TruthClient(20, PERIOD))
    for day in DAYS:
        exporter.export(made, day)
    return made


def check(archive: MemoryArchive, **arguments: object) -> Report:
    return verify(archive, Check("curation/", PERIOD, **arguments), NOW)  # type: ignore[arg-type]


def test_the_report_says_what_it_rests_on(archive: MemoryArchive) -> None:
    sealed = check(archive, trust=TRUST, signer=KEY, seal=True)
    assert sealed.seal
    report = check(archive, trust=TRUST)
    assert report.counts == {}
    said = (
        f"1 seal was read, and the archive is sealed up to {format_utc(PERIOD.end)}; 3 signatures count, checked with"
    )
    assert f"{said} {KEY.key_id}." in report.summary()
    told = report.as_dict()
    assert (told["seals"], told["sealed_until"], told["signatures_checked"]) == (1, format_utc(PERIOD.end), 3)


def test_signed_manifests_without_a_key_are_loud(archive: MemoryArchive) -> None:
    check(archive, trust=TRUST, signer=KEY, seal=True)
    report = check(archive)
    assert report.counts == {"signatures_unchecked": 1}
    assert "NO SIGNATURE WAS CHECKED, though 3 manifests are signed" in report.summary()


def test_unsigned_ones_beside_signed_ones(archive: MemoryArchive) -> None:
    [first, *_] = sorted(key for key in archive.objects if "_manifests" not in key)
    del archive.objects[manifest_key(first) + SIGNATURE_SUFFIX]
    ignored = frozenset({FindingKind.NO_SEALS, FindingKind.SIGNATURES_UNCHECKED})
    [found] = check(archive, ignored=ignored).findings
    assert (found.kind, found.key) == (FindingKind.UNSIGNED, manifest_key(first))
    [found] = check(archive, trust=TRUST, ignored=ignored).findings
    assert (found.kind, found.key) == (FindingKind.BAD_SIGNATURE, manifest_key(first))


def test_seals_that_are_gone(archive: MemoryArchive) -> None:
    assert check(archive, trust=TRUST).counts == {"no_seals": 1}
    seal = check(archive, trust=TRUST, signer=KEY, seal=True).seal
    assert check(archive, trust=TRUST).counts == {}
    del archive.objects[str(seal)]
    assert check(archive, trust=TRUST).counts == {"no_seals": 1}


def test_an_archive_without_signatures_and_seals_is_not_accused() -> None:
    made, exporter = MemoryArchive(), Exporter(TruthClient(20, PERIOD), key=None)
    for day in DAYS:
        exporter.export(made, day)
    report = check(made)
    assert report.counts == {}
    assert "No seals were read; no signature was checked." in report.summary()
