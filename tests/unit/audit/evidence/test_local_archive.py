"""A folder as an archive: listed as S3 lists, and verified as S3 is."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.local_archive import LocalArchive
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.evidence import verify_archive
from tests.support.archives import DAY, KEY, RING, START, Exporter, MemoryArchive, TruthClient, rewrite
from tests.support.manifests import manifest

WEEK = Window(START, START + 7 * DAY)

names = st.text("ab.-0=", min_size=1, max_size=3).filter(lambda name: name.strip("."))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(names, min_size=1, max_size=3), max_size=12), st.sampled_from(["", "a", "a/", "b/a", "."]))
def test_the_order_is_that_of_s3(paths: list[list[str]], prefix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive, keys = LocalArchive(folder), set()
        for parts in paths:
            key = "/".join(parts)
            if any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in keys):
                continue
            assert archive.put_new(key, key.encode()) == (key not in keys)
            keys.add(key)
        expected = [(key, len(key.encode())) for key in sorted(keys) if key.startswith(prefix)]
        assert [(each.key, each.size) for each in archive.entries(prefix)] == expected
        for key in keys:
            assert archive.read(key) == b"".join(archive.chunks(key)) == key.encode()
        assert archive.read("nothing/there") is None


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"nothing.* is not a folder"):
        verify_archive(tmp_path / "nothing", START, START + DAY)
    with pytest.raises(InvalidArgumentError, match="no seal to take a period from"):
        verify_archive(tmp_path)
    with pytest.raises(InvalidArgumentError, match="need an s3:// location"):
        verify_archive(tmp_path, START, START + DAY, seal=True, object_lock_legal_hold=True)
    with pytest.raises(InvalidArgumentError, match="has no bucket"):
        verify_archive("s3:///curation", START, START + DAY)


def test_a_copy_is_sealed_and_verified(tmp_path: Path) -> None:
    archive, exporter = MemoryArchive(), Exporter(TruthClient(50, WEEK), "")
    for day in WEEK.split(DAY):
        exporter.export(archive, day)
    for key, body in archive.objects.items():
        path = tmp_path / key.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    sealed = verify_archive(str(tmp_path), WEEK.start, WEEK.end, key_ring=RING, signer=KEY, seal=True)
    assert (sealed.counts, sealed.totals.objects_read, sealed.seal is not None) == ({}, 7, True)
    assert sealed.seal_sha256 is not None
    known = [sealed.seal_sha256.upper()]
    again = verify_archive(tmp_path, key_ring=RING, known_seals=known)
    assert (again.counts, again.period) == ({}, WEEK)

    [damaged, *_] = sorted(tmp_path.rglob("*.jsonl.gz"))
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    (tmp_path / str(sealed.seal)).unlink()
    report = verify_archive(tmp_path, WEEK.start, WEEK.end, key_ring=RING, known_seals=known)
    assert report.counts == {"no_seals": 1, "seal_broken": 1, "sha256_differs": 1}


@pytest.mark.parametrize("etag", [None, "of-s3"])
def test_every_object_of_a_folder_is_read(etag: str | None, tmp_path: Path) -> None:
    archive, exporter = MemoryArchive(), Exporter(TruthClient(50, WEEK), "")
    day = Window(START, START + DAY)
    key = exporter.export(archive, day, key="day.jsonl.gz")
    rewrite(archive, key, etag=etag)
    for name, body in archive.objects.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    sound = verify_archive(tmp_path, day.start, day.end, key_ring=RING)
    assert (sound.counts, sound.totals.objects_read) == ({"no_seals": 1}, 1)

    (tmp_path / key).write_bytes(bytes(len(archive.objects[key])))
    assert verify_archive(tmp_path, day.start, day.end, key_ring=RING).counts == {"no_seals": 1, "sha256_differs": 1}


def test_what_is_added_to_a_sealed_folder_is_not_called_sealed(tmp_path: Path) -> None:
    def put(name: str) -> None:
        content = b"id,created_at,action\n" if "csv" in name else b""
        body = gzip.compress(content, mtime=0)
        (tmp_path / name).write_bytes(body)
        facts: dict[str, Any] = {
            **{"events": 0, "events_read": 0, "rows": 0, "actions": {}, "first_id": None, "last_id": None},
            **{"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "compression": "gzip"},
            **{"content_size": len(content), "content_sha256": hashlib.sha256(content).hexdigest()},
        }
        (tmp_path / "_manifests").mkdir(exist_ok=True)
        made = manifest(key=name, format=name.split(".")[1], ids_digest="0:0:0:0", **facts)
        (tmp_path / "_manifests" / f"{name}.json").write_bytes(made.to_json())

    put("day.jsonl.gz")
    digest = verify_archive(tmp_path, START, START + DAY, seal=True).seal
    assert verify_archive(tmp_path, START, START + DAY, seal=True).seal == digest is not None
    put("day.csv.gz")
    report = verify_archive(tmp_path, START, START + DAY, seal=True)
    assert ([each.key for each in report.findings], report.counts) == (
        ["_manifests/day.csv.gz.json"],
        {"not_sealed": 1},
    )
    assert report.seal is None
    # Who accepts that is not told that it was sealed, either.
    report = verify_archive(tmp_path, START, START + DAY, seal=True, ignore=["not_sealed"])
    assert (report.counts, report.seal) == ({}, None)


def test_the_command_needs_no_airflow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['airflow'] = sys.modules['boto3'] = sys.modules['botocore'] = None\n"
        "from airflow_provider_curation.evidence.__main__ import main\n"
        f"sys.exit(main([{str(tmp_path)!r}, '--start', '2025-01-01T00:00:00Z', '--end', '2025-01-02T00:00:00Z']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "no_exports" in done.stdout) == (1, True), done.stderr
