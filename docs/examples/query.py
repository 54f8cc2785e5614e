"""Queries of an archive; the page about querying shows them, and tests run them on a copy in a folder."""

from __future__ import annotations

from typing import Any


def duckdb_parquet(root: str) -> list[tuple[Any, ...]]:
    # [START duckdb_parquet]
    import duckdb

    events = duckdb.read_parquet(f"{root}/instance=*/stream=events/format=parquet/*/*.parquet", hive_partitioning=True)
    blocked = duckdb.sql(
        "select package_type, count(*) from events where action = 'blocked' group by 1 order by 2 desc, 1"
    )
    # [END duckdb_parquet]
    return blocked.fetchall()


def duckdb_jsonl(root: str) -> list[tuple[Any, ...]]:
    # [START duckdb_jsonl]
    import duckdb

    columns = {"id": "BIGINT", "created_at": "TIMESTAMP", "action": "VARCHAR", "package_type": "VARCHAR"}
    events = duckdb.read_json(
        f"{root}/instance=*/stream=events/format=jsonl/*/*.jsonl.gz", format="newline_delimited", columns=columns
    )
    blocked = duckdb.sql(
        "select package_type, count(*) from events where action = 'blocked' group by 1 order by 2 desc, 1"
    )
    # [END duckdb_jsonl]
    return blocked.fetchall()


def polars_counts(root: str) -> dict[str, int]:
    # [START polars]
    import polars as pl

    events = pl.scan_parquet(f"{root}/instance=*/stream=events/format=parquet/*/*.parquet", hive_partitioning=True)
    counts = events.group_by("action").len().collect()
    # [END polars]
    return dict(counts.iter_rows())


def pandas_counts(root: str, server: str) -> dict[str, int]:
    # [START pandas]
    import pandas as pd

    events = pd.read_parquet(f"{root}/instance={server}/stream=events/format=parquet", columns=["action"])
    counts = events["action"].value_counts()
    # [END pandas]
    return {str(action): int(count) for action, count in counts.items()}


def pyarrow_counts(root: str, server: str) -> dict[str, int]:
    # [START pyarrow]
    import pyarrow.dataset as ds

    folder = f"{root}/instance={server}/stream=events/format=parquet"
    events = ds.dataset(folder, partitioning="hive").to_table(columns=["action"], filter=ds.field("dt") >= "2025-11-01")
    counts = events.group_by("action").aggregate([("action", "count")])
    # [END pyarrow]
    return dict(zip(counts["action"].to_pylist(), counts["action_count"].to_pylist(), strict=True))


def spark_counts(root: str, server: str) -> dict[str, int]:
    # [START spark]
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[1]").getOrCreate()
    events = spark.read.parquet(f"{root}/instance={server}/stream=events/format=parquet")
    counts = events.groupBy("action").count()
    # [END spark]
    return {row["action"]: row["count"] for row in counts.collect()}


def airflow_task(root: str, server: str) -> Any:
    # [START airflow]
    from airflow.providers.common.sql.config import DataSourceConfig
    from airflow.providers.common.sql.operators.analytics import AnalyticsOperator

    blocked = AnalyticsOperator(
        task_id="blocked",
        datasource_configs=[
            DataSourceConfig(
                conn_id="aws_default",
                table_name="events",
                uri=f"{root}/instance={server}/stream=events/format=parquet/",
                format="parquet",
                options={"table_partition_cols": [("dt", "string")]},
            )
        ],
        queries=[
            "select package_type, count(*) as n from events where action = 'blocked' group by 1 order by 2 desc, 1"
        ],
        result_output_format="json",
    )
    # [END airflow]
    return blocked


def compact(root: str, month: str, target: str) -> None:
    # [START compact]
    import duckdb

    files = f"{root}/instance=*/stream=events/format=parquet/dt={month}-*/*.parquet"
    events = duckdb.read_parquet(files).order("created_at, id")
    events.write_parquet(target, compression="zstd")
    # [END compact]
