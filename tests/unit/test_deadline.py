"""The alert for runs that do not end in time: Airflow's own on each version, and words that say what to do."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow import __version__

from airflow_provider_curation.deadline import overdue_alert, run_is_overdue, sla_was_missed

WEEK = timedelta(days=7)
VERSION = tuple(map(int, __version__.split(".")[:2]))


@pytest.mark.skipif(VERSION < (3, 1), reason="Airflow 3.1 brought deadline alerts")
def test_a_deadline_counts_from_the_logical_date() -> None:
    from airflow.sdk.definitions.deadline import DeadlineReference

    alert = overdue_alert(WEEK)

    assert set(alert.dag) == {"deadline"}
    deadline = alert.dag["deadline"]
    assert deadline.reference == DeadlineReference.DAGRUN_LOGICAL_DATE
    assert deadline.interval == WEEK
    # Airflow imports it in the triggerer by this path.
    assert deadline.callback.path == "airflow_provider_curation.deadline.run_is_overdue"
    assert alert.tasks == {}


@pytest.mark.skipif(VERSION >= (3, 0), reason="Airflow 3 has no SLAs")
def test_airflow_2_has_an_sla_in_its_place() -> None:
    assert overdue_alert(WEEK) == ({"sla_miss_callback": sla_was_missed}, {"sla": WEEK})


@pytest.mark.skipif(VERSION != (3, 0), reason="only Airflow 3.0 has neither")
def test_airflow_3_0_has_neither() -> None:
    assert overdue_alert(WEEK) == ({}, {})


@pytest.mark.parametrize("after", [timedelta(0), -WEEK])
def test_a_run_needs_some_time(after: timedelta) -> None:
    with pytest.raises(ValueError, match="not a positive duration"):
        overdue_alert(after)


@pytest.mark.parametrize(
    ("context", "run"),
    [
        (
            {"dag_run": {"dag_id": "daily", "dag_run_id": "scheduled__2026-11-01"}, "deadline": {"id": "1"}},
            "scheduled__2026-11-01 of daily",
        ),
        # Whatever a later Airflow leaves out: the alert itself matters most.
        (None, "? of ?"),
        ({}, "? of ?"),
    ],
)
def test_a_missed_deadline_says_which_run_and_what_to_do(
    context: dict[str, object] | None, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(run_is_overdue(context=context, more="to come"))

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"The run {run} has not ended in time")
    assert "curation_audit_backfill" in record.getMessage()


def test_a_missed_sla_says_it_once_for_each_run(caplog: pytest.LogCaptureFixture) -> None:
    days = [datetime(2026, 11, day, tzinfo=timezone.utc) for day in (2, 1, 2)]
    slas = [SimpleNamespace(execution_date=day, task_id=f"export_{number}") for number, day in enumerate(days)]

    sla_was_missed(SimpleNamespace(dag_id="daily"), "export_0\nexport_1", "", slas, [])

    assert [record.args[0] for record in caplog.records] == ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"]
