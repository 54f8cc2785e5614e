"""CSV archives have the header of the sample, hold the truth, and follow every switch."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.simulator.events_csv import COLUMNS, POLICY_COLUMNS
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.tenants import END, START, Tenant, records

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., Tenant]


def expected_records(events: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The records of events, made from their objects in the plainest way."""
    rows = []
    for event in events:
        for policy in event["policies"] or [{}]:
            row = {column: event.get(key, "") for column, key in COLUMNS.items()} | {"ondemand": "false"}
            row |= {column: policy.get(column, "") for column in POLICY_COLUMNS}
            rows.append(
                {key: str(value).lower() if value in (True, False) else str(value) for key, value in row.items()}
            )
    return rows


def sample_text(samples: Path) -> str:
    with zipfile.ZipFile(samples / "audit_packages_2026.zip") as archive:
        return archive.read("audit_packages.csv").decode()


def test_the_header_is_the_sample_s(tenant: Make, samples: Path) -> None:
    header = sample_text(samples).splitlines()[0]
    name, content = tenant().archive()
    assert name == "audit_packages.csv"
    assert content.decode().split("\n", 1)[0] == header


def test_records_of_the_sample_s_events_are_the_sample(tenant: Make, samples: Path) -> None:
    events = json.loads((samples / "audit_packages_2026.json").read_text())["data"]
    asked = tenant(events=0)
    for event in events:
        created_at = datetime.fromisoformat(event.pop("created_at").replace("Z", "+00:00"))
        asked.simulator.insert(created_at, **event)
    content = asked.simulator.truth_csv(START, END).decode()
    assert content == sample_text(samples)


@pytest.mark.parametrize("shape", CHOICES["shape"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_records_are_the_truth(tenant: Make, shape: str, dry_run: bool) -> None:
    asked = tenant(shape=shape)
    truth = asked.truth(dry_run)
    assert asked.records(dry_run=str(dry_run).lower()) == expected_records(truth)
    assert asked.archive(dry_run=str(dry_run).lower())[1] == asked.simulator.truth_csv(START, END, dry_run)


@given(
    bom=st.booleans(),
    line_end=st.sampled_from(CHOICES["csv_line_end"]),
    quoting=st.sampled_from(CHOICES["csv_quoting"]),
    final=st.booleans(),
    position=st.integers(0, 26),
    extra=st.booleans(),
    descending=st.booleans(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_dialect_says_the_same(
    tenant: Make,
    bom: bool,
    line_end: str,
    quoting: str,
    final: bool,
    position: int,
    extra: bool,
    descending: bool,
) -> None:
    asked = tenant(
        events=300,
        csv_bom=bom,
        csv_line_end=line_end,
        csv_quoting=quoting,
        csv_final_line_end=final,
        csv_id_column=position,
        csv_extra_column=extra,
    )
    content = asked.archive(direction="desc" if descending else "asc")[1]
    assert content.startswith(b"\xef\xbb\xbf") == bom
    assert content.endswith(b"\n") == final
    assert content.endswith(b"\r\n") == (final and line_end == "crlf")
    rows = records(content)
    columns = list(rows[0])
    assert columns.index("id") - (extra and position > 4) == position
    assert len(columns) == 27 + extra
    assert ("severity" in columns) == extra
    text = content.decode("utf-8-sig")
    assert (text.count('"') > len(rows) * 2 * 27) == (quoting == "all")
    plain = [{key: value for key, value in row.items() if key != "severity"} for row in rows]
    truth = expected_records(asked.truth())
    if descending:
        by_event: dict[str, list[dict[str, str]]] = {}
        for row in truth:
            by_event.setdefault(row["id"], []).append(row)
        truth = [row for event in reversed(by_event.values()) for row in event]
    assert plain == truth


@pytest.mark.parametrize("line_end", CHOICES["csv_line_end"])
def test_a_carriage_return_is_quoted_in_every_dialect(tenant: Make, line_end: str) -> None:
    asked = tenant(events=0, csv_line_end=line_end)
    asked.simulator.insert(START, package_name="a\rb")
    [row] = asked.records()
    assert row["package_name"] == "a\rb"


def test_the_offset_counts_events(tenant: Make) -> None:
    asked = tenant()
    ids = list(dict.fromkeys(row["id"] for row in asked.records()))
    part = asked.records(offset=100, num_of_rows=50)
    assert list(dict.fromkeys(row["id"] for row in part)) == ids[100:150]
    assert len(part) > 50


def test_a_cap_gives_fewer_events_in_silence_or_a_refusal(tenant: Make) -> None:
    capped = tenant(csv_rows=200).records(num_of_rows=500_000)
    assert len({row["id"] for row in capped}) == 200
    status, message = tenant(csv_rows=200, csv_over="refuse").error(format="csv", num_of_rows=201)
    assert status == 400
    assert "200" in message
    assert len(tenant(csv_rows=200, csv_over="refuse").records(num_of_rows=200)) >= 200


def test_rows_can_count_records(tenant: Make) -> None:
    all_rows = tenant().records()
    double = next(at for at, row in enumerate(all_rows) if row["id"] == all_rows[at + 1]["id"])
    whole = tenant(csv_count="rows")
    cut = tenant(csv_count="rows-cut")
    assert whole.records(num_of_rows=double + 1) == all_rows[:double]
    assert cut.records(num_of_rows=double + 1) == all_rows[: double + 1]
    (first,) = {row["id"] for row in whole.records(num_of_rows=1, offset=double)}
    assert [row for row in all_rows if row["id"] == first] == whole.records(num_of_rows=1, offset=double)


def test_too_many_events_make_the_member_incomplete(tenant: Make) -> None:
    name, content = tenant(csv_incomplete_over=699).archive()
    assert name == "audit_packages_incomplete.csv"
    assert len({row["id"] for row in records(content)}) == 699
    assert tenant(csv_incomplete_over=700).archive()[0] == "audit_packages.csv"


def test_no_events_are_a_header(tenant: Make) -> None:
    assert tenant(events=0).archive()[1].count(b"\n") == 1
    assert tenant(events=0, csv_final_line_end=False).archive()[1].count(b"\n") == 0


def test_total_cannot_be_had(tenant: Make) -> None:
    status, message = tenant().error(format="csv", include_total="true")
    assert status == 400
    assert "include_total" in message


def test_zip_times(tenant: Make) -> None:
    fixed = tenant().ask(format="csv").body
    assert tenant().ask(format="csv").body == fixed
    current = zipfile.ZipFile(io.BytesIO(tenant(csv_zip_time="current").ask(format="csv").body)).infolist()[0]
    assert current.date_time[0] > 2020


def test_a_long_archive_is_made_in_parts_without_a_seam(tenant: Make) -> None:
    asked = tenant(events=12_000)
    reader = csv.DictReader(io.StringIO(asked.archive()[1].decode(), newline=""))
    ids = list(dict.fromkeys(int(row["id"]) for row in reader))
    assert ids == [event["id"] for event in asked.truth()]
