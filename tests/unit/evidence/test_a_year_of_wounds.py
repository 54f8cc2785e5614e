"""A year of daily and hourly exports with fifty random wounds: every one is found and named, and none is invented."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from airflow_provider_curation.audit.findings import Kind
from airflow_provider_curation.audit.manifest import MANIFEST_SUFFIX
from airflow_provider_curation.audit.verify import Check, verify
from airflow_provider_curation.audit.window import Window
from tests.unit.evidence.support import DAY, HOUR, KEY, START, Exporter, MemoryArchive, TruthClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

YEAR = Window(START, START + 365 * DAY)
WOUNDS = ["object", "byte", "manifest", "truncated", "overlap", "hole"]


@pytest.fixture(scope="module")
def year() -> tuple[dict[str, Exporter], MemoryArchive]:
    """Made once: the seeds wound copies of it."""
    client = TruthClient(15_000, YEAR)
    exporters = {"daily": Exporter(client, "daily"), "hourly": Exporter(client, "hourly")}
    archive = MemoryArchive()
    for name, width in (("daily", DAY), ("hourly", HOUR)):
        for window in YEAR.split(width):
            exporters[name].export(archive, window)
    return exporters, archive


def merged(windows: list[Window]) -> list[Window]:
    whole: list[Window] = []
    for window in sorted(windows):
        if whole and whole[-1].end == window.start:
            whole[-1] = Window(whole[-1].start, window.end)
        else:
            whole.append(window)
    return whole


@pytest.mark.parametrize("silent", [False, True], ids=["etag", "read-all"])
@pytest.mark.parametrize("seed", range(3))
def test_every_wound_is_found_and_named(
    year: tuple[dict[str, Exporter], MemoryArchive], seed: int, silent: bool
) -> None:
    exporters, whole = year
    archive, chance = whole.copy(), random.Random(seed)
    windows = {"daily": list(YEAR.split(DAY)), "hourly": list(YEAR.split(HOUR))}
    chosen = [(name, each) for name in windows for each in chance.sample(windows[name], 25)]
    expected: dict[str, set[tuple[Kind, str | None, Window]]] = {"daily": set(), "hourly": set()}
    holes: dict[str, list[Window]] = {"daily": [], "hourly": []}
    for number, (name, window) in enumerate(chosen):
        key = exporters[name].key(window)
        wound = WOUNDS[number % len(WOUNDS)]
        body = archive.objects[key]
        if wound == "object":
            del archive.objects[key]
            expected[name].add((Kind.OBJECT_MISSING, key, window))
        elif wound == "byte":
            if silent:
                archive.etags[key] = archive.etag(key)
            place = chance.randrange(len(body))
            archive.objects[key] = body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]
            expected[name].add((Kind.SHA256_DIFFERS, key, window))
        elif wound == "manifest":
            del archive.objects[key + MANIFEST_SUFFIX]
            expected[name].add((Kind.MANIFEST_MISSING, key, window))
        elif wound == "truncated":
            archive.objects[key] = body[: chance.randrange(len(body))]
            expected[name].add((Kind.SIZE_DIFFERS, key, window))
        elif wound == "overlap":
            inner = Window(window.start + window.width / 4, window.end - window.width / 4)
            # Keys are in order of time, so the inner window is seen second.
            again = exporters[name].export(archive, inner)
            expected[name].add((Kind.OVERLAP, again + MANIFEST_SUFFIX, inner))
        else:
            del archive.objects[key], archive.objects[key + MANIFEST_SUFFIX]
            holes[name].append(window)
    for name in expected:
        expected[name] |= {(Kind.GAP, None, hole) for hole in merged(holes[name])}

        reading = "all" if silent else "suspects"
        report = verify(archive, Check(f"{name}/", YEAR, keys=[KEY], reading=reading))

        found = Counter((each.kind, each.key, each.window) for each in report.findings)
        assert set(found) == expected[name]
        assert set(found.values()) == {1}
    assert sum(map(len, expected.values())) + sum(len(each) - len(merged(each)) for each in holes.values()) == 50


@pytest.mark.parametrize("name", ["daily", "hourly"])
def test_nothing_is_invented(year: tuple[dict[str, Exporter], MemoryArchive], name: str) -> None:
    exporters, archive = year
    check = Check(f"{name}/", YEAR, keys=[KEY], reading="all", count=exporters[name].client.count, remembered=START)
    report = verify(archive, check)
    assert report.findings == []
    assert report.mends == []
    assert report.manifests == report.recounted == report.objects_read == {"daily": 365, "hourly": 8760}[name]
    assert report.events == 15_000
