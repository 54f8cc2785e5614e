"""Time stamps, from an authority that is made of ``openssl ts`` and answers over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError, TimestampError
from airflow_provider_curation.audit.evidence.manifest import manifest_subjects
from airflow_provider_curation.audit.evidence.signature import sign
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.evidence.timestamp import (
    MOST_STAMP_BYTES,
    StampAuthorities,
    StampError,
    request_stamp,
)
from airflow_provider_curation.evidence import verify_archive
from tests.support.keys import ED25519
from tests.support.manifests import manifest
from tests.support.timestamps import TimeStampAuthority, serving

pytestmark = pytest.mark.integration

STAMPED = b"a seal's signature"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimeStampAuthority]:
    authority = TimeStampAuthority(tmp_path_factory.mktemp("tsa"))
    with serving(authority):
        yield authority


@pytest.fixture
def authority(made: TimeStampAuthority) -> TimeStampAuthority:
    made.answer, made.status = None, 200
    made.requests.clear()
    return made


@pytest.fixture(scope="module")
def stamp(made: TimeStampAuthority) -> bytes:
    return request_stamp(made.url, STAMPED)


def trusted(authority: TimeStampAuthority) -> StampAuthorities:
    return StampAuthorities.of_pem(authority.certificate.read_bytes(), "file 'ca.pem'")


def test_a_stamp_proves_when_the_bytes_existed(authority: TimeStampAuthority) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    stamp = request_stamp(authority.url, STAMPED)
    assert before <= trusted(authority).stamped_at(stamp, STAMPED) <= datetime.now(timezone.utc)
    # The authority learns a hash, and nothing of what it stamps.
    assert STAMPED not in authority.requests[0]


def test_openssl_verifies_the_stamp_as_well(authority: TimeStampAuthority, stamp: bytes, tmp_path: Path) -> None:
    (tmp_path / "stamped").write_bytes(STAMPED)
    (tmp_path / "stamped.tsr").write_bytes(stamp)
    command = [
        "openssl",
        "ts",
        "-verify",
        "-in",
        "stamped.tsr",
        "-data",
        "stamped",
        "-CAfile",
        str(authority.certificate),
    ]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False, text=True)
    assert (said.returncode, "Verification: OK" in said.stdout + said.stderr) == (0, True), said.stderr


def test_a_stamp_is_worth_nothing_for_other_bytes_or_from_others(
    authority: TimeStampAuthority, stamp: bytes, tmp_path: Path
) -> None:
    with pytest.raises(StampError, match="does not verify"):
        trusted(authority).stamped_at(stamp, STAMPED + b".")
    with pytest.raises(StampError, match="verif"):
        trusted(TimeStampAuthority(tmp_path / "other")).stamped_at(stamp, STAMPED)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0), st.integers(1, 255))
def test_no_byte_of_a_stamp_can_change(authority: TimeStampAuthority, stamp: bytes, place: int, change: int) -> None:
    altered = bytearray(stamp)
    altered[place % len(stamp)] ^= change
    right = trusted(authority).stamped_at(stamp, STAMPED)
    try:
        found = trusted(authority).stamped_at(bytes(altered), STAMPED)
    except StampError:
        return
    # Nothing is signed of the status and of how the certificates are packed; the time is.
    assert found == right


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_whatever_is_in_a_stamp_the_error_is_a_named_one(authority: TimeStampAuthority, noise: bytes) -> None:
    with pytest.raises(StampError):
        trusted(authority).stamped_at(noise, STAMPED)


def test_answers_that_are_not_a_stamp_are_refused(authority: TimeStampAuthority, stamp: bytes) -> None:
    authority.answer = b"<html>"
    with pytest.raises(TimestampError, match="not an answer of a time-stamp authority") as caught:
        request_stamp(authority.url, STAMPED)
    assert caught.value.retry_task
    authority.answer = stamp
    with pytest.raises(TimestampError, match="a stamp on something else"):
        request_stamp(authority.url, STAMPED)
    authority.answer = b"x" * (MOST_STAMP_BYTES + 1)
    with pytest.raises(TimestampError, match="more than 1,048,576 bytes"):
        request_stamp(authority.url, STAMPED)
    authority.answer, authority.status = None, 302
    with pytest.raises(TimestampError, match="status 302"):
        request_stamp(authority.url, STAMPED)


def test_an_authority_that_refuses_is_named(authority: TimeStampAuthority) -> None:
    # OpenSSL's answer to what is not a request.
    authority.answer = authority.stamp(b"no request")
    with pytest.raises(TimestampError, match=r"refused it \(status 2\)"):
        request_stamp(authority.url, STAMPED)


def test_an_authority_that_is_not_there_is_named() -> None:
    with pytest.raises(TimestampError, match=r"127.0.0.1:9.*did not answer \(ConnectionError\)"):
        request_stamp("http://127.0.0.1:9/", STAMPED)
    for url in ("", "file:///etc/passwd", "tsa.example"):
        with pytest.raises(InvalidArgumentError, match="is not an http"):
            request_stamp(url, STAMPED)


def test_certificates_are_read_from_pem() -> None:
    with pytest.raises(InvalidArgumentError, match="file 'x' is not certificates in PEM"):
        StampAuthorities.of_pem(b"no certificate", "file 'x'")


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(InvalidArgumentError, match=r"airflow-provider-curation\[timestamp\]"):
        request_stamp("http://127.0.0.1:9/", STAMPED)


def test_a_seal_is_stamped_and_the_stamp_is_checked(authority: TimeStampAuthority, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    manifests = archive / "_manifests"
    manifests.mkdir(parents=True)
    content = gzip.compress(b"", mtime=0)
    empty = {"events": 0, "events_read": 0, "rows": 0, "actions": {}, "first_id": None, "last_id": None}
    empty |= {"first_created_at": None, "last_created_at": None, "total_before": 0, "total_after": 0}
    empty |= {"compression": "gzip", "ids_digest": "0:0:0:0", "size": len(content), "content_size": 0}
    hashes = {"sha256": hashlib.sha256(content).hexdigest(), "content_sha256": hashlib.sha256(b"").hexdigest()}
    (archive / "day.jsonl.gz").write_bytes(content)
    body = manifest(key="day.jsonl.gz", **empty, **hashes).to_json()
    (manifests / "day.jsonl.gz.json").write_bytes(body)
    subjects = manifest_subjects("day.jsonl.gz", hashes["sha256"], hashlib.sha256(body).hexdigest())
    signature = sign(Purpose.MANIFEST, subjects, ED25519, datetime(2025, 1, 3, tzinfo=timezone.utc))
    (manifests / "day.jsonl.gz.json.dsse").write_bytes(signature)

    day = ("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")
    sealed = verify_archive(archive, *day, signer=ED25519, seal=True, timestamp_url=authority.url)
    assert sealed.seal, sealed.summary()
    stamp = archive / f"{sealed.seal}.dsse.tsr"
    trusted: dict[str, Any] = {"signer": ED25519, "timestamp_authorities": authority.certificate}
    assert verify_archive(archive, *day, **trusted).counts == {}
    stamp.write_bytes(stamp.read_bytes()[:-1])
    report = verify_archive(archive, *day, **trusted)
    assert report.counts == {"seal_broken": 1}
    assert "a time stamp that proves nothing" in report.summary()
    with pytest.raises(InvalidArgumentError, match="timestamp_authorities="):
        verify_archive(archive, *day, timestamp_authorities=tmp_path / "nothing.pem")
