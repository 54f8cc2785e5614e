"""A year of daily and hourly exports with fifty random wounds: every one is found and named, and none is invented."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.check import Check, Reading
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.evidence import verify_archive
from tests.support.archives import DAY, HOUR, RING, START, TRUST, Exporter, MemoryArchive, TruthClient, manifest_key

# One worker: the year is made once.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("year")]

YEAR = Window(START, START + 365 * DAY)
BUCKET = "audit-archive-of-a-year"
#: The year is signed, and nobody has sealed it.
UNSEALED = frozenset({FindingKind.NO_SEALS})
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


Wound = tuple[FindingKind, str | None, Window]


def wound(
    archive: MemoryArchive, exporters: dict[str, Exporter], chance: random.Random, silent: bool = False
) -> dict[str, set[Wound]]:
    """Wound an archive in fifty places, and return what must be found in the daily and in the hourly exports.

    :param silent: a changed byte leaves the ETag as it was.
    """
    windows = {"daily": list(YEAR.split(DAY)), "hourly": list(YEAR.split(HOUR))}
    chosen = [(name, each) for name in windows for each in chance.sample(windows[name], 25)]
    expected: dict[str, set[Wound]] = {"daily": set(), "hourly": set()}
    holes: dict[str, list[Window]] = {"daily": [], "hourly": []}
    for number, (name, window) in enumerate(chosen):
        key = exporters[name].key(window)
        kind = WOUNDS[number % len(WOUNDS)]
        body = archive.objects[key]
        if kind == "object":
            del archive.objects[key]
            expected[name].add((FindingKind.OBJECT_MISSING, key, window))
        elif kind == "byte":
            if silent:
                archive.etags[key] = archive.etag(key)
            place = chance.randrange(len(body))
            archive.objects[key] = body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]
            expected[name].add((FindingKind.SHA256_DIFFERS, key, window))
        elif kind == "manifest":
            del archive.objects[manifest_key(key)]
            expected[name].add((FindingKind.MANIFEST_MISSING, key, window))
        elif kind == "truncated":
            archive.objects[key] = body[: chance.randrange(len(body))]
            expected[name].add((FindingKind.SIZE_DIFFERS, key, window))
        elif kind == "overlap":
            inner = Window(window.start + window.width / 4, window.end - window.width / 4)
            # Keys are in order of time, so the inner window is seen second.
            again = exporters[name].export(archive, inner)
            expected[name].add((FindingKind.OVERLAP, manifest_key(again), inner))
        else:
            # With its signature: what is left of an export is not a gap.
            for each in (key, manifest_key(key), manifest_key(key) + SIGNATURE_SUFFIX):
                del archive.objects[each]
            holes[name].append(window)
    assert sum(map(len, expected.values())) + sum(map(len, holes.values())) == 50
    return {
        name: found | {(FindingKind.GAP, None, hole) for hole in merged(holes[name])}
        for name, found in expected.items()
    }


def assert_found(report: Report, expected: set[Wound]) -> None:
    found = Counter((each.kind, each.key, each.window) for each in report.findings)
    assert set(found) == expected
    assert set(found.values()) == {1}


@pytest.mark.parametrize("silent", [False, True], ids=["etag", "read-all"])
@pytest.mark.parametrize("seed", range(3))
def test_every_wound_is_found_and_named(
    year: tuple[dict[str, Exporter], MemoryArchive], seed: int, silent: bool
) -> None:
    exporters, whole = year
    archive = whole.copy()
    expected = wound(archive, exporters, random.Random(seed), silent)
    for name in expected:
        reading: Reading = "all" if silent else "suspects"
        assert_found(
            verify(archive, Check(f"{name}/", YEAR, trust=TRUST, reading=reading, ignored=UNSEALED)), expected[name]
        )


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 API with a bucket; boto's own credentials lead there."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "made-up-key",
        "AWS_SECRET_ACCESS_KEY": "made-up-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    server.stop()


def test_every_wound_is_found_in_s3(year: tuple[dict[str, Exporter], MemoryArchive], s3: Any) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    exporters, whole = year
    # The daily exports alone: reading the hourly ones from moto takes minutes, and shows nothing else.
    for key, body in whole.objects.items():
        # Past HTTP, which would take minutes.
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, body)
    archive = whole.copy()
    expected = wound(archive, exporters, random.Random("s3"))
    for key in whole.objects.keys() - archive.objects.keys():
        s3.delete_object(Bucket=BUCKET, Key=key)
    for key, body in archive.objects.items():
        if body != whole.objects.get(key):
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    report = verify_archive(f"s3://{BUCKET}/daily/", YEAR.start, YEAR.end, key_ring=RING, ignore=["no_seals"])
    assert_found(report, expected["daily"])
    # No seal vouches for any object, so that all that are there in their size are read.
    unread = {FindingKind.OBJECT_MISSING, FindingKind.SIZE_DIFFERS}
    lost = sum(kind in unread for kind, _, _ in expected["daily"])
    assert report.totals.objects_read == report.totals.manifests - lost


@pytest.mark.parametrize("name", ["daily", "hourly"])
def test_nothing_is_invented(year: tuple[dict[str, Exporter], MemoryArchive], name: str) -> None:
    exporters, archive = year
    check = Check(
        f"{name}/",
        YEAR,
        trust=TRUST,
        reading="all",
        count=exporters[name].client.count,
        remembered=START,
        ignored=UNSEALED,
    )
    report = verify(archive, check)
    assert report.findings == []
    assert report.repairs == []
    assert (
        report.totals.manifests
        == report.totals.recounted
        == report.totals.objects_read
        == {"daily": 365, "hourly": 8760}[name]
    )
    assert report.totals.events() == {"events": 15_000}
