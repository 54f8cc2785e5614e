"""A real scheduler and a real triggerer: nothing is lost when it is killed, and no fault is taken for a skip."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_curation.simulator import Fault, Simulator, SimulatorSettings
from tests.system.markers import PACKAGE, PEOPLE, decrypted, leaks, plant
from tests.system.processes import AIRFLOW_3, Airflow, contents, eventually

DAGS = Path(__file__).parents[2] / "dags"
KILLS = 5

_SENSORS = """
import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor

# On a busy machine Airflow can fail a task whose trigger fires before the scheduler has heard of the deferral.
again = {"retries": 3, "retry_delay": datetime.timedelta(seconds=1)}
for name, arguments in {
    "found": {"min_events": 1, "timeout": 300, **again},
    "timed_out": {"curation_conn_id": "curation_quiet", "timeout": 5, **again},
    "refused": {"curation_conn_id": "curation_refusing", "timeout": 300},
    "down": {"curation_conn_id": "curation_down", "timeout": 300, "max_failures": 2},
}.items():
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    with DAG(f"wait_{name}", start_date=begin, schedule="@once") as dag:
        CurationBlockedEventsSensor(
            task_id="wait", deferrable=True, soft_fail=True, lookback=datetime.timedelta(minutes=5),
            start="{{ dag_run.start_date }}", poke_interval=1, **arguments,
        )
    globals()[dag.dag_id] = dag
"""

pytestmark = [pytest.mark.system, pytest.mark.integration, pytest.mark.timeout(600)]


def simulator(**settings: Any) -> Simulator:
    now = datetime.now(timezone.utc)
    chosen = {"events": 500, "start": now - timedelta(minutes=10), "end": now - timedelta(minutes=9), **settings}
    return Simulator(SimulatorSettings(**chosen))


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """The server that the watcher and the first sensor poll."""
    with simulator() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(server: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home, dags = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("dags")
    watch = (DAGS / "curation_blocked_watch.py").read_text()
    assert "poll_interval=20" in watch
    (dags / "watch.py").write_text(watch.replace("poll_interval=20", "poll_interval=1"))
    (dags / "sensors.py").write_text(_SENSORS)
    # The first requests are the sensor's own poll: the faults come while its trigger waits.
    later = range(2, 10_000)
    refusing = simulator(events=0, tells_entitlement=False, fault_schedule=dict.fromkeys(later, Fault.UNAUTHORIZED))
    down = simulator(events=0, tells_entitlement=False, fault_schedule=dict.fromkeys(later, Fault.UNAVAILABLE))
    with simulator() as quiet, refusing, down:
        connections = {"default": server, "quiet": quiet, "refusing": refusing, "down": down}
        environment = {
            f"AIRFLOW_CONN_CURATION_{name.upper()}": json.dumps(
                {"conn_type": "jfrog_curation", "host": each.url, "extra": {"timeout": 5}}
            )
            for name, each in connections.items()
        }
        with Airflow(home, dags, environment).running() as running:
            yield running


def test_a_fault_in_the_triggerer_fails_the_task_and_a_time_out_skips_it(airflow: Airflow, server: Simulator) -> None:
    def ended(name: str) -> str | None:
        state = airflow.state(f"wait_{name}", "wait")
        return state if state in ("success", "failed", "skipped") else None

    eventually(lambda: airflow.state("wait_found", "wait") == "deferred", 240, "sensor in the triggerer")
    server.insert(datetime.now(timezone.utc), action="blocked")
    names = ("found", "timed_out", "refused", "down")
    ends = {name: eventually(partial(ended, name), 120, f"end of wait_{name}") for name in names}
    assert ends == {"found": "success", "timed_out": "skipped", "refused": "failed", "down": "failed"}
    for name, error in {"refused": "UnauthorizedError", "down": "ServerFaultError"}.items():
        logs = [each for file, each in contents(airflow.home).items() if f"dag_id=wait_{name}" in str(file)]
        assert any(error.encode() in log for log in logs), name


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_the_watcher_loses_nothing_when_the_triggerer_is_killed(airflow: Airflow, server: Simulator) -> None:
    chance = random.Random(7)
    first = plant(server, datetime.now(timezone.utc))
    eventually(lambda: first in delivered(airflow), 240, "first batch")
    blocked = {first}
    for _ in range(KILLS):
        for _ in range(chance.randrange(1, 5)):
            time.sleep(chance.uniform(0, 2))
            blocked.add(server.insert(datetime.now(timezone.utc), action="blocked", lag=chance.uniform(0, 3)))
        time.sleep(chance.uniform(0, 4))
        airflow.kill("triggerer")
        for _ in range(chance.randrange(0, 3)):
            blocked.add(server.insert(datetime.now(timezone.utc), action="blocked"))
        airflow.start("triggerer")
        eventually(lambda: blocked <= delivered(airflow), 120, "batch after the kill")
    history = [{event["id"] for event in batch["sample"]} for batch in airflow.batches()]
    seen: set[int] = set()
    last: set[int] = set()
    for batch in history:
        assert batch & seen <= last, "a repeat of another batch than the last"
        seen |= batch
        last = batch
    assert blocked <= seen
    assert "kept in memory only" not in airflow.log("triggerer")


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_the_dag_reads_the_batches_again(airflow: Airflow, server: Simulator) -> None:
    number = server.insert(datetime.now(timezone.utc), action="blocked")

    def told() -> bool:
        query = "select value from xcom where dag_id = 'curation_blocked_watch' and task_id = 'alert'"
        return any(number in _ids(value) for (value,) in airflow.rows(query))

    eventually(told, 240, "run of the DAG that tells of the event")


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")
def test_no_person_of_a_batch_is_in_the_database_or_a_log(airflow: Airflow, server: Simulator) -> None:
    number = plant(server, datetime.now(timezone.utc))
    eventually(lambda: number in delivered(airflow), 240, "batch with a person")
    dump = airflow.dump()
    assert b'INSERT INTO "trigger" ' in dump, "no watcher's arguments were read"
    everything = [dump, *decrypted(airflow.fernet_key, dump), *contents(airflow.home).values()]
    assert [found for content in everything if (found := leaks(content, PEOPLE))] == []
    # The package beside the person is there, so that the person would have been found.
    assert leaks(dump, (PACKAGE,)) == [PACKAGE]


def delivered(airflow: Airflow) -> set[int]:
    return {event["id"] for batch in airflow.batches() for event in batch["sample"]}


def _ids(value: Any) -> list[int]:
    while isinstance(value, str | bytes):
        value = json.loads(value)
    return value if isinstance(value, list) else []
