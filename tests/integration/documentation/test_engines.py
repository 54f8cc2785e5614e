"""Every engine reads the same events, each of them once, whether it is given a folder or a glob."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import duckdb
import pytest

from tests.support.copied_archive import CopiedArchive

Rows = Iterable[Mapping[str, Any]]

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("documentation")]

FIELDS = ("id", "created_at", "action", "package_type", "package_name", "package_version", "username", "policies")


def checksum(rows: Rows) -> tuple[int, str]:
    """The number of rows, and a hash of what they say in whatever order."""
    lines = sorted(_line(row) for row in rows)
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _line(row: Mapping[str, Any]) -> str:
    moment = row["created_at"]
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    policies = [] if row["policies"] is None else [policy["policy_name"] for policy in row["policies"]]
    return json.dumps([row["id"], int(moment), *(row[name] for name in FIELDS[2:-1]), policies])


def _duckdb(relation: duckdb.DuckDBPyRelation) -> Rows:
    chosen = relation.select(*FIELDS)
    return [dict(zip(chosen.columns, row, strict=True)) for row in chosen.fetchall()]


def duckdb_parquet(path: str) -> Rows:
    return _duckdb(duckdb.read_parquet(path, hive_partitioning=True))


def duckdb_jsonl(path: str) -> Rows:
    columns = dict.fromkeys(FIELDS, "VARCHAR") | {"id": "BIGINT", "policies": "STRUCT(policy_name VARCHAR)[]"}
    return _duckdb(duckdb.read_json(path, format="newline_delimited", columns=columns))


def polars_parquet(path: str) -> Rows:
    import polars

    return polars.scan_parquet(path, hive_partitioning=True).select(FIELDS).collect().to_dicts()


def polars_jsonl(path: str) -> Rows:
    import polars

    return polars.scan_ndjson(path, infer_schema_length=None).select(FIELDS).collect().to_dicts()


def pandas_parquet(path: str) -> Rows:
    import pandas

    return pandas.read_parquet(path, columns=list(FIELDS)).to_dict("records")


def pyarrow_parquet(path: str) -> Rows:
    import pyarrow.dataset as ds

    return ds.dataset(path, partitioning="hive").to_table(columns=list(FIELDS)).to_pylist()


def pyarrow_jsonl(path: str) -> Rows:
    import pyarrow.dataset as ds

    return ds.dataset(path, format="json", partitioning="hive").to_table(columns=list(FIELDS)).to_pylist()


@pytest.mark.parametrize("stream", ["events", "dry_run"])
@pytest.mark.parametrize(
    ("read", "path"),
    [
        (duckdb_parquet, "format=parquet/*/*.parquet"),
        (duckdb_parquet, "format=parquet/**"),
        (duckdb_jsonl, "format=jsonl/*/*.jsonl.gz"),
        (duckdb_jsonl, "format=jsonl/**"),
        (polars_parquet, "format=parquet/*/*.parquet"),
        (polars_parquet, "format=parquet"),
        (polars_jsonl, "format=jsonl/*/*.jsonl.gz"),
        (pandas_parquet, "format=parquet"),
        (pyarrow_parquet, "format=parquet"),
        (pyarrow_jsonl, "format=jsonl"),
    ],
)
def test_an_engine_reads_what_the_server_had(
    archive: CopiedArchive, read: Callable[[str], Rows], path: str, stream: str
) -> None:
    truth = archive.events if stream == "events" else archive.dry_run
    assert checksum(read(f"{archive.root}/instance={archive.server}/stream={stream}/{path}")) == checksum(truth)


def test_a_changed_value_changes_the_checksum(archive: CopiedArchive) -> None:
    [first, *others] = archive.events
    assert checksum([{**first, "username": "nobody"}, *others]) != checksum(archive.events)
    assert checksum(others) != checksum(archive.events)


# Spark, which is left out where pyspark (the group `spark`) or Java is missing


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: make test-spark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer: install openjdk-17-jre-headless")
    session = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stream", ["events", "dry_run"])
@pytest.mark.parametrize(
    "path", ["format=parquet", "format=parquet/*/*.parquet", "format=jsonl", "format=jsonl/*/*.gz"]
)
def test_spark_reads_what_the_server_had(archive: CopiedArchive, spark: Any, path: str, stream: str) -> None:
    read = spark.read.json if "jsonl" in path else spark.read.parquet
    events = read(f"{archive.root}/instance={archive.server}/stream={stream}/{path}").select(*FIELDS)
    # As a number: Spark gives a time in the zone of the machine.
    rows = events.withColumn("created_at", events["created_at"].cast("timestamp").cast("long")).collect()
    truth = archive.events if stream == "events" else archive.dry_run
    assert checksum(row.asDict(recursive=True) for row in rows) == checksum(truth)


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_on_spark(archive: CopiedArchive, spark: Any, query_examples: Any) -> None:
    counts: dict[str, int] = {}
    for event in archive.events:
        counts[event["action"]] = counts.get(event["action"], 0) + 1
    assert query_examples.spark_counts(archive.root, archive.server) == counts
