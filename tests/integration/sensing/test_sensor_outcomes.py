"""The sensor without Airflow around it: since when, which outcomes, and what travels to its trigger and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import __version__
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_curation.audit.errors import (
    IncompleteExportError,
    InvalidArgumentError,
    InvalidWindowError,
    PollFailedError,
    ThrottledError,
    UnauthorizedError,
    UndefinedWindowError,
)
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.compat import AirflowSensorTimeout, PokeReturnValue
from airflow_provider_curation.interval import start_of_search
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor
from airflow_provider_curation.simulator import Fault, Simulator, SimulatorSettings
from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger

pytestmark = pytest.mark.integration

#: A window that has just settled.
START = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)
WIDTH = timedelta(minutes=50)
AIRFLOW = int(__version__.partition(".")[0])


def sensor(**arguments: Any) -> CurationBlockedEventsSensor:
    return CurationBlockedEventsSensor(task_id="wait", **{"start": START, "end": START + WIDTH, **arguments})


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(events=400, start=START, end=START + WIDTH)) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", running.connection_uri())
        yield running


# Since when


@pytest.mark.parametrize(
    ("context", "arguments", "since"),
    [
        ({"data_interval_start": START, "data_interval_end": START + WIDTH}, {"start": START - WIDTH}, -WIDTH),
        ({"data_interval_start": START, "data_interval_end": START + WIDTH}, {}, timedelta(0)),
        ({"data_interval_start": START, "data_interval_end": START + WIDTH}, {"lookback": WIDTH}, timedelta(0)),
        ({"data_interval_start": START, "data_interval_end": START}, {"lookback": WIDTH}, -WIDTH),
        ({}, {"lookback": WIDTH}, -WIDTH),
    ],
    ids=["start", "interval", "interval before lookback", "empty interval", "no interval"],
)  # fmt: skip
def test_since_when(context: dict[str, Any], arguments: dict[str, Any], since: timedelta) -> None:
    context = {"dag_run": SimpleNamespace(start_date=START), **context}
    assert start_of_search(context, **arguments) == START + since


@pytest.mark.parametrize("context", [{}, {"data_interval_start": START, "data_interval_end": START}])
def test_no_start_is_an_error_with_the_cure(context: dict[str, Any]) -> None:
    with pytest.raises(UndefinedWindowError, match="lookback"):
        start_of_search(context)


def test_a_run_that_did_not_begin_looks_back_from_now() -> None:
    before = datetime.now(timezone.utc)
    assert timedelta(0) <= start_of_search({}, lookback=WIDTH) - (before - WIDTH) < timedelta(seconds=10)


# Pokes


def test_poke_gives_a_batch(simulator: Simulator) -> None:
    truth = [event for event in simulator.truth(START, START + WIDTH) if event["action"] == "blocked"]
    value = sensor(sample_size=2).poke({})
    assert isinstance(value, PokeReturnValue)
    assert value.is_done
    batch = value.xcom_value
    assert (batch["count"], batch["first_id"], batch["last_id"]) == (len(truth), truth[0]["id"], truth[-1]["id"])
    assert batch["since"] == format_utc(START)
    assert len(batch["sample"]) == 2


def test_poke_reads_on_where_the_last_one_was(simulator: Simulator) -> None:
    it = sensor(min_events=10_000, end=None)
    assert not it.poke({})
    simulator.reset_log()
    assert not it.poke({})
    assert [request.rows for request in simulator.requests] == [1]


def test_personal_fields_on_request(simulator: Simulator) -> None:
    shown = sensor(include_personal_fields=True).poke({}).xcom_value["sample"]
    hidden = sensor().poke({}).xcom_value["sample"]
    assert all("username" in event and "user_mail" in event for event in shown)
    assert not any("username" in event or "user_mail" in event for event in hidden)


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_a_window_that_has_settled_has_timed_out(simulator: Simulator, soft_fail: bool, error: type[Exception]) -> None:
    with pytest.raises(error, match="settled"):
        sensor(min_events=10_000, soft_fail=soft_fail).poke({})


def test_a_lasting_fault_is_raised_by_name(simulator: Simulator) -> None:
    simulator.fail_next(Fault.UNAUTHORIZED)
    with pytest.raises(UnauthorizedError) as caught:
        sensor().poke({})
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_execute_ends_without_retries_for_a_lasting_fault(
    simulator: Simulator, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.fail_next(Fault.UNAUTHORIZED)
    # What Airflow asks of a task that may have been rescheduled; Airflow 2 asks its database.
    names = dict.fromkeys(["dag_id", "task_id", "run_id"], "made_up")
    instance = SimpleNamespace(**names, map_index=-1, max_tries=0, get_first_reschedule_date=lambda context: None)
    if AIRFLOW == 2:
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **task: None)
    it = sensor(mode=mode, soft_fail=True)
    assert it.reschedule == (mode == "reschedule")
    with pytest.raises(UnauthorizedError) as caught:
        it.execute({"ti": instance})
    assert isinstance(caught.value, AirflowFailException)


class Store(dict[str, Any]):
    """A task state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def test_between_reschedules_a_task_remembers_where_the_store_does(simulator: Simulator) -> None:
    context: Any = {"task_state_store": Store()}
    arguments: dict[str, Any] = {"min_events": 10_000, "end": None, "mode": "reschedule"}
    assert not sensor(**arguments).poke(context)
    simulator.reset_log()
    assert not sensor(**arguments).poke(context)
    assert [request.rows for request in simulator.requests] == [1]
    # Another search does not go on from there.
    assert sensor(**{**arguments, "min_events": 1}).poke(context).xcom_value["count"] > 10
    assert context["task_state_store"] == {}


