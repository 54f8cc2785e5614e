"""The trigger of a deferred task: one event, whatever happens; and what is stored of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError, InvalidWindowError, UndefinedWindowError
from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.simulator import Fault, Simulator, SimulatorSettings
from airflow_provider_curation.triggers import curation_audit
from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger as Trigger
from airflow_provider_curation.triggers.stored_cursor import jittered

pytestmark = pytest.mark.integration

#: A window that has just settled.
START = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)
WIDTH = timedelta(minutes=50)
SECRET = "made-up-token-c0ffee"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    settings = SimulatorSettings(events=400, start=START, end=START + WIDTH, tokens=(SECRET,))
    with Simulator(settings) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", running.connection_uri())
        yield running


@pytest.fixture(autouse=True)
def quick_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_curation.audit.api.retry import RetryPolicy
    from airflow_provider_curation.audit.polling import poller

    monkeypatch.setattr(poller, "POLL_RETRY", RetryPolicy(attempts=1))


def trigger(**arguments: Any) -> Trigger:
    deadline = datetime.now(timezone.utc) + timedelta(seconds=20)
    chosen = {"start": START, "poll_interval": 0.02, "deadline": deadline, **arguments}
    return Trigger(**chosen)


def events(it: Trigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in it.run()]

    return asyncio.run(asyncio.wait_for(collect(), 30))


def test_one_batch(simulator: Simulator) -> None:
    truth = [event["id"] for event in simulator.truth(START, START + WIDTH) if event["action"] == "blocked"]
    [event] = events(trigger(sample_size=1000))
    assert event["status"] == "found"
    assert [each["id"] for each in event["batch"]["sample"]] == truth
    assert event["batch"]["since"] == format_utc(START)
    assert json.loads(json.dumps(event)) == event


def test_it_waits_for_the_event_that_makes_the_batch(simulator: Simulator) -> None:
    number = len([event for event in simulator.truth(START, START + WIDTH) if event["action"] == "blocked"])
    it = trigger(min_events=number + 1)

    async def collect() -> list[dict[str, Any]]:
        asyncio.get_running_loop().call_later(
            0.5, lambda: simulator.insert(datetime.now(timezone.utc), action="blocked")
        )
        return [event.payload async for event in it.run()]

    [event] = asyncio.run(asyncio.wait_for(collect(), 30))
    assert event["batch"]["count"] == number + 1
    # Read once, and after that only what is new.
    assert sum(request.rows for request in simulator.requests) < 400 + 2 * len(simulator.requests)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.UNAUTHORIZED, "UnauthorizedError"),
        (Fault.UNAVAILABLE, "ServerFaultError"),
        (Fault.NO_DATA, "UnexpectedAnswerError"),
    ],
)
def test_a_fault_that_lasts_is_an_event(simulator: Simulator, fault: Fault, error: str) -> None:
    simulator.fail_next(fault, times=100)
    [event] = events(trigger(max_failures=3))
    assert event["status"] == "fault"
    assert event["error"] == error
    assert SECRET not in json.dumps(event)


def test_a_fault_that_passes_is_none(simulator: Simulator) -> None:
    simulator.fail_next(Fault.UNAVAILABLE, times=2)
    assert [event["status"] for event in events(trigger(max_failures=3))] == ["found"]


def test_a_token_that_was_changed_is_read_again(simulator: Simulator) -> None:
    number = len([event for event in simulator.truth(START, START + WIDTH) if event["action"] == "blocked"])
    it = trigger(min_events=number + 1)

    async def until(happened: Callable[[], bool]) -> None:
        while not happened():
            await asyncio.sleep(0.01)

    async def change() -> None:
        # Refused once while it runs: the connection is read again, and the poll is repeated.
        await until(lambda: len(simulator.requests) >= 5)
        simulator.fail_next(Fault.UNAUTHORIZED)
        await until(lambda: any(request.fault is Fault.UNAUTHORIZED for request in simulator.requests))
        simulator.insert(datetime.now(timezone.utc), action="blocked")

    async def collect() -> list[dict[str, Any]]:
        changing = asyncio.create_task(change())
        found = [event.payload async for event in it.run()]
        await changing
        return found

    [event] = asyncio.run(asyncio.wait_for(collect(), 30))
    assert event["status"] == "found"
    assert event["batch"]["count"] == number + 1


def test_a_missing_connection_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    async def none(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(curation_audit, "connection_for_trigger", none)
    [event] = events(trigger(curation_conn_id="nowhere"))
    assert event["error"] == "InvalidArgumentError"
    assert "nowhere" in event["message"]


def test_the_deadline_is_a_time_out_after_one_last_look(simulator: Simulator) -> None:
    [event] = events(trigger(min_events=10_000, deadline=datetime.now(timezone.utc) - WIDTH))
    assert event["status"] == "timeout"
    assert len(simulator.requests) == 1


def test_a_window_that_has_settled_is_a_time_out(simulator: Simulator) -> None:
    assert [event["status"] for event in events(trigger(min_events=10_000, end=START + WIDTH))] == ["timeout"]


def test_what_is_stored_makes_the_same_trigger() -> None:
    it = trigger(
        lookback=WIDTH, end=START + WIDTH, package_types=("npm",), repositories=["a*"], policies=["7"],
        min_events=2, sample_size=3, include_personal_fields=True, settle_time=timedelta(minutes=1),
        poll_interval=timedelta(minutes=2), max_failures=4, curation_conn_id="other", cursor={"version": 1},
    )  # fmt: skip
    path, arguments = it.serialize()
    assert path == "airflow_provider_curation.triggers.curation_audit.CurationBlockedEventsTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert Trigger(**arguments).serialize() == (path, arguments)


def test_what_airflow_stores_of_a_watcher_is_always_the_same() -> None:
    arguments: dict[str, Any] = {"lookback": timedelta(minutes=5), "package_types": ("npm",)}
    assert Trigger(**arguments).serialize() == Trigger(**arguments).serialize()


def test_no_secret_is_stored(simulator: Simulator) -> None:
    it = trigger()
    events(it)
    assert SECRET not in json.dumps(it.serialize())
    assert SECRET not in repr(it)


@pytest.mark.parametrize(
    "arguments",
    [
        {"poll_interval": 0},
        {"min_events": 0},
        {"package_types": "npm"},
        {"policies": []},
        {"start": "yesterday"},
        {"end": START - WIDTH},
    ],
    ids=" ".join,
)
def test_bad_arguments_are_refused_in_the_dags_file(arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgumentError, InvalidWindowError)):
        trigger(**arguments)


def test_since_when_must_be_said() -> None:
    with pytest.raises(UndefinedWindowError, match="lookback"):
        Trigger()


def test_it_is_an_event_trigger_where_airflow_has_one() -> None:
    import airflow.triggers.base as base

    assert issubclass(Trigger, getattr(base, "BaseEventTrigger", base.BaseTrigger))


def test_polls_of_several_triggers_drift_apart() -> None:
    pauses = {jittered(30.0) for _ in range(100)}
    assert len(pauses) > 50
    assert all(27 <= pause <= 33 for pause in pauses)
