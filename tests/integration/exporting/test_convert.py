"""Parquet derived from archived JSONL: proven against its manifest, resumable, and never at the source's expense."""

from __future__ import annotations

import gzip
import io
import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_curation import convert
from airflow_provider_curation.audit.errors import ConversionError
from airflow_provider_curation.audit.evidence import unpacking
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.convert import conversions, convert_archive, convert_export, main
from airflow_provider_curation.evidence import verify_archive
from airflow_provider_curation.s3.location import DEFAULT_KEY
from tests.support.dags import load
from tests.support.exports import ACCESS_KEY, AWS, END, SECRET_KEY, START, Bucket, export, simulated

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")]

DAY = timedelta(days=1)
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "convert_dag.py"
#: Where exports and what is derived from them lie.
ARCHIVE = {"s3_prefix": "curation", "s3_key": DEFAULT_KEY}


@pytest.fixture
def archive(bucket: Bucket) -> str:
    """Two days of JSONL, in two compressions, and the server gone."""
    with simulated():
        export(bucket, start=START, end=START + DAY, compression="gzip", **ARCHIVE)
        export(bucket, start=START + DAY, end=END, compression="zstd", **ARCHIVE)
    return f"s3://{bucket.name}/curation"


def converted(archive: str) -> list[Any]:
    return list(convert_archive(archive, aws_conn_id=AWS))


def test_it_says_what_its_source_says(bucket: Bucket, archive: str) -> None:
    before = {key: bucket.body(key) for key in bucket.objects()}
    done = converted(archive)

    assert [each.written for each in done] == [True, True]
    assert {key: bucket.body(key) for key in before} == before
    for each in done:
        source, derived = (
            json.loads(bucket.body(f"curation/_manifests/{key}.json")) for key in (each.source, each.key)
        )
        assert "/format=parquet/" in each.key
        assert derived["content_sha256"] == source["content_sha256"]
        assert derived["derived_from"]["key"] == source["key"]
        assert derived["derived_from"]["sha256"] == source["sha256"]
        assert source["derived_from"] is None
        content = bucket.content(source["key"])
        rows = pq.read_table(io.BytesIO(bucket.body(derived["key"]))).to_pylist()
        assert [row["id"] for row in rows] == [json.loads(line)["id"] for line in content.splitlines()]
    report = verify_archive(archive, START, END, read="all", aws_conn_id=AWS)
    assert report.findings == []


def test_it_goes_on_where_it_left_off(bucket: Bucket, archive: str) -> None:
    first, second = conversions(archive, aws_conn_id=AWS)
    assert convert_export(**first, aws_conn_id=AWS)["written"]
    assert conversions(archive, aws_conn_id=AWS) == [second]
    assert not convert_export(**first, aws_conn_id=AWS)["written"]
    assert [each.source for each in converted(archive)] == [second["key"]]
    assert converted(archive) == []


def test_a_dag_maps_a_task_over_what_is_missing(bucket: Bucket, archive: str) -> None:
    [dag] = load(EXAMPLE, ("s3://audit-archive/curation", archive))
    find, derive = dag.get_task("conversions"), dag.get_task("convert_export")
    assert derive.upstream_task_ids == {"conversions"}
    found = find.python_callable(*find.op_args, **find.op_kwargs)
    assert len(found) == 2
    # As Airflow calls each of the mapped tasks.
    arguments = derive.partial_kwargs["op_kwargs"]
    assert all(convert_export(**arguments, **each)["written"] for each in found)
    assert len([key for key in bucket.objects() if key.endswith(".parquet")]) == 2


def test_only_the_days_that_are_asked_for(archive: str) -> None:
    [found] = conversions(archive, START, START + DAY, aws_conn_id=AWS)
    assert f"dt={START:%Y-%m-%d}" in found["key"]


