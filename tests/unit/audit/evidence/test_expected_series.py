"""What must be in a period: what was exported or sealed once, what is named, under a server's old and new name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.coverage import _pending
from airflow_provider_curation.audit.evidence.findings import FindingKind, Series
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from tests.support.archives import (
    DAY,
    HOUR,
    START,
    Exporter,
    MemoryArchive,
    TruthClient,
    manifest_key,
    removed,
    rewrite,
)

WEEK = Window(START, START + 7 * DAY)
DAYS = list(WEEK.split(DAY))
LATER = Window(DAYS[4].start, WEEK.end)
NOW = WEEK.end + HOUR
DRY_RUN = Series("acme", "dry_run", "jsonl")


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter(TruthClient(60, WEEK), key=None)


@pytest.fixture
def archive(exporter: Exporter) -> MemoryArchive:
    """Events of the whole week, dry-run events of the first two days only."""
    made = MemoryArchive()
    for day in DAYS:
        exporter.export(made, day)
    for day in DAYS[:2]:
        exporter.export(made, day, dry_run=True)
    return made


def check(archive: MemoryArchive, period: Window = LATER, **arguments: object) -> Report:
    return verify(archive, Check(**{"prefix": "curation/", "period": period, **arguments}), NOW)  # type: ignore[arg-type]


def gaps(report: Report) -> list[tuple[str, Window | None]]:
    assert {each.kind for each in report.findings} <= {FindingKind.GAP}
    return [(str(each.series), each.window) for each in report.findings]


def test_what_was_exported_once_is_expected_until_it_is_retired(archive: MemoryArchive) -> None:
    assert gaps(check(archive)) == [("acme, dry_run, jsonl", LATER)]
    assert gaps(check(archive, retired=frozenset({DRY_RUN}))) == []
    # A series is retired after its last export: what is missing before it is missing.
    hole = exporter_key(archive, "dry_run", 0)
    removed(archive, hole)
    assert gaps(check(archive, WEEK, retired=frozenset({DRY_RUN}))) == [("acme, dry_run, jsonl", DAYS[0])]


def exporter_key(archive: MemoryArchive, stream: str, number: int) -> str:
    keys = sorted(key for key in archive.objects if f"stream={stream}/" in key and "_manifests" not in key)
    return keys[number]


def test_what_begins_later_is_not_expected_before(archive: MemoryArchive, exporter: Exporter) -> None:
    for day in DAYS[:2]:
        removed(archive, exporter.key(day, True))
    exporter.export(archive, DAYS[6], dry_run=True)
    assert gaps(check(archive, Window(START, DAYS[6].start))) == []


def test_what_was_sealed_once_is_expected_though_nothing_of_it_is_left(archive: MemoryArchive) -> None:
    assert check(archive, Window(START, DAYS[2].start), seal=True).seal
    for key in [key for key in archive.objects if "stream=dry_run" in key]:
        del archive.objects[key]
    assert gaps(check(archive)) == [("acme, dry_run, jsonl", LATER)]


def test_a_gap_of_an_expected_series_is_repaired_as_it_was_exported(archive: MemoryArchive) -> None:
    repairs = check(archive, remembered=START).repairs
    assert [(each.window, each.stream, each.compression) for each in repairs] == [
        (day, "dry_run", "gzip") for day in DAYS[4:]
    ]


def test_expected_means_unfiltered_whatever_is_ignored(archive: MemoryArchive, exporter: Exporter) -> None:
    for day in DAYS:
        rewrite(archive, exporter.key(day), None, filters={"actions": ["blocked"]})
    chosen: dict[str, Any] = {"ignored": frozenset({FindingKind.FILTERED}), "retired": frozenset({DRY_RUN})}
    # A series of which nothing but filtered exports was ever wanted.
    assert gaps(check(archive, **chosen)) == []
    report = check(archive, expected=[("events", "jsonl")], **chosen)
    assert gaps(report) == [("acme, events, jsonl", LATER)]
    assert "no unfiltered export covers it" in report.summary()
    assert "Ignored, as asked: 3 filtered." in report.summary()


def test_a_renamed_server_is_one_server(archive: MemoryArchive) -> None:
    renamed = Exporter(TruthClient(60, WEEK), key=None, instance="packages.acme.example")
    for day in DAYS[4:]:
        removed(archive, exporter_key(archive, "events", 4))
        renamed.export(archive, day)
    chosen: dict[str, Any] = {"retired": frozenset({DRY_RUN, Series("packages.acme.example", "dry_run", "jsonl")})}
    for instance in (None, "packages.acme.example"):
        report = check(archive, WEEK, instance=instance, remembered=START, **chosen)
        # Of two names each lacks a part.
        assert len(gaps(report)) == 2
    aliases = {"acme": "packages.acme.example"}
    report = check(archive, WEEK, aliases=aliases, instance="packages.acme.example", remembered=START, **chosen)
    assert (gaps(report), report.repairs, report.other_servers) == ([], [], [])
    assert check(archive, WEEK, aliases=aliases, seal=True, **chosen).seal
    # Also what its old key alone tells.
    del archive.objects[manifest_key(exporter_key(archive, "events", 1))]
    [*found] = check(archive, WEEK, aliases=aliases, **chosen).findings
    assert [(each.kind, each.series and each.series.instance) for each in found] == [
        (FindingKind.MANIFEST_MISSING, "packages.acme.example")
    ]


def test_an_export_that_may_still_be_running_is_pending(archive: MemoryArchive, exporter: Exporter) -> None:
    for day in DAYS[5:]:
        removed(archive, exporter.key(day))
    chosen: dict[str, Any] = {"retired": frozenset({DRY_RUN})}
    assert gaps(check(archive, **chosen)) == [("acme, events, jsonl", Window(DAYS[5].start, WEEK.end))]
    report = check(archive, export_time=timedelta(hours=2), seal=True, remembered=START, **chosen)
    assert gaps(report) == [("acme, events, jsonl", DAYS[5])]
    assert [(each.window) for each in report.pending] == [DAYS[6]]
    assert f"Pending, since their exports may still be running: {DAYS[6]} (acme, events, jsonl)." in report.summary()
    assert [each.window for each in report.repairs] == [DAYS[5]]
    exporter.export(archive, DAYS[5])
    report = check(archive, export_time=timedelta(hours=2), seal=True, **chosen)
    # Nothing is found, but it is not said to be whole, nor sealed.
    assert (gaps(report), report.seal) == ([], None)
    assert "Nothing else is missing." in report.summary()


@pytest.mark.parametrize("hours", range(0, 80, 7))
def test_what_is_pending_are_whole_windows(hours: int) -> None:
    gap = Window(DAYS[4].start, WEEK.end)
    due = NOW - timedelta(hours=hours)
    parts = list(_pending(gap, DAY, due))
    assert (parts[0][0].start, parts[-1][0].end) == (gap.start, gap.end)
    pending = [part for part, late in parts if late]
    assert [day for day in DAYS[4:] if day.end > due] == [day for part in pending for day in part.split(DAY)]


def test_other_archives_below_and_above(archive: MemoryArchive, exporter: Exporter) -> None:
    whole = MemoryArchive({f"team/{key}": body for key, body in archive.objects.items()})
    for prefix, named in (("", "team/curation/"), ("team/", "team/curation/")):
        report = verify(whole, Check(prefix, WEEK), NOW)
        kinds = [(each.kind, each.key) for each in report.findings]
        assert (FindingKind.OTHER_ARCHIVE, named) in kinds
        assert FindingKind.NO_EXPORTS in {kind for kind, _ in kinds}
    for inner in ("instance=acme/", "instance=acme/stream=events/"):
        with pytest.raises(
            InvalidArgumentError, match=r"is a folder of the archive whose root is memory://team/curation/"
        ):
            verify(whole, Check(f"team/curation/{inner}", WEEK), NOW)


def test_nothing_at_all_is_a_finding_whatever_is_ignored() -> None:
    for archive in (MemoryArchive(), MemoryArchive({"curation/x.txt": b""})):
        report = check(archive, ignored=frozenset(FindingKind))
        assert report.counts == {"no_exports": 1}
        assert "Nothing" not in report.summary()
