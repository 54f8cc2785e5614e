"""Ranges of the past under a real scheduler: each window once, whole, and the same bytes when it is exported again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow import __version__

from tests.system.deployment import Deployment, Gate
from tests.system.processes import AIRFLOW_3, eventually

AIRFLOW = tuple(map(int, __version__.split(".")[:2]))

pytestmark = [pytest.mark.system, pytest.mark.integration, pytest.mark.timeout(900)]

DAYS = 25


def _backfill(deployed: Deployment, *, again: bool) -> None:
    first, last = (f"{deployed.day(number):%Y-%m-%d}" for number in (-28, -28 + DAYS - 1))
    if AIRFLOW_3:
        behaviour = "completed" if again else "none"
        deployed.airflow.command(
            *("backfill", "create", "--dag-id", "backfill", "--from-date", first, "--to-date", last),
            *("--max-active-runs", "8", "--reprocess-behavior", behaviour),
        )
    else:
        # The command is the scheduler of its runs, and ends with them.
        options = ("--reset-dagruns", "--yes") if again else ()
        deployed.airflow.command("dags", "backfill", "-s", first, "-e", last, *options, "backfill", timeout=400)


def _ended(deployed: Deployment) -> None:
    def done() -> bool:
        states = deployed.states("backfill")
        # Airflow 3 starts no backfill while it takes another one for running.
        running = AIRFLOW_3 and deployed.airflow.rows("select 1 from backfill where completed_at is null")
        return not running and len(states) == DAYS and set(states) <= {"success", "failed"}

    eventually(done, 400, "end of the backfill")
    assert set(deployed.states("backfill")) == {"success"}


def test_a_backfill_and_its_repetition(deployed: Deployment) -> None:
    spans = deployed.days(-28, DAYS)
    _backfill(deployed, again=False)

    _ended(deployed)
    deployed.assert_complete("backfill", spans)
    before = deployed.bodies("backfill")
    puts, looks = (deployed.s3.requests.count(name) for name in ("PUT object", "GET manifest"))
    assert puts >= DAYS

    _backfill(deployed, again=True)
    _ended(deployed)
    # Each run has read its window again, and found that S3 has it byte for byte.
    assert deployed.s3.requests.count("GET manifest") >= looks + DAYS
    assert deployed.s3.requests.count("PUT object") == puts
    deployed.assert_complete("backfill", spans)
    assert deployed.bodies("backfill") == before


def test_catching_up_after_a_week_of_pause(deployed: Deployment) -> None:
    deployed.pause("catchup", False)
    eventually(lambda: deployed.states("catchup") == ["success"], 120, "first run")
    deployed.pause("catchup", True)
    file = deployed.dags / "exports.py"
    text = file.read_text()
    assert text.count("CATCHUP_DAYS = 1\n") == 1
    file.write_text(text.replace("CATCHUP_DAYS = 1\n", "CATCHUP_DAYS = 8\n"))
    query = "select 1 from dag where dag_id = 'catchup' and next_dagrun is not null"
    eventually(lambda: deployed.airflow.rows(query), 120, "next run of the DAG that goes on")
    assert deployed.states("catchup") == ["success"]

    deployed.pause("catchup", False)
    eventually(lambda: deployed.states("catchup") == ["success"] * 8, 240, "catch-up")
    deployed.assert_complete("catchup", deployed.days(-12, 8))
    deployed.assert_complete("catchup-csv", deployed.days(-12, 8), suffix=".csv.zip")


def test_hourly_runs_eight_at_a_time(deployed: Deployment) -> None:
    start = deployed.day(-4)
    spans = [(start + timedelta(hours=n), start + timedelta(hours=n + 1)) for n in range(24)]
    with Gate(deployed.s3, "PUT object", count=8) as gate:
        deployed.pause("hourly", False)
        gate.reached()
        gate.release()
    eventually(lambda: deployed.states("hourly") == ["success"] * 24, 300, "end of the hours")
    deployed.assert_complete("hourly", spans, suffix=".jsonl")


def test_a_run_with_an_explicit_interval_and_the_run_that_its_asset_triggers(deployed: Deployment) -> None:
    start = deployed.day(-6) + timedelta(hours=1, minutes=17, seconds=3)
    span = (start, start + timedelta(hours=8, minutes=24, seconds=56))
    run = deployed.trigger("manual", span)
    assert deployed.ended("manual", run) == "success"
    deployed.assert_complete("manual", [span])

    # A task of the run that its asset triggers exports the window that the asset's event names.
    end = "failed" if AIRFLOW_3 else "success"
    eventually(lambda: deployed.states("follow") == [end], 180, "end of the run that the asset triggered")
    deployed.assert_complete("follow", [span], stream="dry_run")
    states = deployed.airflow.rows("select task_id, state, try_number from task_instance where dag_id = 'follow'")
    assert sorted(states) == [("bare", end, 1), ("export", "success", 1)]
    if AIRFLOW_3:
        # Without arguments a task has no window there: such a run has no interval.
        assert deployed.under("bare") == []
        _assert_no_interval(deployed, "follow")
    else:
        # Airflow 2 gives it the interval of the run that updated the dataset.
        deployed.assert_complete("bare", [span])


def test_a_trigger_without_an_interval_fails_clearly(deployed: Deployment) -> None:
    before = deployed.under("manual")
    deployed.airflow.command("dags", "trigger", "manual", "--run-id", "bare-trigger")
    assert deployed.ended("manual", "bare-trigger") == "failed"
    assert deployed.tries("manual", "bare-trigger") == 1
    assert deployed.under("manual") == before
    deployed.assert_nothing_left()
    _assert_no_interval(deployed, "manual")


def _assert_no_interval(deployed: Deployment, dag_id: str) -> None:
    logs = deployed.task_logs(dag_id)
    assert "UndefinedWindowError" in logs
    assert "This run has " in logs
    assert "Give the operator start and end" in logs or "or give the operator start and end" in logs


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no partitions")
def test_partitions_are_exported_by_their_date(deployed: Deployment) -> None:
    deployed.pause("partition", False)
    eventually(lambda: deployed.states("partition") == ["success"] * 3, 180, "partitions")
    deployed.assert_complete("partition", deployed.days(-9, 3))


@pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow 3.1 brought deadlines; 2.11 checks SLAs of later runs only")
def test_a_day_that_is_not_archived_in_time_calls_for_help(deployed: Deployment) -> None:
    said = "of overdue has not ended in time"
    eventually(lambda: said in deployed.airflow.log("triggerer"), 240, "deadline alert")