@pytest.mark.parametrize("damage", ["cut", "other_line", "longer", "not_an_event"])
def test_a_damaged_source_gives_nothing(
    bucket: Bucket, archive: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The line is looked at before the end of the file, where its hash is known.
    monkeypatch.setattr(parquet, "_BATCH_EVENTS", 2)
    monkeypatch.setattr(unpacking, "_BLOCK_BYTES", 4_096)
    monkeypatch.setattr(convert, "_BLOCK_BYTES", 4_096)
    [found, _] = conversions(archive, aws_conn_id=AWS)
    key = f"curation/{found['key']}"
    lines = gzip.decompress(bucket.body(key)).splitlines(keepends=True)
    altered = {
        "cut": lines[:-1],
        "other_line": [*lines[:-1], lines[-1].replace(b'"blocked"', b'"passed"').replace(b'"npm"', b'"nmp"')],
        "longer": [*lines, lines[-1]],
        "not_an_event": [*lines[:3], b"[1]".ljust(len(lines[3]) - 1) + b"\n", *lines[4:]],
    }[damage]
    if altered == lines:
        altered = [*lines[:-1], lines[-1].replace(b":", b": ", 1)]
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=gzip.compress(b"".join(altered)))
    before = bucket.objects()

    with pytest.raises(ConversionError, match=r"line 4" if damage == "not_an_event" else r"not what its manifest"):
        convert_export(**found, aws_conn_id=AWS)
    assert bucket.objects() == before
    assert bucket.uploads() == []


def test_a_row_that_does_not_fit_stops_its_file_and_is_named(bucket: Bucket, archive: str) -> None:
    [found, _] = conversions(archive, aws_conn_id=AWS)
    key, manifest_key = f"curation/{found['key']}", f"curation/_manifests/{found['key']}.json"
    lines = gzip.decompress(bucket.body(key)).splitlines(keepends=True)
    # JSON lines keep whatever the server says; the manifest proves just that.
    lines[6] = b'{"id":9223372036854775808' + lines[6][lines[6].index(b",") :]
    content = b"".join(lines)
    body = gzip.compress(content)
    hashes = {"sha256": sha256(body).hexdigest(), "content_sha256": sha256(content).hexdigest()}
    manifest = {**json.loads(bucket.body(manifest_key)), **hashes, "size": len(body), "content_size": len(content)}
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
    bucket.client.put_object(Bucket=bucket.name, Key=manifest_key, Body=json.dumps(manifest).encode())
    before = bucket.objects()

    with pytest.raises(ConversionError, match=r"line 7: an event whose id does not fit") as raised:
        convert_export(**found, aws_conn_id=AWS)
    assert f"s3://{bucket.name}/{key}" in str(raised.value)
    assert bucket.objects() == before
    assert bucket.uploads() == []


def test_the_command_converts_an_archive_in_s3(
    bucket: Bucket, archive: str, s3_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # It has no connection: boto3 finds the address and the credentials.
    for name, value in (("ENDPOINT_URL", s3_url), ("ACCESS_KEY_ID", ACCESS_KEY), ("SECRET_ACCESS_KEY", SECRET_KEY)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert main([archive, "--to", "parquet"]) == 0, capsys.readouterr().err
    assert len([key for key in bucket.objects() if key.endswith(".parquet")]) == 2


def test_a_copy_is_converted_by_the_command(
    bucket: Bucket, archive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in bucket.objects():
        path = tmp_path / key.removeprefix("curation/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.body(key))
    assert main([str(tmp_path), "--to", "parquet"]) == 0
    assert "2 exports" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert verify_archive(tmp_path, START, END, read="all").findings == []
    assert main([str(tmp_path), "--to", "parquet"]) == 0
    assert "0 exports" in capsys.readouterr().out


def test_the_command_names_what_it_could_not_convert(
    bucket: Bucket, archive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in bucket.objects():
        path = tmp_path / key.removeprefix("curation/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.body(key)[:-9] if key.endswith(".jsonl.gz") else bucket.body(key))
    assert main([str(tmp_path), "--to", "parquet"]) == 1
    printed = capsys.readouterr()
    assert ".jsonl.gz is not what its manifest states" in printed.err
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert main([str(tmp_path / "nowhere"), "--to", "parquet"]) == 2
