"""The sensor under Airflow, in its three modes: the same batch, the same fate of every fault."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__

from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor
from airflow_provider_curation.simulator import Fault, Simulator, SimulatorSettings
from tests.support.dags import share_the_api

MODES: dict[str, dict[str, Any]] = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
BATCH = {"count", "first_id", "last_id", "since", "until", "sample"}
#: Fails, and is no time-out.
LASTING: dict[str, dict[str, Any]] = {
    "unauthorized": {"fault_rate": 1.0, "fault_kinds": (Fault.UNAUTHORIZED,)},
    "not entitled": {"entitled": False},
    "old server": {"version": "3.10.0"},
}

_SOURCE = """
import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor

with DAG({dag_id!r}, start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), schedule=None) as dag:
    CurationBlockedEventsSensor(task_id="wait", **{arguments!r})
"""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Run = Callable[..., "Ran"]


class Ran:
    """How a run of the sensor ended."""

    def __init__(self, dag_run: Any, errors: list[Exception], seconds: float) -> None:
        [instance] = dag_run.get_task_instances()
        self.state = str(instance.state)
        self.batch: dict[str, Any] | None = instance.xcom_pull(task_ids="wait") if self.state == "success" else None
        self.error = errors[-1] if errors else None
        self.seconds = seconds


@pytest.fixture(scope="module")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database of this process's own, which knows a folder of DAGs."""
    folder = tmp_path_factory.mktemp("dags")
    bundle = {
        "name": "sensors",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        from airflow.utils import db

        db.initdb()
        share_the_api(environment)
        _send_dates_as_dates(environment)
        yield folder


def _send_dates_as_dates(environment: pytest.MonkeyPatch) -> None:
    """Have `dag.test` of Airflow 3.0 send what a supervisor sends: in one process a date stays text there."""
    if __version__.startswith("3.0."):
        from airflow.sdk.api.client import TaskRescheduleStartDate as Answer

        environment.setattr(Answer, "model_construct", Answer)


@pytest.fixture
def run(dags_folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a DAG with a sensor of these arguments."""
    paths = []
    errors: list[Exception] = []
    # A callback's context has no exception on Airflow 3.0.
    for name in ("execute", "resume_execution"):
        function = getattr(CurationBlockedEventsSensor, name)
        monkeypatch.setattr(CurationBlockedEventsSensor, name, _telling(function, errors.append))

    def run_sensor(**arguments: Any) -> Ran:
        dag_id = f"wait_{request.node.nodeid.encode().hex()[-40:]}_{len(paths)}"
        chosen = {"lookback": timedelta(minutes=5), "poke_interval": 0.3, "timeout": 2, **arguments}
        source = _SOURCE.format(dag_id=dag_id, arguments=chosen)
        path = dags_folder / f"{dag_id}.py"
        path.write_text(source)
        paths.append(path)
        names: dict[str, Any] = {"__name__": dag_id, "__file__": str(path)}
        exec(compile(source, path, "exec"), names)
        errors.clear()
        begin = time.monotonic()
        return Ran(names["dag"].test(), errors, time.monotonic() - begin)

    yield run_sensor
    for path in paths:
        path.unlink()


@contextmanager
def simulated(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[Simulator]:
    now = datetime.now(timezone.utc)
    chosen = {"events": 0, "start": now - timedelta(days=1), "end": now, **settings}
    with Simulator(SimulatorSettings(**chosen)) as simulator:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", simulator.connection_uri())
        yield simulator


def blocked(simulator: Simulator, ago: float = 0.0, **fields: Any) -> int:
    return simulator.insert(datetime.now(timezone.utc) - timedelta(seconds=ago), **{"action": "blocked", **fields})


def _block_two(simulator: Simulator) -> None:
    blocked(simulator)
    blocked(simulator)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of a mode."""
    return MODES[request.param]


def test_every_mode_gives_the_same_batch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch) as simulator:
        start = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=3)
        numbers = [blocked(simulator, ago, package_type="npm") for ago in (100, 50, 2)]
        blocked(simulator, 3, package_type="PyPI")
        blocked(simulator, 3, package_type="npm", action="approved")
        arguments = {"start": start, "package_types": ["np*"], "sample_size": 2, "min_events": 3}
        batches = [run(**arguments, **mode).batch for mode in MODES.values()]
    assert batches[0] is not None
    assert set(batches[0]) == BATCH
    assert batches[0]["count"] == 3
    assert (batches[0]["first_id"], batches[0]["last_id"]) == (numbers[0], numbers[-1])
    assert batches[0]["since"] == start.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert [event["id"] for event in batches[0]["sample"]] == numbers[:2]
    assert not any("username" in event or "user_mail" in event for event in batches[0]["sample"])
    assert batches[1:] == batches[:1] * 2


