"""Parquet files: every event in typed columns, whatever has none in ``other``, and nothing lost."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import UnexpectedAnswerError
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.audit.exporting.parquet_rows import POLICY_TEXT_FIELDS, TEXT_FIELDS, row

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")

SAMPLES = Path(__file__).parents[2] / "simulator" / "samples"
LIVE: list[dict[str, Any]] = json.loads((SAMPLES / "audit_packages_2026.json").read_text())["data"]
FIRST_YEAR: list[dict[str, Any]] = json.loads((SAMPLES / "audit_packages_2023.json").read_text())["data"]


def line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def encoded(events: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(parquet.encode(line(event) + b"\n" for event in events))


def read(file: bytes) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(file)).to_pylist()


def restored(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event as the API gave it, from its row: the inverse of what is tested, by another way."""
    other = json.loads(row["other"] or "{}")
    event = {name: row[name] for name in (*TEXT_FIELDS, "ondemand") if row[name] is not None}
    event |= {"id": row["id"], "created_at": row["created_at"].astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    if row["policies"] is not None:
        event["policies"] = [
            {name: value for name, value in policy.items() if value is not None and name != "other"}
            | json.loads(policy["other"] or "{}")
            for policy in row["policies"]
        ]
    return event | other


def without_nulls(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event without fields that are null, which a column cannot tell from fields that are absent."""
    bare = {name: value for name, value in event.items() if value is not None or name not in KNOWN}
    if isinstance(bare.get("policies"), list) and all(isinstance(each, dict) for each in bare["policies"]):
        bare["policies"] = [
            {name: value for name, value in policy.items() if value is not None or name not in KNOWN_OF_POLICIES}
            for policy in bare["policies"]
        ]
    return bare


KNOWN = {"id", "created_at", "ondemand", "policies", *TEXT_FIELDS}
KNOWN_OF_POLICIES = {"policy_id", "dry_run", *POLICY_TEXT_FIELDS}


@pytest.mark.parametrize("events", [LIVE, FIRST_YEAR], ids=["2026", "2023"])
def test_events_of_real_servers_need_no_other(events: list[dict[str, Any]]) -> None:
    rows = read(encoded(events))
    assert [restored(row) for row in rows] == sorted(map(without_nulls, events), key=lambda event: event["id"])
    assert {row["other"] for row in rows} == {None}
    assert all(policy["other"] is None for row in rows for policy in row["policies"] or ())


@pytest.mark.parametrize("events", [[], LIVE, FIRST_YEAR, [{**LIVE[0], "new": 1, "action": 5, "policies": "none"}]])
def test_the_schema_is_the_same_on_every_day(events: list[dict[str, Any]]) -> None:
    file = encoded(events)
    assert pq.read_schema(io.BytesIO(file)) == parquet.schema()
    assert len(read(file)) == len(events)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, and sometimes anything."""
    return st.one_of(values, values, values, st.none(), ANYTHING)


POLICIES = st.fixed_dictionaries(
    {},
    optional={
        **{name: maybe(TEXT) for name in POLICY_TEXT_FIELDS},
        "policy_id": maybe(st.integers(0, 2**70)),
        "dry_run": maybe(st.booleans()),
        "new_in_policy": ANYTHING,
    },
)
EVENTS = st.fixed_dictionaries(
    {"id": st.integers(0, 2**63 - 1), "created_at": TIMES},
    optional={
        **{name: maybe(TEXT) for name in TEXT_FIELDS},
        "ondemand": maybe(st.booleans()),
        "policies": maybe(st.lists(POLICIES, max_size=3)),
        "new": ANYTHING,
        "other": ANYTHING,
    },
)


@settings(deadline=None, max_examples=80)
@given(st.lists(EVENTS, max_size=4, unique_by=lambda event: event["id"]))
def test_nothing_is_lost_whatever_a_field_holds(events: list[dict[str, Any]]) -> None:
    rows = read(encoded(events))
    assert [restored(row) for row in rows] == sorted(map(without_nulls, events), key=lambda event: event["id"])


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_arrows_own_reader_and_the_careful_one_agree(events: list[dict[str, Any]]) -> None:
    lines = [line(event) for event in events]
    careful = pa.RecordBatch.from_pylist([row(each) for each in lines], schema=parquet.schema())
    assert parquet.batch(lines).equals(careful)


def test_values_of_another_kind_go_to_other_as_the_server_wrote_them() -> None:
    [row] = read(
        b"".join(
            parquet.encode(
                [
                    b'{"id":7,"created_at":"2026-03-09T14:51:59.9999999Z","action":5.10,"new":{"a":1.00},'
                    b'"policies":[{"policy_id":"p-1","label":[1, 2]}]}\n'
                ]
            )
        )
    )
    assert row["action"] is None
    assert row["other"] == '{"created_at":"2026-03-09T14:51:59.9999999Z","action":5.10,"new":{"a":1.00}}'
    assert row["policies"][0]["policy_id"] is None
    assert row["policies"][0]["other"] == '{"policy_id":"p-1","label":[1, 2]}'
    assert row["created_at"] == datetime(2026, 3, 9, 14, 51, 59, 999999, tzinfo=timezone.utc)


def test_pandas_is_not_imported() -> None:
    # Pyarrow imports it to look at Python's objects, which costs a worker 75 MB and seconds.
    pytest.importorskip("pandas")
    code = (
        "import sys\n"
        "from airflow_provider_curation.audit.exporting import parquet\n"
        "made = b''.join(parquet.encode(sys.stdin.buffer.readlines()))\n"
        "assert made[:4] == b'PAR1'\n"
        "print('pandas' in sys.modules)\n"
    )
    odd = {**LIVE[0], "id": 1, "action": 5, "new": 1, "created_at": "2026-03-09T14:51:59.5Z", "policies": [{"new": 1}]}
    lines = b"".join(line(event) + b"\n" for event in [*LIVE, {**LIVE[0], "new": 1}, odd])
    done = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, timeout=60, check=False)
    assert (done.stdout.decode().strip(), done.stderr.decode()) == ("False", "")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"id": 2**63, "created_at": "2026-03-09T14:51:03Z"}, "9223372036854775808"),
        ({"created_at": "2026-03-09T14:51:03Z"}, "none"),
        ({"id": 7, "created_at": "yesterday"}, "id 7"),
        ({"id": 7, "created_at": "2026-03-09T14:51:03"}, "id 7"),
        ({"id": 7, "created_at": "0001-01-01T00:00:00+14:00"}, "id 7"),
        ({"id": 7}, "id 7"),
    ],
)
def test_an_event_without_an_id_or_a_time_is_an_error_that_names_it(event: dict[str, Any], said: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match=said):
        encoded([*LIVE, event])


