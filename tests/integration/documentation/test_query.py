"""The page on querying: each of its commands, on an archive that the simulator filled, against what it really had."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
import sqlglot

from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.copied_archive import CopiedArchive
from tests.support.exports import START

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("documentation")]


def counted(events: list[dict[str, Any]], field: str) -> dict[str, int]:
    return dict(Counter(event[field] for event in events))


def test_duckdb_reads_both_formats_alike(query_examples: ModuleType, archive: CopiedArchive) -> None:
    blocked = counted([event for event in archive.events if event["action"] == "blocked"], "package_type")
    expected = sorted(blocked.items(), key=lambda each: (-each[1], each[0]))
    assert query_examples.duckdb_parquet(archive.root) == expected == query_examples.duckdb_jsonl(archive.root)


def test_whole_folders_are_read_without_manifests(query_examples: ModuleType, archive: CopiedArchive) -> None:
    expected = counted(archive.events, "action")
    assert query_examples.polars_counts(archive.root) == expected
    assert query_examples.pandas_counts(archive.root, archive.server) == expected
    assert query_examples.pyarrow_counts(archive.root, archive.server) == expected


def test_an_airflow_task_reads_the_folder(query_examples: ModuleType, archive: CopiedArchive) -> None:
    pytest.importorskip("airflow.providers.common.sql.operators.analytics", reason="common.sql is older than 2")
    pytest.importorskip("datafusion")
    [result] = json.loads(query_examples.airflow_task(f"file://{archive.root}", archive.server).execute({}))
    blocked = counted([event for event in archive.events if event["action"] == "blocked"], "package_type")
    expected = sorted(blocked.items(), key=lambda each: (-each[1], each[0]))
    assert [(row["package_type"], row["n"]) for row in result["data"]] == expected


@pytest.mark.parametrize("page", ["README.md", "docs/reference/simulator.md"])
def test_the_answer_that_a_page_shows(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLES.parents[1] / page).read_text()
    [(query, answer)] = re.findall(r"```sql\n(SELECT package_type.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    start, end = (datetime(2026, 3, day, tzinfo=timezone.utc) for day in (1, 31))
    server = Simulator(SimulatorSettings(events=10_000, start=start, end=end))
    file = tmp_path / "curation/instance=acme.jfrog.io/stream=events/format=parquet/dt=2026-03-01/month.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(parquet.encode(line + b"\n" for line in server.truth_lines(start, end))))
    monkeypatch.chdir(tmp_path)
    shown = [(name, int(count)) for name, count in map(str.split, answer.splitlines())]
    assert duckdb.sql(query).fetchall() == shown
    blocked = counted([event for event in server.truth(start, end) if event["action"] == "blocked"], "package_type")
    assert Counter(blocked).most_common(3) == shown


def test_a_month_becomes_one_file(query_examples: ModuleType, archive: CopiedArchive, tmp_path: Path) -> None:
    target = str(tmp_path / "month.parquet")
    query_examples.compact(archive.root, f"{START:%Y-%m}", target)
    ids = [number for (number,) in duckdb.sql(f"select id from '{target}' order by id").fetchall()]
    assert ids == sorted(event["id"] for event in archive.events)


def questions() -> tuple[str, list[tuple[str, str]]]:
    """The views of the page's SQL, and its questions with their statements."""
    views, *asked = re.split(r"^-- (\d+\. .*)$", (EXAMPLES / "questions.sql").read_text(), flags=re.MULTILINE)
    return views, list(zip(asked[::2], asked[1::2], strict=True))


@pytest.fixture(scope="module")
def database(archive: CopiedArchive) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute(questions()[0].replace("ROOT", archive.root))
    yield connection
    connection.close()


def answer(database: duckdb.DuckDBPyConnection, number: int) -> list[tuple[Any, ...]]:
    return database.execute(questions()[1][number - 1][1]).fetchall()


def test_there_are_ten_questions() -> None:
    assert [question.split(".")[0] for question, _ in questions()[1]] == [str(number) for number in range(1, 11)]


def test_questions_of_counts(database: duckdb.DuckDBPyConnection, archive: CopiedArchive) -> None:
    blocked = [event for event in archive.events if event["action"] == "blocked"]
    assert sum(row[2] for row in answer(database, 1)) == len(blocked) > 0
    versions = Counter((event["package_type"], event["package_name"], event["package_version"]) for event in blocked)
    top = answer(database, 7)
    assert [row[3] for row in top] == sorted(versions.values(), reverse=True)[:20]
    assert all(versions[row[:3]] == row[3] for row in top)
    assert {row[0]: row[1] for row in answer(database, 6)} == counted(
        [event for event in archive.events if event["action"] == "passed"], "curated_repository_name"
    )


def by_policy(events: list[dict[str, Any]], action: str | None = None) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each event with each of its policies."""
    return [(e, policy) for e in events if action in (None, e["action"]) for policy in e["policies"] or ()]


def test_questions_of_policies(database: duckdb.DuckDBPyConnection, archive: CopiedArchive) -> None:
    would = {(policy["policy_name"], event["id"]) for event, policy in by_policy(archive.dry_run)}
    assert {row[0]: row[1] for row in answer(database, 3)} == dict(Counter(name for name, _ in would))
    bypassed = [(event["id"], policy["policy_name"]) for event, policy in by_policy(archive.events, "approved")]
    assert sorted((row[0], row[4]) for row in answer(database, 5)) == sorted(bypassed)
    pairs = {(policy["policy_name"], event["id"]) for event, policy in by_policy(archive.events, "blocked")}
    assert sum(row[1] + row[2] for row in answer(database, 8)) == len(pairs) > 0


def test_questions_of_people_and_packages(database: duckdb.DuckDBPyConnection, archive: CopiedArchive) -> None:
    user = min(event["username"] for event in archive.events if event["username"])
    assert len(answer(database, 9)) == sum(event["username"] == user for event in archive.events)
    malicious = {
        (event["package_type"], event["package_name"], event["package_version"])
        for event, policy in by_policy(archive.events, "blocked")
        if "malicious" in (policy["condition_name"] or "").lower()
    }
    assert {row[:3] for row in answer(database, 2)} == malicious
    assert all(row[5] > timedelta(0) for row in answer(database, 4))


def test_coverage_comes_from_manifests_alone(database: duckdb.DuckDBPyConnection, archive: CopiedArchive) -> None:
    rows = answer(database, 10)
    assert len(rows) == 8
    assert all(row[5] for row in rows)
    for stream, events in (("events", archive.events), ("dry_run", archive.dry_run)):
        assert {sum(row[4] for row in rows if row[1:3] == (stream, each)) for each in ("jsonl", "parquet")} == {
            len(events)
        }


def test_the_table_for_athena_has_the_files_columns() -> None:
    [statement] = sqlglot.parse((EXAMPLES / "athena.sql").read_text(), read="athena")
    assert statement is not None
    columns = [column.name for column in statement.this.expressions if column.find(sqlglot.exp.ColumnDef) is column]
    assert [name for name in columns if name != "dt"] == parquet.schema().names
