"""The trigger as an asset's watcher: killed at any moment it loses nothing, and repeats only its last batch."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_curation.audit.polling.heartbeat import HEARTBEAT_KEY
from airflow_provider_curation.simulator import Fault, NewId, Simulator, SimulatorSettings
from airflow_provider_curation.triggers import stored_cursor
from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger as Trigger
from tests.support.watcher_process import EventLog, FileStore, watch

pytestmark = pytest.mark.integration

ROUNDS = 200


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = datetime.now(timezone.utc)
    settings = SimulatorSettings(events=300, start=now - timedelta(minutes=2), end=now - timedelta(minutes=1))
    with Simulator(settings) as running:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", running.connection_uri())
        yield running


@pytest.fixture(autouse=True)
def events_are_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_cursor, "_PERSIST_SECONDS", 0.0)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_at_random_moments_it_loses_nothing_and_repeats_only_its_last_batch(
    simulator: Simulator, tmp_path: Path
) -> None:
    chance = random.Random(11)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [watch.__module__, "airflow_provider_curation.hooks.curation_audit", "tests.support.watcher_preload"]
    )
    blocked = {event["id"] for event in _truth(simulator)}
    kills_of_workers = 0
    for _ in range(ROUNDS):
        process = context.Process(target=watch, args=(str(tmp_path), simulator.connection_uri()), daemon=True)
        process.start()
        for _ in range(chance.randrange(0, 4)):
            _let_poll(simulator, chance.randrange(0, 3))
            blocked.add(_block(simulator, chance))
        _let_poll(simulator, chance.randrange(0, 4))
        time.sleep(chance.uniform(0, 0.05))
        kills_of_workers += process.is_alive()
        process.kill()
        process.join()
        for _ in range(chance.randrange(0, 3)):
            blocked.add(_block(simulator, chance))
    process = context.Process(target=watch, args=(str(tmp_path), simulator.connection_uri()), daemon=True)
    process.start()
    end = time.monotonic() + 60
    while not blocked <= _seen(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    process.kill()
    process.join()

    assert kills_of_workers == ROUNDS
    assert blocked == _seen(tmp_path)
    batches = _batches(tmp_path)
    assert len(batches) > ROUNDS / 4
    seen: set[int] = set()
    last: set[int] = set()
    repeats = 0
    for batch in batches:
        assert batch & seen <= last
        repeats += len(batch & seen)
        seen |= batch
        last = batch
    print(f"{ROUNDS} kills, {len(batches)} batches, {len(blocked)} events, {repeats} repeated")


def _let_poll(simulator: Simulator, times: int) -> None:
    """Wait until the server has answered so many more requests: how far a round gets must not hang on the machine."""
    enough = len(simulator.requests) + times
    end = time.monotonic() + 60
    while len(simulator.requests) < enough:
        assert time.monotonic() < end
        time.sleep(0.005)


def _block(simulator: Simulator, chance: random.Random) -> int:
    """A blocked event, created a little ago, visible now or soon, anywhere among the ids."""
    created = datetime.now(timezone.utc) - timedelta(seconds=chance.choice([0, 0, 0, 5, 100, 200]))
    number = chance.choice([NewId.NEXT, NewId.NEXT, NewId.BETWEEN])
    return simulator.insert(created, action="blocked", id=number, lag=chance.choice([0.0, 0.0, 0.2]))


def _truth(simulator: Simulator) -> list[dict[str, Any]]:
    now = datetime.now(timezone.utc)
    return [
        each
        for each in simulator.truth(now - timedelta(hours=1), now + timedelta(seconds=2))
        if each["action"] == "blocked"
    ]


def _batches(folder: Path) -> list[set[int]]:
    return [{event["id"] for event in payload["sample"]} for payload in EventLog(folder).payloads()]


def _seen(folder: Path) -> set[int]:
    return set().union(*_batches(folder))


# One process


class MemoryStore:
    """An asset state store, in what order its cursors were used, and each heartbeat."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.calls: list[str] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.failures = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        self.calls.append("get")
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the API server is away")
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        if key == HEARTBEAT_KEY:
            self.heartbeats.append(json.loads(json.dumps(value)))
            return
        self.calls.append("set")
        self.values[key] = json.loads(json.dumps(value))


class BlockingStore:
    """The store of Airflow 3.3.0 and 3.3.1, which has no asynchronous methods."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class SharedStore(BlockingStore):
    """The store of a trigger that several assets watch with."""

    def get(self, key: str, default: Any = None) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")

    def set(self, key: str, value: Any) -> None:
        raise ValueError("Task has 2 concrete inlets and outlets")


def new_trigger(store: Any = None, **arguments: Any) -> Trigger:
    trigger = Trigger(**{"lookback": 3600, "poll_interval": 0.02, "sample_size": 1000, **arguments})
    if store is not None:
        trigger.asset_state_store = store
    return trigger


def batches_of(trigger: Trigger, number: int, between: Callable[[], Any] = lambda: None) -> list[set[int]]:
    """The ids of the trigger's first batches; something may happen after each."""
    return [{each["id"] for each in payload["sample"]} for payload in payloads_of(trigger, number, between)]


