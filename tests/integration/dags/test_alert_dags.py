"""The DAGs that alert, under Airflow, against a server where packages are blocked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.dags import DAGS, load, run, states

ALERT = DAGS / "curation_blocked_alert.py"
WATCH = DAGS / "curation_blocked_watch.py"

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
    with Simulator(SimulatorSettings(events=0, start=interval[0] - timedelta(days=1), end=interval[0])) as simulator:
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


def test_the_watching_dag_is_there_on_airflow_3_only() -> None:
    from airflow import __version__

    dags = load(WATCH)

    assert len(dags) == (0 if __version__.startswith("2.") else 1)