def test_row_groups_are_bounded_sorted_and_skippable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_EVENTS", 100)
    monkeypatch.setattr(parquet, "_BATCH_EVENTS", 50)
    # Slices in order of time whose ids are not.
    numbers = [*range(200, 330), *range(0, 120)]
    file = encoded([{**LIVE[number % len(LIVE)], "id": number} for number in numbers])
    metadata = pq.ParquetFile(io.BytesIO(file)).metadata
    assert metadata.num_rows == 250
    assert metadata.num_row_groups == 3
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        assert [column.column_index for column in group.sorting_columns] == [0]
        ids = pq.ParquetFile(io.BytesIO(file)).read_row_group(number, columns=["id"]).column("id").to_pylist()
        assert ids == sorted(ids)
        column = group.column(0)
        assert (column.statistics.min, column.statistics.max) == (ids[0], ids[-1])
        assert column.compression == "ZSTD"
    assert sorted(row["id"] for row in read(file)) == sorted(numbers)


def test_a_filter_on_time_or_action_skips_row_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_EVENTS", 100)
    monkeypatch.setattr(parquet, "_BATCH_EVENTS", 50)
    file = tmp_path / "day.parquet"
    file.write_bytes(
        encoded(
            [
                {
                    **LIVE[number % len(LIVE)],
                    "id": number,
                    "created_at": f"2026-03-09T{number // 60:02}:{number % 60:02}:00Z",
                    "action": "blocked" if number < 100 else "approved",
                }
                for number in range(300)
            ]
        )
    )
    [fragment] = ds.dataset(file).get_fragments()
    four = datetime(2026, 3, 9, 4, tzinfo=timezone.utc)
    for condition in (ds.field("created_at") >= four, ds.field("action") == "blocked", ds.field("id") == 50):
        assert len(fragment.split_by_row_group(condition)) == 1
    assert len(fragment.split_by_row_group()) == 3
    group = pq.ParquetFile(file).metadata.row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        assert column.has_column_index, column.path_in_schema
        assert column.has_offset_index, column.path_in_schema
        assert column.is_stats_set, column.path_in_schema
        if column.physical_type == "BYTE_ARRAY":
            assert column.has_dictionary_page, column.path_in_schema


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 400), max_size=30))
def test_the_same_lines_give_the_same_bytes_however_they_arrive(cuts: list[int]) -> None:
    content = b"".join(line(event) + b"\n" for event in LIVE)
    chunks, rest = [], content
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    assert b"".join(parquet.encode([*chunks, rest])) == encoded(LIVE)