def test_every_mode_gives_the_same_batch_of_events_that_come_while_it_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    for mode in MODES.values():
        with simulated(monkeypatch) as simulator:
            start = datetime.now(timezone.utc).replace(microsecond=0)
            soon = threading.Timer(1.0, _block_two, [simulator])
            blocked(simulator)
            soon.start()
            batch = run(start=start, min_events=3, timeout=20, **mode).batch
            soon.join()
        assert batch is not None
        batches.append((batch["count"], batch["first_id"], batch["last_id"], len(batch["sample"])))
    assert batches[0][0] == 3
    assert len(set(batches)) == 1


def test_a_time_out_fails(run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]) -> None:
    with simulated(monkeypatch):
        ran = run(**mode)
    assert ran.state == "failed"
    assert type(ran.error).__name__ == "AirflowSensorTimeout"
    # On a slow machine building Airflow's API takes most of it.
    assert ran.seconds < 90


def test_soft_fail_turns_a_time_out_into_a_skip(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any]
) -> None:
    with simulated(monkeypatch):
        assert run(soft_fail=True, **mode).state == "skipped"


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_window_that_has_settled_is_not_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], soft_fail: bool
) -> None:
    now = datetime.now(timezone.utc)
    window = {"start": now - timedelta(hours=2), "end": now - timedelta(hours=1)}
    with simulated(monkeypatch):
        ran = run(**window, timeout=3600, soft_fail=soft_fail, **mode)
    assert ran.state == ("skipped" if soft_fail else "failed")
    assert ran.seconds < 90


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_fails_at_once_and_without_retries(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], fault: str
) -> None:
    with simulated(monkeypatch, **LASTING[fault]) as simulator:
        ran = run(soft_fail=True, retries=3, timeout=3600, **mode)
        requests = len(simulator.requests)
    assert ran.state == "failed"
    assert requests <= 2
    assert ran.error is not None
    assert isinstance(ran.error, _fail_exception())


def test_passing_faults_fail_when_they_are_too_many(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], quick_requests: None
) -> None:
    with simulated(monkeypatch, fault_rate=1.0, fault_kinds=(Fault.UNAVAILABLE,)):
        ran = run(soft_fail=True, max_failures=3, timeout=3600, **mode)
    assert ran.state == "failed"
    assert type(ran.error).__name__ == "ServerFaultError"


def test_passing_faults_pass(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], quick_requests: None
) -> None:
    with simulated(monkeypatch) as simulator:
        blocked(simulator)
        simulator.fail_next(Fault.UNAVAILABLE, times=4)
        ran = run(max_failures=3, timeout=60, **mode)
    assert ran.state == "success"
    assert ran.batch is not None
    assert ran.batch["count"] == 1


def test_a_missing_connection_fails(run: Run, mode: dict[str, Any]) -> None:
    ran = run(curation_conn_id="nowhere", soft_fail=True, **mode)
    assert ran.state == "failed"
    assert "nowhere" in str(ran.error)


def test_neither_start_nor_interval_nor_lookback_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch) as simulator:
        ran = run(lookback=None, soft_fail=True)
        assert simulator.requests == []
    assert ran.state == "failed"
    assert "lookback" in str(ran.error)


def test_what_the_trigger_stores_has_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger as Trigger

    stored = []
    serialize = Trigger.serialize
    monkeypatch.setattr(Trigger, "run", _remembering(Trigger.run, lambda it: stored.append(json.dumps(serialize(it)))))
    with simulated(monkeypatch, tokens=("made-up-token-c0ffee",)):
        assert run(deferrable=True, min_events=5).state == "failed"
    assert stored
    assert not any("c0ffee" in text for text in stored)


@pytest.fixture
def quick_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are tried again at once, and twice."""
    from airflow_provider_curation.audit.api import client
    from airflow_provider_curation.audit.api.retry import RetryPolicy
    from airflow_provider_curation.audit.polling import poller

    quick = RetryPolicy(attempts=2, first_wait=0.01, longest_wait=0.02, longest_retry_after=0.02)
    monkeypatch.setattr(poller, "POLL_RETRY", quick)
    # Where Airflow remembers nothing between reschedules, one poke has them all.
    patient = RetryPolicy(attempts=6, first_wait=0.01, longest_wait=0.02, longest_retry_after=0.02)
    monkeypatch.setattr(client, "RetryPolicy", lambda *_, **__: patient)


def _fail_exception() -> type[BaseException]:
    from airflow.providers.common.compat.sdk import AirflowFailException

    return AirflowFailException


def _telling(function: Callable[..., Any], tell: Callable[[Exception], None]) -> Callable[..., Any]:
    """The function, and who is told of what it raises."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            tell(error)
            raise

    return wrapper


def _remembering(function: Any, remember: Callable[[Any], None]) -> Any:
    def wrapper(self: Any) -> Any:
        remember(self)
        return function(self)

    return wrapper
