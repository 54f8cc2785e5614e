"""Answers that look healthy and are not: what each fault changes, and that it changes nothing else."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_curation.simulator import FALSE_ANSWERS, Fault
from airflow_provider_curation.simulator.false_answers import false_csv, false_json
from tests.support.tenants import Tenant

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., Tenant]
EVENTS = 30


def page(tenant: Make, fault: Fault | None, **settings: Any) -> dict[str, Any]:
    asked = tenant(events=EVENTS, **settings)
    if fault is not None:
        asked.simulator.fail_next(fault)
    return asked.page(include_total="true")


def rows(archive: bytes) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        assert file.namelist() == ["audit_packages.csv"]
        assert file.testzip() is None
        return list(csv.reader(io.StringIO(file.read("audit_packages.csv").decode(), newline="")))


def archive_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("audit_packages.csv", text)
    return buffer.getvalue()


def test_an_empty_page_keeps_the_total(tenant: Make) -> None:
    answer = page(tenant, Fault.EMPTY_PAGE)
    assert answer["data"] is None
    assert answer["meta"]["total_count"] == EVENTS
    assert answer["meta"]["result_count"] == 0


def test_an_empty_page_has_no_total_where_the_server_gives_none(tenant: Make) -> None:
    assert "total_count" not in page(tenant, Fault.EMPTY_PAGE, total_count=False)["meta"]


@pytest.mark.parametrize(("fault", "total"), [(Fault.ZERO_TOTAL, 0), (Fault.WRONG_TOTAL, EVENTS + 1)])
def test_a_wrong_total_stands_beside_the_rows(tenant: Make, fault: Fault, total: int) -> None:
    answer = page(tenant, fault)
    assert answer["meta"].pop("total_count") == total
    healthy = page(tenant, None)
    del healthy["meta"]["total_count"]
    assert answer == healthy


@pytest.mark.parametrize(("fault", "rows"), [(Fault.DOUBLED_ROW, EVENTS + 1), (Fault.LOST_ROW, EVENTS - 1)])
def test_a_row_is_there_twice_or_not_at_all(tenant: Make, fault: Fault, rows: int) -> None:
    answer, healthy = page(tenant, fault), page(tenant, None)
    assert answer["meta"] == healthy["meta"]
    assert len(answer["data"]) == rows
    changed = [row for row in answer["data"] if answer["data"].count(row) > 1]
    assert len(changed) == (2 if fault is Fault.DOUBLED_ROW else 0)
    assert all(row in healthy["data"] for row in answer["data"])


def test_a_byte_that_is_not_utf_8_stands_in_a_text(tenant: Make) -> None:
    asked = tenant(events=EVENTS)
    healthy = asked.ask().body
    asked.simulator.fail_next(Fault.INVALID_UTF8)
    body = asked.ask().body
    place = body.index(b"\xff")
    assert body[:place] + body[place + 1 :] == healthy
    assert body[place + 1 : place + 2] == b"@"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.EMPTY_PAGE, [["id", "name"]]),
        (Fault.DOUBLED_ROW, [["id", "name"], ["1", "a"], ["2", "b\nb"], ["2", "b\nb"], ["3", "c"]]),
        (Fault.LOST_ROW, [["id", "name"], ["1", "a"], ["3", "c"]]),
        (Fault.WRONG_TOTAL, [["id", "name"], ["1", "a"], ["2", "b\nb"], ["3", "c"]]),
    ],
)
def test_csv_rows_are_whole_records(fault: Fault, expected: list[list[str]]) -> None:
    archive = archive_of('id,name\n1,a\n2,"b\nb"\n3,c\n')
    assert rows(false_csv(archive, fault)) == expected


@pytest.mark.parametrize("fault", FALSE_ANSWERS)
def test_an_answer_without_rows_can_suffer_each(fault: Fault) -> None:
    assert json.loads(false_json(b'{"data":null,"meta":{}}', fault))["data"] is None
    assert rows(false_csv(archive_of("id,name\n"), fault)) == [["id", "name"]]


def test_nothing_fails_any_more_once_the_server_is_healed(tenant: Make) -> None:
    asked = tenant(events=EVENTS, fault_rate=1.0, fault_schedule={1: Fault.NO_DATA})
    asked.simulator.fail_next(Fault.LOGIN_PAGE)
    asked.simulator.heal()
    assert len(asked.data()) == EVENTS
