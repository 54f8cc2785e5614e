"""Several damages at once, drawn by seed: all are named, and none is invented.

``CURATION_DAMAGE_SEEDS=1000`` runs as many seeds; a failing one is in the test's name.
"""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from datetime import timedelta

import pytest

from airflow_provider_curation.audit.evidence.chain import Trust
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from tests.support.archives import (
    DAY,
    KEY,
    RING,
    START,
    TRUST,
    Exporter,
    MemoryArchive,
    TruthClient,
    manifest_key,
    replace_events,
    rewrite,
    stored,
)

SEEDS = int(os.environ.get("CURATION_DAMAGE_SEEDS", "40"))
#: Forty days, sealed five days at a time.
PERIOD = Window(START, START + 40 * DAY)
DAYS = list(PERIOD.split(DAY))
SEALED = list(PERIOD.split(5 * DAY))
NOW = PERIOD.end + timedelta(hours=1)
#: When no sealing can be under way any more.
LATER = NOW + timedelta(hours=1)
Found = tuple[FindingKind, str | None, Window | None]


@pytest.fixture(scope="module")
def sealed() -> tuple[MemoryArchive, Exporter, list[str], str]:
    """An archive, its seals in order of time, and the last one's SHA-256."""
    archive, exporter = MemoryArchive(), Exporter(TruthClient(800, PERIOD))
    for day in DAYS:
        exporter.export(archive, day)
    reports = [
        verify(archive, Check("curation/", period, trust=TRUST, signer=KEY, seal=True), NOW) for period in SEALED
    ]
    assert [each.counts for each in reports] == [{}] * len(SEALED)
    return archive, exporter, [str(each.seal) for each in reports], str(reports[-1].seal_sha256)


def damage(archive: MemoryArchive, key: str, day: Window, kind: str, chance: random.Random) -> set[Found]:
    """Damage one day, and return what must be found."""
    name, body = manifest_key(key), archive.objects[key]
    missing: Found = (FindingKind.OBJECT_MISSING, key, day)
    replaced: Found = (FindingKind.REPLACED_AFTER_SEALING, name, day)
    if kind == "object gone":
        del archive.objects[key]
        return {missing}
    if kind == "manifest gone":
        del archive.objects[name]
        return {(FindingKind.MANIFEST_MISSING, key, day)}
    if kind == "both gone":
        del archive.objects[key], archive.objects[name]
        return {(FindingKind.SEALED_MISSING, name, day), (FindingKind.GAP, None, day)}
    if kind == "cut":
        archive.objects[key] = body[: chance.randrange(len(body))]
        return {(FindingKind.SIZE_DIFFERS, key, day)}
    if kind == "bit":
        place = chance.randrange(len(body))
        archive.objects[key] = body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]
        return {(FindingKind.SHA256_DIFFERS, key, day)}
    if kind == "bit behind an edited etag":
        content = bytearray(body)
        content[-9] ^= 1
        archive.objects[key] = bytes(content)
        rewrite(archive, key, etag=archive.etag(key))
        return {(FindingKind.SHA256_DIFFERS, key, day), replaced}
    if kind == "fewer events":
        events = stored(archive, key).facts["events"]
        replace_events(archive, key, events - 1, replaces=stored(archive, key).sha256)
        return {replaced}
    if kind == "claims":
        rewrite(archive, key, actions={"blocked": 10_000})
        return {replaced, (FindingKind.CONTENT_DIFFERS, key, day)}
    if kind == "unsigned":
        del archive.objects[name + SIGNATURE_SUFFIX]
        return {(FindingKind.BAD_SIGNATURE, name, day)}
    assert kind == "no manifest"
    junk = [b"", b"{", b"\x00" * 10, b"[1]", b'{"events": 7, ' + archive.objects[name][1:], gzip.compress(b"{}")]
    archive.objects[name] = chance.choice(junk)
    return {(FindingKind.MANIFEST_UNREADABLE, name, day)}


KINDS = [
    "object gone",
    "manifest gone",
    "both gone",
    "cut",
    "bit",
    "bit behind an edited etag",
    "fewer events",
    "claims",
    "unsigned",
    "no manifest",
]


def joined(found: set[Found]) -> set[Found]:
    """Gaps that touch are one."""
    gaps = sorted(window for kind, _, window in found if kind is FindingKind.GAP and window)
    whole: list[Window] = []
    for gap in gaps:
        if whole and whole[-1].end == gap.start:
            whole[-1] = Window(whole[-1].start, gap.end)
        else:
            whole.append(gap)
    return {each for each in found if each[0] is not FindingKind.GAP} | {(FindingKind.GAP, None, gap) for gap in whole}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_damages_are_named_and_none_is_invented(
    seed: int, sealed: tuple[MemoryArchive, Exporter, list[str], str]
) -> None:
    whole, exporter, seals, last = sealed
    archive, chance = whole.copy(), random.Random(seed)
    number = chance.randint(2, 20)
    # Neighbouring seals that are gone are one hole in the chain; of the last ones only the noted SHA-256 tells.
    first = chance.randrange(len(seals))
    gone = range(first, min(len(seals), first + chance.choice([0, 1, 1, 2, 3])))
    for place in gone:
        del archive.objects[seals[place]]
    # Their signatures are still there.
    expected: set[Found] = {(FindingKind.SEAL_BROKEN, seals[place], SEALED[place]) for place in gone}
    if gone and gone.stop < len(seals):
        expected.add((FindingKind.SEAL_BROKEN, seals[gone.stop], SEALED[gone.stop]))
    if gone and gone.stop == len(seals):
        expected.add((FindingKind.SEAL_BROKEN, None, None))
    if gone and len(gone) == len(seals):
        expected.add((FindingKind.NO_SEALS, None, None))
    for day in chance.sample(DAYS, number - len(gone[:1])):
        found = damage(archive, exporter.key(day), day, chance.choice(KINDS), chance)
        if any(day.start in SEALED[place] for place in gone):
            # Nothing tells any more what was sealed; of what is gone altogether, its signature tells.
            if any(each[0] is FindingKind.SEALED_MISSING for each in found):
                found = {(FindingKind.MANIFEST_MISSING, exporter.key(day), day)}
            found = {each for each in found if each[0] is not FindingKind.REPLACED_AFTER_SEALING}
        expected |= found

    report = verify(archive, Check("curation/", PERIOD, trust=Trust(RING, known_seals=frozenset({last}))), LATER)

    counted = Counter((each.kind, each.key, each.window) for each in report.findings)
    assert set(counted) == joined(expected)
    assert set(counted.values()) <= {1}