def payloads_of(trigger: Trigger, number: int, between: Callable[[], Any] = lambda: None) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        events: AsyncIterator[Any] = trigger.run()
        async for event in events:
            found.append(event.payload)
            if len(found) == number:
                break
            between()
        await events.aclose()  # type: ignore[attr-defined]
        return found

    return asyncio.run(asyncio.wait_for(collect(), 30))


def watch_until_saved(trigger: Trigger, store: MemoryStore) -> None:
    """Let a trigger poll, without a batch, until its cursor is stored."""

    async def watch() -> None:
        events: AsyncIterator[Any] = trigger.run()
        watching = asyncio.ensure_future(anext(events))
        while not store.values:
            await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(asyncio.wait_for(watch(), 30))


@pytest.mark.parametrize("store", [MemoryStore, BlockingStore], ids=["3.3.2", "3.3.0"])
def test_another_trigger_goes_on_where_the_first_one_was(simulator: Simulator, store: Any) -> None:
    store = store()
    chance = random.Random(1)
    first, second = batches_of(new_trigger(store), 2, lambda: _block(simulator, chance))
    third = _block(simulator, random.Random(2))
    # The second batch is repeated: its cursor was not saved.
    assert batches_of(new_trigger(store), 1) == [second | {third}]
    assert first & second == set()


def test_a_cursor_is_saved_after_its_event_and_not_before(simulator: Simulator) -> None:
    store = MemoryStore()
    calls: list[list[str]] = []

    def between() -> None:
        calls.append(list(store.calls))
        _block(simulator, random.Random(1))

    batches_of(new_trigger(store), 3, between)
    assert calls == [["get"], ["get", "get", "set"]]


def test_a_store_that_is_away_is_waited_for(simulator: Simulator) -> None:
    store = MemoryStore()
    store.failures = 1
    assert batches_of(new_trigger(store), 1)[0] == {event["id"] for event in _truth(simulator)}
    assert store.calls == ["get", "get"]


def test_filters_have_cursors_of_their_own(simulator: Simulator) -> None:
    store = MemoryStore()
    batches_of(new_trigger(store), 2, lambda: _block(simulator, random.Random(1)))
    batches_of(new_trigger(store, package_types=["*"]), 2, lambda: _block(simulator, random.Random(1)))
    assert len(store.values) == 2


def test_people_are_no_longer_shown_once_that_was_switched_off(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_cursor, "_SAVE_EVERY", 0.0)
    store = MemoryStore()
    waiting = {"min_events": 2, "package_types": ["Rare"]}
    simulator.insert(datetime.now(timezone.utc), action="blocked", package_type="Rare", username="dev1")
    watch_until_saved(new_trigger(store, include_personal_fields=True, **waiting), store)
    assert "dev1" in json.dumps(store.values)
    simulator.insert(datetime.now(timezone.utc), action="blocked", package_type="Rare", username="dev2")
    [payload] = payloads_of(new_trigger(store, **waiting), 1)
    assert payload["count"] == 2
    assert "dev1" not in json.dumps(payload)
    assert "username" not in json.dumps(payload)


@pytest.mark.parametrize("store", [None, SharedStore()], ids=["none", "several assets"])
def test_without_a_store_it_warns_and_remembers_itself(
    simulator: Simulator, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Mock()
    monkeypatch.setattr(Trigger, "log", log)
    first, second = batches_of(new_trigger(store), 2, lambda: _block(simulator, random.Random(1)))
    assert first & second == set()
    [warning] = [call.args[0] for call in log.warning.call_args_list]
    assert "in memory only" in warning


def test_an_unreadable_cursor_begins_anew(simulator: Simulator) -> None:
    store = MemoryStore()
    batches_of(new_trigger(store), 2, lambda: _block(simulator, random.Random(1)))
    [key] = store.values
    store.values[key] = {"version": 99}
    [batch] = batches_of(new_trigger(store), 1)
    assert batch == {event["id"] for event in _truth(simulator)}


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.UNAVAILABLE])
def test_a_watcher_survives_faults(simulator: Simulator, fault: Fault) -> None:
    simulator.fail_next(fault, times=4)
    assert batches_of(new_trigger(MemoryStore()), 1)[0] == {event["id"] for event in _truth(simulator)}


def test_a_watcher_leaves_a_heartbeat_of_polls_batches_and_faults(simulator: Simulator) -> None:
    simulator.fail_next(Fault.UNAUTHORIZED, times=4)
    store = MemoryStore()
    before = datetime.now(timezone.utc).replace(microsecond=0)

    batches_of(new_trigger(store), 1)

    refused, found = store.heartbeats
    assert refused == {"polled": None, "found": None, "failed": refused["failed"], "error": "UnauthorizedError"}
    assert found["polled"] == found["found"]
    assert before <= datetime.fromisoformat(found["polled"].replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    # What went wrong last is still told.
    assert found["error"] == "UnauthorizedError"


@pytest.mark.parametrize("store", [BlockingStore, SharedStore])
def test_a_heartbeat_goes_where_there_is_a_store_for_it(simulator: Simulator, store: Any) -> None:
    store = store()
    batches_of(new_trigger(store), 1)
    assert (HEARTBEAT_KEY in store.values) == (type(store) is BlockingStore)


def test_a_file_store_is_a_store(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    asyncio.run(store.aset("key", {"a": 1}))
    assert asyncio.run(FileStore(tmp_path).aget("key")) == {"a": 1}
