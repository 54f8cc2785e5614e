"""A signature without what it signs: what was deleted leaves a trace, and what is under way is no finding."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from tests.support.archives import (
    DAY,
    HOUR,
    KEY,
    START,
    TRUST,
    Exporter,
    MemoryArchive,
    TruthClient,
    manifest_key,
    pair,
)

PERIOD = Window(START, START + 3 * DAY)
DAYS = list(PERIOD.split(DAY))
NOW = PERIOD.end + HOUR
NO_SEALS = frozenset({FindingKind.NO_SEALS})


@pytest.fixture
def exporter() -> Exporter:
    return Exporter(TruthClient(20, PERIOD))


@pytest.fixture
def archive(exporter: Exporter) -> MemoryArchive:
    made = MemoryArchive()
    for day in DAYS:
        exporter.export(made, day)
    return made


def check(archive: MemoryArchive, now: datetime = NOW, period: Window = PERIOD, **arguments: Any) -> Report:
    return verify(archive, Check("curation/", period, trust=TRUST, signer=KEY, **arguments), now)


def found(report: Report) -> list[tuple[FindingKind, str | None, Window | None]]:
    return [(each.kind, each.key, each.window) for each in report.findings]


def test_an_export_of_which_only_the_signature_is_left(archive: MemoryArchive, exporter: Exporter) -> None:
    key = exporter.key(DAYS[1])
    for name in pair(key):
        del archive.objects[name]
    report = check(archive, ignored=NO_SEALS, remembered=START)
    assert found(report) == [(FindingKind.MANIFEST_MISSING, key, DAYS[1])]
    assert "the export's signature is there, but neither its manifest nor its object" in report.summary()
    assert [repair.window for repair in report.repairs] == [DAYS[1]]
    exporter.export(archive, DAYS[1])
    assert found(check(archive, ignored=NO_SEALS)) == []


def test_of_an_object_without_manifest_the_object_is_the_finding(archive: MemoryArchive, exporter: Exporter) -> None:
    key = exporter.key(DAYS[1])
    del archive.objects[manifest_key(key)]
    assert found(check(archive, ignored=NO_SEALS)) == [(FindingKind.MANIFEST_MISSING, key, DAYS[1])]


def test_of_a_sealed_export_the_seal_tells(archive: MemoryArchive, exporter: Exporter) -> None:
    check(archive, seal=True)
    for name in pair(exporter.key(DAYS[1])):
        del archive.objects[name]
    kinds = [each.kind for each in check(archive).findings]
    assert sorted(kinds) == [FindingKind.GAP, FindingKind.SEALED_MISSING]


@pytest.mark.parametrize("written", ["the object", "the object and the signature", "the signature"])
def test_an_export_under_way_is_pending(archive: MemoryArchive, exporter: Exporter, written: str) -> None:
    """The manifest is written last; until the export's time is over, nothing is wrong."""
    key = exporter.key(DAYS[2])
    names = {"the object": key, "the signature": manifest_key(key) + SIGNATURE_SUFFIX}
    kept = {name for said, name in names.items() if said in written}
    for name in (*pair(key), names["the signature"]):
        if name not in kept:
            del archive.objects[name]
    report = check(archive, ignored=NO_SEALS, export_time=timedelta(hours=2))
    assert found(report) == []
    assert [each.window for each in report.pending] == [DAYS[2]]
    report = check(archive, NOW + 2 * HOUR, ignored=NO_SEALS, export_time=timedelta(hours=2))
    assert found(report) == [(FindingKind.MANIFEST_MISSING, key, DAYS[2])]


def test_what_is_not_in_the_period_is_not_looked_at(archive: MemoryArchive, exporter: Exporter) -> None:
    for name in pair(exporter.key(DAYS[0])):
        del archive.objects[name]
    assert found(check(archive, period=Window(DAYS[1].start, PERIOD.end), ignored=NO_SEALS)) == []


def test_a_seal_of_which_only_the_signature_is_left(archive: MemoryArchive) -> None:
    """Without it, the end of a chain could be cut off, and nothing but a noted SHA-256 would tell."""
    seals = [check(archive, period=day, seal=True).seal for day in DAYS]
    del archive.objects[str(seals[-1])]
    [finding] = check(archive, NOW + HOUR).findings
    assert (finding.kind, finding.key, finding.window) == (FindingKind.SEAL_BROKEN, seals[-1], DAYS[-1])
    assert "its signature is there, but the seal is gone" in finding.detail


def test_a_sealing_under_way_or_interrupted(archive: MemoryArchive) -> None:
    seals = [check(archive, period=day, seal=True).seal for day in DAYS]
    del archive.objects[str(seals[-1])]
    # Its signature was written just now.
    assert found(check(archive)) == []
    # Sealing the same period again makes up for it.
    again = check(archive, NOW + HOUR, DAYS[-1], seal=True)
    assert (found(again), again.seal) == ([], seals[-1])
    assert found(check(archive, NOW + HOUR)) == []
