"""Which objects are read, and which of them the store's own SHA-256 vouches for instead."""

from __future__ import annotations

import base64
import hashlib

import pytest

from airflow_provider_curation.audit.evidence.check import Check, Reading
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
    rewrite,
)

PERIOD = Window(START, START + DAY)


@pytest.fixture
def archive() -> MemoryArchive:
    """One export in two parts, sealed."""
    made = MemoryArchive()
    key = Exporter(TruthClient(20, PERIOD)).export(made, PERIOD)
    rewrite(made, key, checksum={"algorithm": "SHA256", "type": "COMPOSITE", "value": composite(made.objects[key])})
    sealed = check(made, seal=True)
    assert sealed.seal, sealed.summary()
    made.reads.clear()
    return made


def check(archive: MemoryArchive, reading: Reading = "suspects", seal: bool = False) -> Report:
    chosen = Check("curation/", PERIOD, trust=TRUST, reading=reading, signer=KEY if seal else None, seal=seal)
    return verify(archive, chosen, PERIOD.end + HOUR)


def the_object(archive: MemoryArchive) -> str:
    [key] = [key for key in archive.objects if "/_" not in key]
    return key


def base64_of(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def composite(body: bytes, first: int = 100) -> str:
    parts = [part for part in (body[:first], body[first:]) if part]
    return f"{base64_of(b''.join(hashlib.sha256(part).digest() for part in parts))}-{len(parts)}"


def copied(archive: MemoryArchive, **checksum: str) -> str:
    """Give the object another ETag, as a copy has, and the checksum that the store computed of it."""
    key = the_object(archive)
    archive.etags[key] = "another"
    archive.checksums[key] = {"algorithm": "SHA256", "type": "COMPOSITE", **checksum}
    return key


def test_a_sealed_object_with_another_etag_is_read(archive: MemoryArchive) -> None:
    archive.etags[the_object(archive)] = "another"
    report = check(archive)
    assert (report.counts, report.totals.objects_read, report.totals.checksums_compared) == ({}, 1, 0)


@pytest.mark.parametrize("parts", ["as uploaded", "one", "whole"])
def test_the_stores_sha256_vouches_for_it(archive: MemoryArchive, parts: str) -> None:
    body = archive.objects[the_object(archive)]
    value = {"as uploaded": composite(body), "one": composite(body, len(body)), "whole": base64_of(body)}[parts]
    copied(archive, value=value)
    report = check(archive)
    assert (report.counts, report.totals.objects_read, report.totals.checksums_compared) == ({}, 0, 1)
    assert archive.reads == []
    assert "1 compared by the store's own SHA-256" in report.summary()
    assert report.as_dict()["checksums_compared"] == 1


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME"])
def test_a_crc_vouches_for_nothing(archive: MemoryArchive, algorithm: str) -> None:
    copied(archive, algorithm=algorithm, value="AAAAAA==")
    assert check(archive).totals.objects_read == 1


def test_another_sha256_is_no_accusation_but_a_reason_to_read(archive: MemoryArchive) -> None:
    """A copy in other parts has another one."""
    key = the_object(archive)
    copied(archive, value=composite(archive.objects[key], 50))
    assert check(archive).counts == {}
    assert archive.reads == [key]
    archive.objects[key] = archive.objects[key][:-1] + b"?"
    copied(archive, value=composite(archive.objects[key]))
    assert check(archive).counts == {"sha256_differs": 1}


def test_checksums_compares_objects_whose_etag_fits(archive: MemoryArchive) -> None:
    """Other bytes with the same MD5 have the same ETag, but not the same SHA-256."""
    key = the_object(archive)
    etag, value = archive.etag(key), composite(archive.objects[key])
    copied(archive, value=value)
    archive.etags[key] = etag
    assert check(archive).totals.checksums_compared == 0
    report = check(archive, "checksums")
    assert (report.counts, report.totals.checksums_compared, report.totals.objects_read) == ({}, 1, 0)
    archive.objects[key] = archive.objects[key][:-1] + b"?"
    archive.checksums[key] = {**archive.checksums[key], "value": composite(archive.objects[key])}
    assert check(archive).counts == {}
    assert check(archive, "checksums").counts == {"sha256_differs": 1}


def test_nothing_vouches_for_an_object_whose_manifest_is_not_the_sealed_one(archive: MemoryArchive) -> None:
    key = the_object(archive)
    copied(archive, value=composite(archive.objects[key]))
    rewrite(archive, key, rows=0)
    assert set(check(archive).counts) == {"replaced_after_sealing", "content_differs"}
    assert archive.reads == [key]
