"""The DAGs that alert, under Airflow, against a server where packages are blocked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from airflow import __version__

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.dags import DAGS, load, run, states

ALERT = DAGS / "curation_blocked_alert.py"
WATCH = DAGS / "curation_blocked_watch.py"

VERSION = tuple(map(int, __version__.split(".")[:2]))

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(180),
]


@pytest.fixture
def interval() -> tuple[datetime, datetime]:
    """The latest ten minutes of the clock that are over."""
    now = datetime.now(timezone.utc)
    end = now.replace(minute=now.minute // 10 * 10, second=0, microsecond=0)
    return end - timedelta(minutes=10), end


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, interval: tuple[datetime, datetime]) -> Iterator[Simulator]:
    settings = SimulatorSettings(events=0, start=interval[0] - timedelta(days=1), end=interval[0], tokens=("made-up",))
    with Simulator(settings) as simulator:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", simulator.connection_uri())
        yield simulator


def test_the_alert_names_what_was_blocked(server: Simulator, interval: tuple[datetime, datetime]) -> None:
    policies = [{"policy_name": "no-malware", "policy_id": 7}]
    begin, end = interval
    server.insert(begin - timedelta(minutes=3), action="blocked", package_name="late-one", policies=policies)
    server.insert(begin + timedelta(minutes=3), action="blocked", package_name="in-time", policies=policies)
    server.insert(begin + timedelta(minutes=3), action="blocked", package_name="<!channel>\nlook", policies=policies)
    server.insert(begin + timedelta(minutes=4), action="approved", package_name="harmless")
    server.insert(begin - timedelta(minutes=30), action="blocked", package_name="long-ago", policies=policies)
    [dag] = load(ALERT)

    dag_run = run(dag, end)

    assert states(dag_run) == {"wait": "success", "alert": "success"}
    [alert] = [each for each in dag_run.get_task_instances() if each.task_id == "alert"]
    text = alert.xcom_pull(task_ids="alert")
    assert text.startswith("3 packages were blocked")
    assert "late-one" in text
    assert "in-time" in text
    assert "no-malware" in text
    assert "(project " in text
    assert "&lt;!channel&gt;\\nlook" in text
    assert "harmless" not in text
    assert "long-ago" not in text


def test_a_run_without_blocked_packages_is_skipped(server: Simulator, interval: tuple[datetime, datetime]) -> None:
    [dag] = load(ALERT, ("timeout=timedelta(minutes=9)", "timeout=1"))

    dag_run = run(dag, interval[1])

    assert states(dag_run) == {"wait": "skipped", "alert": "skipped"}


def test_the_next_run_tells_what_a_failed_one_could_not(
    server: Simulator, interval: tuple[datetime, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, end = interval
    step = timedelta(minutes=10)
    [dag] = load(ALERT, ("timeout=timedelta(minutes=9)", "timeout=1"))
    assert states(run(dag, begin - step)) == {"wait": "skipped", "alert": "skipped"}
    server.insert(begin - timedelta(minutes=6), action="blocked", package_name="while-broken")
    monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", server.connection_uri(password="wrong"))
    assert states(run(dag, begin)) == {"wait": "failed", "alert": "upstream_failed"}

    monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", server.connection_uri())
    dag_run = run(dag, end)

    assert states(dag_run) == {"wait": "success", "alert": "success"}
    [alert] = [each for each in dag_run.get_task_instances() if each.task_id == "alert"]
    assert "while-broken" in alert.xcom_pull(task_ids="alert")


def test_the_watching_dag_and_its_canary_are_there_on_airflow_3_only() -> None:
    dags = load(WATCH)

    assert [dag.dag_id for dag in dags] == ([] if VERSION < (3, 0) else [WATCH.stem, f"{WATCH.stem}_canary"])


@pytest.mark.skipif(VERSION < (3, 0), reason="Airflow 2 has no watchers")
def test_the_canary_fails_without_a_heartbeat() -> None:
    [_, canary] = load(WATCH)

    ended = states(run(canary, datetime(2026, 11, 1, tzinfo=timezone.utc)))

    # Before 3.3 there is nowhere to leave one.
    assert ended == {"check": "failed" if VERSION >= (3, 3) else "skipped"}
