"""Each kind of finding, what can be repaired, and that memory stays flat."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.archive import Entry
from airflow_provider_curation.audit.evidence.chain import Trust, read_chain
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.coverage import Coverage
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.listing import named_window, pairs
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.seal import entry, new_seal, write_seal
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window, format_utc
from tests.support.archives import (
    DAY,
    HOUR,
    KEY,
    RING,
    START,
    TRUST,
    Exporter,
    MemoryArchive,
    TruthClient,
    manifest_key,
    pair,
    removed,
    replace_events,
    rewrite,
    sign,
    stored,
)
from tests.support.keys import OTHER

WEEK = Window(START, START + 7 * DAY)
DAYS = list(WEEK.split(DAY))
NOW = WEEK.end + HOUR


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter(TruthClient(200, WEEK))


@pytest.fixture(scope="module")
def whole(exporter: Exporter) -> MemoryArchive:
    archive = MemoryArchive()
    for day in DAYS:
        for dry_run in (False, True):
            exporter.export(archive, day, dry_run=dry_run)
    return archive


@pytest.fixture
def archive(whole: MemoryArchive) -> MemoryArchive:
    return whole.copy()


def check(archive: MemoryArchive, **arguments: object) -> Report:
    chosen = {"prefix": "curation/", "period": WEEK, "trust": TRUST, "signer": KEY, "ignored": frozenset(), **arguments}
    # Most tests look at archives that nobody has sealed yet.
    chosen["ignored"] |= {FindingKind.NO_SEALS}  # type: ignore[operator]
    return verify(archive, Check(**chosen), NOW)  # type: ignore[arg-type]


def found(report: Report) -> list[tuple[FindingKind, str | None, Window | None]]:
    return [(each.kind, each.key, each.window) for each in report.findings]


def test_a_whole_archive(archive: MemoryArchive, exporter: Exporter) -> None:
    check(archive, seal=True)
    report = check(archive, count=exporter.client.count, remembered=START, reading="all")
    totals = report.totals
    assert (found(report), totals.manifests, totals.recounted, totals.objects_read) == ([], 14, 14, 14)
    assert "Nothing is missing" in report.summary()


def test_no_object_is_read_without_need(archive: MemoryArchive, exporter: Exporter) -> None:
    # What no seal vouches for is read in any case.
    assert check(archive, seal=True).totals.objects_read == 14
    assert check(archive).totals.objects_read == 0
    archive.reads.clear()
    copied = exporter.key(DAYS[1])
    archive.etags[copied] = "of-a-copy"
    assert found(check(archive)) == []
    assert archive.reads == [copied]
    random.seed(7)
    # The copy is read in any case.
    assert 1 < check(archive, reading=0.5).totals.objects_read < 14


def test_a_manifest_that_is_no_manifest(archive: MemoryArchive, exporter: Exporter) -> None:
    keys = [manifest_key(exporter.key(day)) for day in DAYS[:4]]
    for key, body in zip(keys, [b"{", b"[]", b'{"manifest_version": 1}', b"\xff"], strict=True):
        archive.objects[key] = body
    assert found(check(archive)) == [(FindingKind.MANIFEST_UNREADABLE, *each) for each in zip(keys, DAYS, strict=False)]


def test_facts_that_are_findings(archive: MemoryArchive, exporter: Exporter) -> None:
    keys = [exporter.key(day) for day in DAYS]
    rewrite(archive, keys[0], reconciled=False, reconciled_why="no count")
    rewrite(archive, keys[1], filters={"actions": ["blocked"]})
    rewrite(archive, keys[2], signer=None, settle_seconds=3)
    del archive.objects[manifest_key(keys[3]) + SIGNATURE_SUFFIX]
    rewrite(archive, keys[4], signer=OTHER)
    names = [manifest_key(key) for key in keys]
    kinds = [FindingKind.UNRECONCILED, FindingKind.FILTERED, *[FindingKind.BAD_SIGNATURE] * 3]
    report = check(archive)
    assert found(report) == list(zip(kinds, names, DAYS, strict=False))
    said = [each.detail for each in report.findings]
    assert "no count" in said[0]
    for text, part in zip(said[2:], ["other bytes", "is not signed", "a key that is not trusted"], strict=True):
        assert part in text
    unsigned = [(FindingKind.UNSIGNED, names[3], DAYS[3])]
    unchecked = [(FindingKind.SIGNATURES_UNCHECKED, None, None)]
    assert found(check(archive, trust=Trust())) == [*unchecked, *found(report)[:2], *unsigned]
    # That day has no export of everything, as the others have.
    ignored = frozenset({FindingKind.FILTERED, FindingKind.UNRECONCILED, FindingKind.SIGNATURES_UNCHECKED})
    assert found(check(archive, trust=Trust(), ignored=ignored)) == [(FindingKind.GAP, None, DAYS[1]), *unsigned]


def test_a_filtered_export_hides_no_gap(archive: MemoryArchive, exporter: Exporter) -> None:
    ignored = frozenset({FindingKind.FILTERED})
    extra = exporter.export(archive, DAYS[2], key="curation/blocked.jsonl.gz")
    rewrite(archive, extra, filters={"actions": ["blocked"]})
    assert found(check(archive, ignored=ignored)) == []
    removed(archive, exporter.key(DAYS[2]))
    assert found(check(archive, ignored=ignored)) == [(FindingKind.GAP, None, DAYS[2])]
    # Where all that was ever exported is filtered, that is the series; a broken export changes nothing about it.
    for day in DAYS:
        rewrite(archive, exporter.key(day) if day != DAYS[2] else extra, filters={"actions": ["blocked"]})
    archive.objects[manifest_key(exporter.key(DAYS[4]))] = b"{"
    unreadable = (FindingKind.MANIFEST_UNREADABLE, manifest_key(exporter.key(DAYS[4])), DAYS[4])
    assert found(check(archive, ignored=ignored)) == [unreadable]


def test_events_that_came_late(archive: MemoryArchive, exporter: Exporter) -> None:
    def count(window: Window, dry_run: bool) -> int:
        return exporter.client.count(window, dry_run) + (window == DAYS[5] and not dry_run) - (window == DAYS[6])

    late = [(FindingKind.LATE_EVENTS, manifest_key(exporter.key(DAYS[5])), DAYS[5])]
    assert found(check(archive, count=count, remembered=START)) == late
    # What the server has begun to forget is not asked for.
    report = check(archive, count=count, remembered=DAYS[5].start + HOUR)
    assert (found(report), report.totals.recounted) == ([], 2)


def test_a_stream_that_should_be_there(archive: MemoryArchive) -> None:
    report = check(archive, expected=[("events", "jsonl"), ("events", "csv")])
    assert [(each.kind, each.window, each.series and each.series.format) for each in report.findings] == [
        (FindingKind.GAP, WEEK, "csv")
    ]
    assert found(verify(MemoryArchive(), Check("curation/", WEEK), NOW)) == [(FindingKind.NO_EXPORTS, None, WEEK)]


def test_a_period_that_has_not_ended_cannot_be_verified(archive: MemoryArchive) -> None:
    for period in (Window(START, START + 8 * DAY), Window(NOW, NOW + DAY)):
        with pytest.raises(InvalidArgumentError, match=f"before it has ended: it is {format_utc(NOW)} by this"):
            check(archive, period=period)
    report = verify(archive, Check("curation/", WEEK, trust=TRUST), WEEK.end)
    assert f"{WEEK}, by the clock at {format_utc(WEEK.end)}" in report.summary()


def test_other_files_are_no_findings(archive: MemoryArchive) -> None:
    for key in ("curation/readme.txt", "curation/acme/events/notes.json", "elsewhere/x.jsonl.gz"):
        archive.objects[key] = b"x"
    assert found(check(archive)) == []
    archive.objects["curation/x.jsonl.gz"] = b"x"
    assert found(check(archive)) == [(FindingKind.MANIFEST_MISSING, "curation/x.jsonl.gz", None)]


def test_objects_that_have_moved(archive: MemoryArchive) -> None:
    moved = MemoryArchive({key.replace("curation/", "old/"): body for key, body in archive.objects.items()})
    assert found(check(moved, prefix="old/")) == []


def test_what_can_be_repaired(archive: MemoryArchive, exporter: Exporter) -> None:
    for day in (*DAYS[:3], DAYS[5]):
        removed(archive, exporter.key(day))
    del archive.objects[exporter.key(DAYS[4], True)]
    del archive.objects[exporter.key(DAYS[0], True)]
    assert check(archive).repairs == []

    remembered = DAYS[1].start + 10 * HOUR
    report = check(archive, remembered=remembered)

    # The gap of three days: the first is lost, the second can be recovered in part, the third was exported.
    half = Window(remembered + timedelta(minutes=30), DAYS[1].end)
    expected = [(half, "events"), (DAYS[2], "events"), (DAYS[4], "dry_run"), (DAYS[5], "events")]
    assert [(each.window, each.stream) for each in report.repairs] == expected
    assert report.repairs[2].as_kwargs() == {
        "start": "2025-01-05T00:00:00Z",
        "end": "2025-01-06T00:00:00Z",
        "dry_run": True,
        "file_format": "jsonl",
        "compression": "gzip",
    }
    for repair in report.repairs:
        exporter.export(archive, repair.window, dry_run=repair.stream == "dry_run")
    assert [window for _, _, window in found(check(archive))] == [
        Window(START, half.start),
        DAYS[0],
    ]


def test_a_report_is_bounded_and_plain_values() -> None:
    archive = MemoryArchive({f"curation/{number}.jsonl.gz": b"" for number in range(1000)})
    report = verify(archive, Check("curation/", WEEK), NOW)
    told = json.loads(json.dumps(report.as_dict()))
    assert told["counts"] == {"manifest_missing": 1000, "no_exports": 1}
    assert len(told["findings"]) == 200
    assert len(told["summary"].splitlines()) < 60


# Several servers


@pytest.fixture(scope="module")
def other() -> Exporter:
    """Exports of a server whose name differs in a number only."""
    return Exporter(TruthClient(60, WEEK), instance="acme2")


@pytest.fixture
def both(archive: MemoryArchive, other: Exporter) -> MemoryArchive:
    for day in DAYS:
        other.export(archive, day)
    return archive


def test_only_the_servers_own_exports_are_counted_again(
    both: MemoryArchive, exporter: Exporter, other: Exporter
) -> None:
    # Without events more than the first server has, the other one's would seem to have come late.
    for instance, mine, windows in (("acme", exporter, 14), ("acme2", other, 7)):
        report = check(both, instance=instance, count=mine.client.count, remembered=START)
        assert (found(report), report.repairs, report.totals.recounted, report.totals.manifests) == (
            [],
            [],
            windows,
            21,
        )

    def late(window: Window, dry_run: bool) -> int:
        return other.client.count(window, dry_run) + (window == DAYS[5])

    report = check(both, instance="acme2", count=late, remembered=START)
    assert found(report) == [(FindingKind.LATE_EVENTS, manifest_key(other.key(DAYS[5])), DAYS[5])]
    assert [each.window for each in report.repairs] == [DAYS[5]]


def test_what_was_not_counted_again_is_said_and_sealed_all_the_same(both: MemoryArchive, exporter: Exporter) -> None:
    report = check(both, instance="acme", count=exporter.client.count, remembered=START, seal=True)
    assert (report.as_dict()["server"], report.as_dict()["other_servers"]) == ("acme", ["acme2"])
    said = "Not counted again or repaired, since they belong to another server than acme: the exports of acme2."
    assert said in report.summary()
    assert report.seal is not None
    assert len(json.loads(both.objects[report.seal])["manifests"]) == 21


def test_one_server_needs_no_words(archive: MemoryArchive, exporter: Exporter) -> None:
    for instance in (None, "acme"):
        report = check(archive, instance=instance, count=exporter.client.count, remembered=START)
        assert (report.server, report.other_servers, report.totals.recounted) == ("acme", [], 14)
        assert "Not counted again" not in report.summary()


def test_another_servers_findings_are_not_repaired(both: MemoryArchive, exporter: Exporter, other: Exporter) -> None:
    removed(both, other.key(DAYS[1]))
    removed(both, exporter.key(DAYS[2]))
    del both.objects[other.key(DAYS[4])]
    # Of which server it is, its key tells alone.
    del both.objects[manifest_key(other.key(DAYS[5]))]
    findings = [
        (FindingKind.GAP, "acme2", DAYS[1]),
        (FindingKind.GAP, "acme", DAYS[2]),
        (FindingKind.OBJECT_MISSING, "acme2", DAYS[4]),
        (FindingKind.MANIFEST_MISSING, "acme2", DAYS[5]),
    ]
    repaired = {"acme": [DAYS[2]], "acme2": [DAYS[1], DAYS[4], DAYS[5]], None: []}
    for instance, windows in repaired.items():
        report = check(both, instance=instance, remembered=START - DAY)
        assert [(each.kind, each.series and each.series.instance, each.window) for each in report.findings] == findings
        assert [each.window for each in report.repairs] == windows
    # Which of them exports would read, nobody has said.
    assert report.other_servers == ["acme", "acme2"]
    said = "Not counted again or repaired, since no connection tells which server to ask: the exports of acme, acme2."
    assert said in report.summary()


def test_a_server_must_have_what_is_expected_itself(both: MemoryArchive) -> None:
    expected = [("events", "jsonl"), ("dry_run", "jsonl")]
    missing = [(FindingKind.GAP, WEEK, "acme2, dry_run, jsonl")]
    # Another server, such as acme2 for acme, may export less.
    for instance, findings, repairs in (("acme", [], 0), ("acme2", missing, 1), (None, missing, 0)):
        report = check(both, instance=instance, expected=expected, remembered=START - DAY)
        assert [(each.kind, each.window, str(each.series)) for each in report.findings] == findings
        assert len(report.repairs) == repairs
    # Also the connection's, of which there is nothing yet.
    report = check(both, instance="acme3", expected=expected[:1], remembered=START - DAY)
    assert [str(each.series) for each in report.findings] == ["acme3, events, jsonl"]
    assert [(each.window, each.stream) for each in report.repairs] == [(WEEK, "events")]


def test_a_key_that_tells_no_server_names_none(exporter: Exporter, other: Exporter) -> None:
    archive = MemoryArchive()
    for number, day in enumerate(DAYS):
        exporter.export(archive, day, key=f"curation/{day.start:%Y%m%dT%H%M%SZ}_{day.end:%Y%m%dT%H%M%SZ}-1.jsonl.gz")
        if number < 6:
            last = other.export(
                archive, day, key=f"curation/{day.start:%Y%m%dT%H%M%SZ}_{day.end:%Y%m%dT%H%M%SZ}-2.jsonl.gz"
            )
    del archive.objects[manifest_key(last)]
    report = check(archive, instance="acme", remembered=START - DAY)
    assert [(each.kind, each.window, each.series and each.series.instance) for each in report.findings] == [
        (FindingKind.GAP, Window(DAYS[5].start, WEEK.end), "acme2"),
        (FindingKind.MANIFEST_MISSING, DAYS[5], None),
    ]
    assert report.repairs == []


# Seals


def test_periods_are_sealed_in_a_chain(archive: MemoryArchive, exporter: Exporter) -> None:
    first, second = Window(START, DAYS[3].start), Window(DAYS[3].start, WEEK.end)
    keys = [check(archive, period=period, seal=True).seal for period in (first, second)]
    assert keys == [
        "curation/_seals/20250101T000000Z_20250104T000000Z.json",
        "curation/_seals/20250104T000000Z_20250108T000000Z.json",
    ]
    again = check(archive, period=second, seal=True)
    assert (again.seal, found(again)) == (keys[1], [])
    with pytest.raises(InvalidArgumentError, match="already seals up to"):
        check(archive, seal=True)
    moved = MemoryArchive({key.replace("curation/", "x/"): body for key, body in archive.objects.items()})
    assert found(check(moved, prefix="x/")) == []

    # The first seal is altered, then gone.
    assert keys[0] is not None
    body = archive.objects[keys[0]]
    archive.objects[keys[0]] = body.replace(b"acme", b"evil")
    assert {(each.kind, each.key) for each in check(archive).findings} == {
        (FindingKind.SEAL_BROKEN, key) for key in keys
    }
    del archive.objects[keys[0]]
    assert found(check(archive)) == [(FindingKind.SEAL_BROKEN, keys[1], second)]
    archive.objects[keys[0]] = b"{}"
    assert found(check(archive)) == [(FindingKind.SEAL_BROKEN, keys[0], None)]


def test_what_happens_to_a_sealed_manifest(archive: MemoryArchive, exporter: Exporter) -> None:
    check(archive, seal=True)
    keys = [exporter.key(day) for day in DAYS]
    names = [manifest_key(key) for key in keys]
    sealed = [stored(archive, key).facts["events"] for key in keys]
    removed(archive, keys[0])
    rewrite(archive, keys[1], filters={})
    replace_events(archive, keys[2], sealed[2] - 2, replaces=stored(archive, keys[2]).sha256)
    rewrite(archive, keys[3], exported_at="2025-02-01T00:00:00Z")
    replace_events(archive, keys[4], sealed[4] - 1)
    archive.objects[names[5]] += b"\n"

    report = check(archive)

    replaced = FindingKind.REPLACED_AFTER_SEALING
    # The loss of sealed events comes first.
    assert found(report) == [
        (replaced, names[2], DAYS[2]),
        (replaced, names[4], DAYS[4]),
        (FindingKind.GAP, None, DAYS[0]),
        (FindingKind.SEALED_MISSING, names[0], DAYS[0]),
        (replaced, names[3], DAYS[3]),
        (FindingKind.BAD_SIGNATURE, names[5], DAYS[5]),
        (replaced, names[5], DAYS[5]),
    ]
    lost = {each.key: each for each in report.findings if each.kind is not FindingKind.BAD_SIGNATURE}
    assert lost[names[2]].events == (sealed[2], sealed[2] - 2)
    assert f"2 of the {sealed[2]} events that were sealed are gone" in lost[names[2]].detail
    assert "it says that it replaced the sealed one" in lost[names[2]].detail
    assert "it does not say that it replaced" in lost[names[4]].detail
    assert "of the very object that was sealed" in lost[names[3]].detail
    assert f"sealed with {sealed[0]} events" in lost[names[0]].detail
    assert lost[names[2]].as_dict()["sealed_events"] == sealed[2]
    # A new seal does not describe again what was sealed.
    other = Window(WEEK.start - DAY, WEEK.end)
    assert check(archive, period=other, ignored=frozenset(FindingKind)).seal is None


def test_a_seal_cannot_make_up_for_what_an_earlier_one_says(archive: MemoryArchive, exporter: Exporter) -> None:
    """A day is emptied, its manifest is written again with a signature that fits, and sealed by an appended seal."""
    check(archive, seal=True)
    key = exporter.key(DAYS[3])
    sealed = stored(archive, key)
    replace_events(archive, key, 0, replaces=sealed.sha256)
    layout = Layout("curation")
    [*_, link] = read_chain(archive, layout, TRUST)
    later = Window(WEEK.end, WEEK.end + DAY)
    emptied = entry(manifest_key(key).removeprefix("curation/"), stored(archive, key))
    seal = write_seal(archive, layout, later, new_seal(layout, later, [emptied], link.seal, NOW), NOW, KEY)

    report = check(archive, reading="all", trust=Trust(RING, known_seals=frozenset({seal.sha256})))

    assert found(report) == [
        (FindingKind.REPLACED_AFTER_SEALING, manifest_key(key), DAYS[3]),
        (FindingKind.SEAL_BROKEN, seal.key, DAYS[3]),
    ]
    assert report.findings[0].events == (sealed.facts["events"], 0)


def test_a_seal_vouches_for_what_it_names_only(archive: MemoryArchive, exporter: Exporter) -> None:
    late = exporter.key(DAYS[6], dry_run=True)
    both = removed(archive, late)
    expected = [(FindingKind.GAP, None, DAYS[6])]
    seal = check(archive, seal=True, ignored=frozenset({FindingKind.GAP})).seal
    assert seal is not None
    sealed = archive.objects[seal]
    archive.objects.update(both)

    report = check(archive, seal=True)
    assert found(report) == [(FindingKind.NOT_SEALED, manifest_key(late), DAYS[6])]
    assert f"the period is sealed already, in {seal}, without this manifest" in report.summary()
    assert (report.seal, report.seal_sha256, report.repairs) == (None, None, [])
    # Nothing is claimed of it without seal, and the chain is as it was.
    assert found(check(archive)) == []
    assert archive.objects[seal] == sealed
    for key in both:
        del archive.objects[key]
    assert found(check(archive, seal=True)) == expected


def test_a_rewrite_is_not_sealed_again(archive: MemoryArchive, exporter: Exporter) -> None:
    seal = check(archive, seal=True).seal
    assert check(archive, seal=True).seal == seal is not None
    for key, replaced in ((exporter.key(DAYS[2]), False), (exporter.key(DAYS[3]), True)):
        before = stored(archive, key).sha256
        rewrite(archive, key, exported_at="2025-02-01T00:00:00Z", replaces=before if replaced else None)
        report = check(archive, seal=True)
        assert report.counts["replaced_after_sealing"] == 1 + replaced
        assert (report.seal, check(archive, seal=True, ignored=frozenset(FindingKind)).seal) == (None, None)


def test_nothing_is_sealed_that_has_a_finding(archive: MemoryArchive, exporter: Exporter) -> None:
    del archive.objects[exporter.key(DAYS[0])]
    assert check(archive, seal=True).seal is None
    assert not any("_seals" in key for key in archive.objects)


# Parts


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9))))
def test_coverage_is_a_set_of_seconds(parts: list[tuple[int, int]]) -> None:
    def window(start: int, end: int) -> Window:
        return Window(START + timedelta(seconds=start), START + timedelta(seconds=end))

    def seconds(windows: list[Window]) -> set[int]:
        starts = [int((each.start - START).total_seconds()) for each in windows]
        widths = [int(each.width.total_seconds()) for each in windows]
        made = [second for start, width in zip(starts, widths, strict=True) for second in range(start, start + width)]
        assert len(made) == len(set(made))
        return set(made)

    coverage, truth = Coverage(), set[int]()
    for start, width in parts:
        added = set(range(start, start + width))
        assert seconds(coverage.add(window(start, start + width))) == added & truth
        truth |= added
    period = window(5, 45)
    gaps = list(coverage.gaps(period))
    assert seconds(gaps) == set(range(5, 45)) - truth
    assert gaps == sorted(gaps)
    assert len(coverage) == sum(second - 1 not in truth for second in truth)


@given(st.sets(st.text("ab./", min_size=1, max_size=4)), st.sets(st.text("ab./", min_size=1, max_size=4)))
def test_objects_find_their_manifests(objects: set[str], manifests: set[str]) -> None:
    layout = Layout("curation")
    listed = [Entry(key, 1) for key in sorted(layout.manifest_key(each) for each in manifests)]
    data = [Entry(key, 1) for key in sorted(layout.object_key(each) for each in objects)]
    made = [(left and left.key, right and right.key) for left, right in pairs(listed, data, layout)]
    expected = [
        (
            layout.manifest_key(each) if each in manifests else None,
            layout.object_key(each) if each in objects else None,
        )
        for each in objects | manifests
    ]
    assert sorted(made, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize(
    "key",
    ["x.jsonl", "20250101T000000Z.jsonl", "20250102T000000Z_20250101T000000Z", "20259901T000000Z_20250101T000000Z"],
)
def test_keys_that_name_no_window(key: str) -> None:
    assert named_window(key) is None


class Listing:
    """Ten years of hourly exports that are not there yet: a listing without end, nearly."""

    def __init__(self, years: int) -> None:
        self.years = years

    def entries(self, prefix: str) -> Iterator[Entry]:
        keys: dict[str, Callable[[str], str]] = {"curation/": str, "curation/_manifests/": manifest_key}
        listed = keys.get(prefix)
        if listed is None:
            return
        for number in range(self.years * 8760):
            years, hour = divmod(number, 24 * 28 * 12)
            day = f"{2010 + years}{hour // 672 + 1:02}{hour // 24 % 28 + 1:02}"
            key = f"curation/{day}T{hour % 24:02}0000Z_{day}T{hour % 24:02}5959Z.jsonl.gz"
            yield Entry(listed(key), 1)

    def read(self, key: str, most: int = 0) -> None:
        """Return nothing for the one key that shows whether the series was there before the period."""
        assert key == manifest_key("curation/20100101T000000Z_20100101T005959Z.jsonl.gz")


@pytest.mark.slow
def test_a_long_listing_does_not_grow_memory() -> None:
    peaks = []
    for years in (1, 10):
        tracemalloc.start()
        report = verify(Listing(years), Check("curation/", WEEK), NOW)  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.counts == {"no_exports": 1}
    assert peaks[1] < peaks[0] + 64 * 1024


class Large(MemoryArchive):
    """Objects of 32 MiB that are read two at a time, or not at all."""

    size = 32 << 20

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.two = threading.Barrier(2, timeout=30)

    def entries(self, prefix: str) -> Iterator[Entry]:
        return (
            each if each.key.endswith(".json") else each._replace(size=self.size) for each in super().entries(prefix)
        )

    @classmethod
    def content(cls) -> Iterator[bytes]:
        lines = cls.size // 4096
        for first in range(0, lines, 256):
            starts = [
                b'{"id":%d,"created_at":"2025-01-01T00:00:00Z","action":"' % each for each in range(first, first + 256)
            ]
            yield b"".join(start.ljust(4093, b"a") + b'"}\n' for start in starts)

    def chunks(self, key: str) -> Iterator[bytes]:
        self.two.wait()
        yield from self.content()


def test_objects_are_read_in_parallel_with_flat_memory(exporter: Exporter) -> None:
    made, digest = MemoryArchive(), hashlib.sha256()
    for chunk in Large.content():
        digest.update(chunk)
    sums: dict[str, Any] = {"size": Large.size, "sha256": digest.hexdigest()}
    for window in Window(START, START + DAY).split(3 * HOUR):
        rewrite(made, exporter.export(made, window), compression="none", content_size=Large.size, **sums)
    tracemalloc.start()
    report = check(Large(made.objects), period=Window(START, START + DAY), reading="all", workers=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.totals.objects_read, report.totals.bytes_read) == (8, 8 * Large.size)
    # The manifests claim other events, and the first object all of its own window's.
    assert report.counts == {"content_differs": 8}
    assert "its events is 8192, the manifest's" in report.findings[0].detail
    assert peak < 8 << 20


def test_two_compressions_of_a_window_are_told_apart(archive: MemoryArchive, exporter: Exporter) -> None:
    again = exporter.export(archive, DAYS[2], key=exporter.key(DAYS[2]).replace(".gz", ".zst"))
    assert found(check(archive)) == [(FindingKind.OVERLAP, manifest_key(again), DAYS[2])]
    body = zstandard.compress(gzip.decompress(archive.objects[again]))
    archive.objects[again] = body
    rewrite(archive, again, compression="zstd", size=len(body), sha256=hashlib.sha256(body).hexdigest())
    assert found(check(archive)) == []


@settings(deadline=None)
@given(st.permutations(range(7)), st.integers(0, 6))
def test_no_order_of_keys_matters(whole: MemoryArchive, exporter: Exporter, order: list[int], missing: int) -> None:
    archive = MemoryArchive()
    for place, number in enumerate(order):
        if number != missing:
            key = exporter.key(DAYS[number])
            for source, target in zip(pair(key), pair(f"curation/{place}.jsonl.gz"), strict=True):
                archive.objects[target] = whole.objects[source]
            sign(archive, f"curation/{place}.jsonl.gz", KEY)
    assert found(check(archive)) == [(FindingKind.GAP, None, DAYS[missing])]
