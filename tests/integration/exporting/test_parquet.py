"""Parquet exports: the events of the JSONL export of the same window, typed, reconciled and verified like it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from airflow_provider_curation.audit.errors import ShrinkError
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.evidence import verify_archive
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.simulator import Simulator
from tests.support.exports import (
    AWS,
    END,
    FOREVER,
    START,
    Bucket,
    csv_rows,
    export,
    manifest_key,
    simulated,
    truth_jsonl,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with simulated(slice_rows=150) as simulator:
        yield simulator


def table(bucket: Bucket, key: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(bucket.body(key))).to_pylist()


@pytest.mark.parametrize("dry_run", [False, True], ids=["events", "dry_run"])
def test_it_says_what_the_jsonl_export_says(bucket: Bucket, server: Simulator, dry_run: bool) -> None:
    parquet_result = export(bucket, file_format="parquet", dry_run=dry_run)
    jsonl_result = export(bucket, file_format="jsonl", dry_run=dry_run)

    assert parquet_result["key"] == "export.parquet"
    manifest, of_jsonl = (bucket.manifest(result["key"]) for result in (parquet_result, jsonl_result))
    assert manifest["content_sha256"] == of_jsonl["content_sha256"]
    assert (manifest["format"], manifest["compression"]) == ("parquet", "zstd")
    assert manifest["writer"] == parquet.writer_name()
    assert of_jsonl["writer"] is None
    rows = table(bucket, "export.parquet")
    events = [json.loads(line) for line in truth_jsonl(server, dry_run=dry_run).splitlines()]
    assert len(rows) == manifest["events"] == len(events) > 50
    assert sorted(row["id"] for row in rows) == sorted(event["id"] for event in events)
    by_key = {(event["id"], json.dumps(event["policies"])): event for event in events}
    assert len(by_key) == len(events)
    blocked = [row for row in rows if row["action"] == "blocked"]
    assert len(blocked) == sum(event["action"] == "blocked" for event in events)


def test_a_rerun_gives_the_same_bytes_and_uploads_nothing(bucket: Bucket, server: Simulator) -> None:
    first = export(bucket, file_format="parquet")
    again = export(bucket, file_format="parquet")
    assert (first["uploaded"], again["uploaded"]) == (True, False)
    assert first["sha256"] == again["sha256"]


def test_filters_and_pseudonyms_apply(bucket: Bucket, server: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"conn_type": "generic", "password": "1f3a9c5e7b2d4860f1e3d5c7b9a8061724354657687980a1b2c3d4e5f60718a9"}
    monkeypatch.setenv("AIRFLOW_CONN_PSEUDONYMS", json.dumps(key))
    result = export(
        bucket,
        file_format="parquet",
        actions=["blocked"],
        pseudonymize=("username", "user_mail"),
        pseudonym_conn_id="pseudonyms",
    )
    rows = table(bucket, result["key"])
    events = [json.loads(line) for line in truth_jsonl(server).splitlines()]
    assert len(rows) == sum(event["action"] == "blocked" for event in events) == result["events"]
    people = {event["username"] for event in events} | {event["user_mail"] for event in events}
    assert not ({row["username"] for row in rows} | {row["user_mail"] for row in rows}) & (people - {""})


def test_it_is_verified_like_any_other_export(bucket: Bucket, server: Simulator) -> None:
    result = export(bucket, file_format="parquet", s3_prefix="curation", s3_key=DEFAULT_KEY)
    location = f"s3://{bucket.name}/curation"

    def kinds() -> set[str]:
        report = verify_archive(location, START, END, read="all", aws_conn_id=AWS)
        return {finding.kind.value for finding in report.findings}

    assert kinds() == set()
    # Another file that is as long and has the events of another day.
    body = bytearray(bucket.body(result["key"]))
    body[len(body) // 2] ^= 1
    bucket.client.put_object(Bucket=bucket.name, Key=result["key"], Body=bytes(body))
    assert "sha256_differs" in kinds()


def test_a_missing_day_is_repaired_in_its_format(bucket: Bucket, server: Simulator) -> None:
    exported = export(bucket, file_format="parquet", s3_prefix="curation", s3_key=DEFAULT_KEY)
    bytes_before = bucket.body(exported["key"])
    for key in (exported["key"], exported["manifest_key"]):
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    location = f"s3://{bucket.name}/curation"
    report = verify_archive(
        location,
        START,
        END,
        expected=[("events", "parquet")],
        curation_conn_id="curation_default",
        retention=FOREVER,
        aws_conn_id=AWS,
    )
    [repair] = report.as_dict()["repair"]
    assert repair["file_format"] == "parquet"
    export(bucket, **repair, s3_prefix="curation", s3_key=DEFAULT_KEY)
    assert bucket.body(exported["key"]) == bytes_before


def test_never_worse_holds(bucket: Bucket, server: Simulator) -> None:
    export(bucket, file_format="parquet")
    with pytest.raises(ShrinkError):
        export(bucket, file_format="parquet", actions=["blocked"])


def test_no_events_make_a_file_with_every_column(bucket: Bucket) -> None:
    with simulated(events=0):
        result = export(bucket, file_format="parquet")
    assert result["events"] == 0
    assert pq.read_schema(io.BytesIO(bucket.body(result["key"]))) == parquet.schema()


def test_the_hook_writes_a_file(server: Simulator, tmp_path: Path) -> None:
    held = CurationAuditHook().to_parquet(START, END, tmp_path / "audit.parquet")
    events = [json.loads(line) for line in truth_jsonl(server).splitlines()]
    query = f"select count(*), count(distinct id), count(*) filter (action = 'blocked') from '{tmp_path}/audit.parquet'"
    [counted] = duckdb.sql(query).fetchall()
    blocked = sum(event["action"] == "blocked" for event in events)
    assert counted == (len(events), len(events), blocked)
    assert (held["events"], held["actions"]["blocked"]) == (len(events), blocked)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.parquet"]


def test_csv_can_be_gzipped_for_engines(bucket: Bucket, server: Simulator) -> None:
    plain, zipped = (export(bucket, file_format="csv", compression=each) for each in ("gzip", "zip"))
    assert (plain["key"], zipped["key"]) == ("export.csv.gz", "export.csv.zip")
    assert bucket.content(plain["key"]) == bucket.content(zipped["key"])
    assert len(csv_rows(bucket.content(plain["key"]))) == plain["rows"]
    assert manifest_key(plain["key"]) in bucket.objects()