def test_between_reschedules_faults_are_counted_where_the_store_does(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _quick(monkeypatch)
    context: Any = {"task_state_store": Store()}
    simulator.fail_next(Fault.THROTTLED, times=100)
    assert not sensor(mode="reschedule", max_failures=2).poke(context)
    with pytest.raises(ThrottledError):
        sensor(mode="reschedule", max_failures=2).poke(context)


def test_passing_faults_in_a_row_are_counted(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    _quick(monkeypatch)
    it = sensor(end=None, min_events=10_000, max_failures=2)
    for _ in range(3):
        simulator.fail_next(Fault.THROTTLED)
        assert not it.poke({})
        assert not it.poke({})
    simulator.fail_next(Fault.THROTTLED, times=2)
    assert not it.poke({})
    with pytest.raises(ThrottledError):
        it.poke({})


def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_curation.audit.api.retry import RetryPolicy
    from airflow_provider_curation.audit.polling import poller

    monkeypatch.setattr(poller, "POLL_RETRY", RetryPolicy(attempts=1))


@pytest.mark.parametrize(
    "arguments",
    [
        {"min_events": 0},
        {"sample_size": -1},
        {"max_failures": 0},
        {"policies": []},
        {"package_types": "npm"},
        {"end": START},
        {"start": "None"},
        {"start": datetime(2026, 3, 9)},
        {"settle_time": timedelta(seconds=-1)},
    ],
    ids=" ".join,
)
def test_bad_arguments_are_named_before_any_request(simulator: Simulator, arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgumentError, InvalidWindowError)) as caught:
        sensor(**arguments).execute({})
    assert next(iter(arguments)) in str(caught.value)
    assert simulator.requests == []


# More events than one poll reads, and counts that never agree

#: A window of the last days, so that it is read in parts.
LONG_AGO = START - timedelta(days=2)


@pytest.fixture
def rare(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A search for one event at a window's end, behind more events than a poll reads, on a server without counts."""
    from airflow_provider_curation.audit.polling import poller

    monkeypatch.setattr(poller, "_ROUNDS", 3)
    window: dict[str, Any] = {"start": LONG_AGO, "end": LONG_AGO + timedelta(days=1)}
    with Simulator(SimulatorSettings(events=1000, total_count=False, json_rows=20, **window)) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", running.connection_uri())
        running.insert(window["end"] - timedelta(seconds=5), action="blocked", package_type="Rare")
        yield {**window, "package_types": ["Rare"], "soft_fail": True}


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_window_is_read_to_its_end_before_it_has_timed_out(rare: dict[str, Any], mode: str) -> None:
    it = sensor(**rare, mode=mode)
    # In mode reschedule each poke is another process.
    context: Any = {"task_state_store": Store()} if mode == "reschedule" else {}
    pokes = 1
    while not (value := it.poke(context)):
        it = sensor(**rare, mode=mode) if mode == "reschedule" else it
        pokes += 1
    assert value.xcom_value["count"] == 1
    assert pokes > 3


def test_between_reschedules_without_a_memory_one_poke_reads_to_the_end(rare: dict[str, Any]) -> None:
    assert sensor(**rare, mode="reschedule").poke({}).xcom_value["count"] == 1


def test_the_trigger_goes_on_where_the_sensor_stopped(rare: dict[str, Any]) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(**rare, deferrable=True, poke_interval=0.01).execute({})
    [event] = trigger_events(deferred.value.trigger)
    assert event["status"] == "found"
    assert event["batch"]["count"] == 1


@pytest.fixture
def miscounting(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The server counts one event that it never gives."""
    tail = JsonSource.tail

    def one_too_many(self: JsonSource, *args: Any) -> Any:
        page = tail(self, *args)
        return replace(page, total=page.total + 1) if page.total else page

    monkeypatch.setattr(JsonSource, "tail", one_too_many)
    return simulator


def test_a_count_that_never_agrees_fails_and_is_no_time_out(miscounting: Simulator) -> None:
    it = sensor(min_events=10_000, soft_fail=True, max_failures=2)
    # Two that may pass, and then two failures.
    for _ in range(3):
        assert not it.poke({})
    with pytest.raises(IncompleteExportError, match="401"):
        it.poke({})


def test_a_count_that_never_agrees_fails_between_reschedules(miscounting: Simulator) -> None:
    arguments: dict[str, Any] = {"min_events": 10_000, "soft_fail": True, "mode": "reschedule"}
    with pytest.raises(IncompleteExportError):
        sensor(**arguments).poke({})
    context: Any = {"task_state_store": Store()}
    for _ in range(3):
        assert not sensor(**arguments, max_failures=2).poke(context)
    with pytest.raises(IncompleteExportError):
        sensor(**arguments, max_failures=2).poke(context)


def test_a_count_that_runs_ahead_of_an_open_window_ends_no_poke(miscounting: Simulator) -> None:
    assert not sensor(min_events=10_000, end=None, mode="reschedule").poke({})


def test_a_count_that_never_agrees_is_the_triggers_fault(miscounting: Simulator) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(min_events=10_000, max_failures=2, deferrable=True, poke_interval=0.01).execute({})
    [event] = trigger_events(deferred.value.trigger)
    assert (event["status"], event["error"]) == ("fault", "IncompleteExportError")


def trigger_events(trigger: CurationBlockedEventsTrigger) -> list[dict[str, Any]]:
    """What a trigger says that is stored, and made again of what was stored."""
    _, arguments = trigger.serialize()
    stored = json.loads(json.dumps(arguments))

    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in CurationBlockedEventsTrigger(**stored).run()]

    return asyncio.run(asyncio.wait_for(collect(), 30))


# To the trigger and back


def test_a_batch_comes_back() -> None:
    batch = {"count": 1, "since": "s", "until": "u", "first_id": 1, "last_id": 1, "sample": []}
    event = {"status": "found", "batch": batch}
    assert sensor().resume_execution("execute_complete", {"event": event}, {}) == batch


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_a_time_out_comes_back(soft_fail: bool, error: type[Exception]) -> None:
    event = {"status": "timeout", "message": "The deadline has passed."}
    with pytest.raises(error):
        sensor(soft_fail=soft_fail).resume_execution("execute_complete", {"event": event}, {})


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_lasting_fault_comes_back_as_itself_and_final(soft_fail: bool) -> None:
    event = {"status": "fault", "error": "UnauthorizedError", "message": "401"}
    with pytest.raises(UnauthorizedError, match="401") as caught:
        sensor(soft_fail=soft_fail).resume_execution("execute_complete", {"event": event}, {})
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("name", ["KeyError", "CurationAuditError", "Nonsense"])
def test_an_unknown_fault_comes_back_as_a_failure(name: str) -> None:
    event = {"status": "fault", "error": name, "message": "it broke"}
    with pytest.raises(Exception, match="it broke") as caught:
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": event}, {})
    assert not isinstance(caught.value, AirflowSkipException)


@pytest.mark.parametrize("event", [None, {}, {"status": "odd"}])
def test_an_event_that_is_none_is_a_failure(event: Any) -> None:
    with pytest.raises(PollFailedError):
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": event}, {})


def test_a_trigger_that_failed_is_a_failure_whatever_soft_fail_says() -> None:
    failed = {"error": "Trigger failure", "traceback": ["Traceback ...\n", "ImportError: gone\n"]}
    with pytest.raises(PollFailedError):
        sensor(soft_fail=True).resume_execution("__fail__", failed, {})


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
def test_airflows_own_time_out_is_a_skip(error: str) -> None:
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).resume_execution("__fail__", {"error": error}, {})
