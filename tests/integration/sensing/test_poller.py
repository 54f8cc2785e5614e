"""The poller: every wanted event once, at the price of what is new, whatever becomes visible when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.errors import (
    IncompleteExportError,
    NotEntitledError,
    RequestError,
    ServerFaultError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.polling import poller as module
from airflow_provider_curation.audit.polling.batch import Batch
from airflow_provider_curation.audit.polling.poller import Poller
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.simulator import Fault, NewId, Simulator, SimulatorSettings

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 9, 12, tzinfo=timezone.utc)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
ANY = EventFilter()
BLOCKED = EventFilter.of(actions=["blocked"])


@dataclass
class Clock:
    """The time of the simulated server; the polls' clock may differ."""

    now: datetime = NOON
    apart: timedelta = timedelta(0)

    def forward(self, by: timedelta) -> None:
        self.now += by


@dataclass
class Watched:
    """A poller and the server that it polls."""

    simulator: Simulator
    clock: Clock
    poller: Poller
    client: AuditClient
    found: list[Batch] = field(default_factory=list)

    def poll(self) -> Batch | None:
        self.simulator.reset_log()
        batch = self.poller.poll(self.clock.now + self.clock.apart)
        if batch:
            self.found.append(batch)
        return batch

    def cost(self) -> tuple[int, int]:
        """Requests and rows of the last poll."""
        requests = self.simulator.requests
        return len(requests), sum(request.rows for request in requests)

    def restart(self) -> None:
        """Make another poller of the cursor, as it comes back from a database."""
        state = json.loads(json.dumps(self.poller.state()))
        self.poller = Poller.of(self.client, self.poller.search, state=state)

    def block(self, ago: timedelta = timedelta(0), **fields: Any) -> int:
        return self.simulator.insert(self.clock.now - ago, **{"action": "blocked", **fields})

    def truth(self, start: datetime = NOON - 30 * DAY, end: datetime | None = None) -> list[int]:
        """The ids of the blocked events."""
        events = self.simulator.truth(start, end or self.clock.now + SECOND)
        return [event["id"] for event in events if event["action"] == "blocked"]

    @property
    def ids(self) -> list[int]:
        """The ids of the samples, batch after batch."""
        return [event["id"] for batch in self.found for event in batch.sample]


class Factory:
    """Starts simulators, and stops them at the end."""

    def __init__(self) -> None:
        self.running: list[Simulator] = []

    def __call__(self, search: dict[str, Any] | None = None, page_size: int = 2000, **settings: Any) -> Watched:
        clock = Clock()
        chosen = {"events": 0, "start": NOON - DAY, "end": NOON, "now": lambda: clock.now, **settings}
        simulator = Simulator(SimulatorSettings(**chosen)).start()
        self.running.append(simulator)
        client = AuditClient(PlatformSession(), simulator.url, retry=RetryPolicy(attempts=1))
        arguments = {"start": NOON - MINUTE, "wanted": BLOCKED, "sample_size": 1_000_000, **(search or {})}
        return Watched(simulator, clock, Poller.of(client, Search(**arguments), page_size=page_size), client)


@pytest.fixture
def watched() -> Iterator[Factory]:
    factory = Factory()
    yield factory
    for simulator in factory.running:
        simulator.stop()


# What a poll costs


def test_an_hour_of_quiet_is_one_small_request_a_poll(watched: Factory) -> None:
    it = watched(events=500, start=NOON - 10 * MINUTE, search={"start": NOON - 10 * MINUTE})
    assert it.poll() is not None
    for _ in range(120):
        it.clock.forward(30 * SECOND)
        assert it.poll() is None
        requests, rows = it.cost()
        assert requests == 1
        assert rows <= 1


def test_a_server_without_any_event_is_asked_for_its_entitlement_once_an_hour(watched: Factory) -> None:
    it = watched()
    requests = 0
    for _ in range(120):
        it.poll()
        requests += it.cost()[0]
        it.clock.forward(30 * SECOND)
    assert requests == 120 + 1


def test_one_new_event_is_one_request_and_itself(watched: Factory) -> None:
    it = watched(events=500, start=NOON - MINUTE)
    it.poll()
    it.clock.forward(30 * SECOND)
    number = it.block(3 * SECOND)
    batch = it.poll()
    assert batch is not None
    assert it.cost() == (1, 2)
    assert (batch.count, batch.first_id, batch.last_id) == (1, number, number)
    assert batch.since == it.clock.now - 3 * SECOND
    assert batch.until == it.clock.now - 2 * SECOND
    assert it.poll() is None


def test_a_burst_of_approved_events_is_read_once(watched: Factory) -> None:
    nothing = EventFilter.of(["none"])
    it = watched(events=100_000, start=NOON + MINUTE, end=NOON + 2 * MINUTE, search={"wanted": nothing})
    it.poll()
    it.clock.forward(90 * SECOND)
    it.poll()
    first = it.cost()
    it.clock.forward(60 * SECOND)
    it.poll()
    second = it.cost()
    assert 100_000 <= first[1] + second[1] <= 110_000
    assert first[0] + second[0] <= 100_000 / 1999 + 25
    for _ in range(12):
        it.clock.forward(30 * SECOND)
        it.poll()
        requests, rows = it.cost()
        assert requests == 1
        assert rows <= 1


def test_what_is_remembered_does_not_grow(watched: Factory) -> None:
    it = watched(events=40_000, start=NOON, end=NOON + 6 * HOUR, search={"wanted": ANY, "sample_size": 5})
    sizes = []
    for _ in range(37):
        it.clock.forward(10 * MINUTE)
        it.poll()
        sizes.append(len(json.dumps(it.poller.state())))
    assert sum(batch.count for batch in it.found) == 40_000
    assert max(sizes) < 20_000


def test_a_month_is_read_in_requests_that_a_server_answers(watched: Factory) -> None:
    it = watched(events=30_000, start=NOON - 29 * DAY, search={"start": NOON - 30 * DAY, "sample_size": 1})
    batch = it.poll()
    assert batch is not None
    assert batch.count == len(it.truth())
    assert len(json.dumps(it.poller.state())) < 10_000
    it.clock.forward(30 * SECOND)
    assert it.poll() is None
    requests, rows = it.cost()
    assert (requests, rows) <= (1, 1)


# What becomes visible late, or not at all


@pytest.mark.parametrize("number", list(NewId), ids=lambda number: number.value)
@pytest.mark.parametrize("ago", [1, 100, 299])
def test_a_late_event_is_found(watched: Factory, number: NewId, ago: int) -> None:
    it = watched(events=3000, start=NOON - 6 * MINUTE, search={"start": NOON - 6 * MINUTE})
    it.poll()
    late = it.block(ago * SECOND, id=number)
    assert it.poll() is not None
    assert late in it.ids
    assert sorted(it.ids) == it.truth()


def test_a_late_event_within_a_burst_is_found_without_reading_the_burst_again(watched: Factory) -> None:
    it = watched(events=60_000, start=NOON - 2 * MINUTE, search={"start": NOON - 2 * MINUTE})
    it.poll()
    late = it.block(40 * SECOND, id=NewId.BETWEEN)
    batch = it.poll()
    assert batch is not None
    assert [event["id"] for event in batch.sample] == [late]
    requests, rows = it.cost()
    assert rows < 6000
    assert requests < 30


def test_a_deleted_event_is_no_obstacle(watched: Factory) -> None:
    it = watched(events=300, start=NOON - MINUTE)
    it.poll()
    it.simulator.delete(NOON - 30 * SECOND)
    assert it.poll() is None
    it.block()
    assert it.poll() is not None
    assert it.poll() is None
    assert it.cost() == (1, 1)


def test_events_that_are_late_as_a_rule_are_all_found(watched: Factory) -> None:
    search = {"wanted": ANY, "start": NOON - MINUTE}
    late = {"late_rate": 0.3, "late_by": 4 * MINUTE}
    it = watched(search, page_size=50, events=4000, start=NOON, end=NOON + HOUR, **late)
    for _ in range(66):
        it.clock.forward(MINUTE)
        it.poll()
    assert len(it.ids) == len(set(it.ids)) == 4000


@pytest.mark.parametrize("minutes", [-50, -1, 1, 50])
def test_clocks_may_be_apart(watched: Factory, minutes: int) -> None:
    it = watched(search={"start": NOON - DAY})
    it.clock.apart = minutes * MINUTE
    blocked = []
    for step in range(400):
        it.poll()
        it.clock.forward(30 * SECOND)
        if step % 37 == 0 or 200 < step < 220:
            blocked.append(it.block())
    it.clock.forward(HOUR)
    it.poll()
    assert it.ids == blocked


# Servers


@pytest.mark.parametrize(
    "settings",
    [
        {"total_count": False},
        {"json_rows": 7},
        {"end_bound": "inclusive"},
        {"short_page_every": 3, "short_page_by": 5},
        {"gzip": True},
    ],
    ids=str,
)
def test_servers_may_differ(watched: Factory, settings: dict[str, Any]) -> None:
    end = NOON + 40 * MINUTE
    it = watched({"wanted": ANY, "end": end}, page_size=50, events=2000, start=NOON, end=NOON + HOUR, **settings)
    for step in range(60):
        it.clock.forward(MINUTE)
        if step % 10 == 5:
            it.block(2 * MINUTE, id=NewId.BETWEEN)
        it.poll()
    assert sorted(it.ids) == [event["id"] for event in it.simulator.truth(NOON - MINUTE, end)]
    assert it.poller.search.over(it.clock.now)


def test_faults_at_any_request_lose_and_repeat_nothing(watched: Factory) -> None:
    faulty = {"fault_rate": 0.15, "late_rate": 0.05, "hang": 0.1}
    it = watched({"wanted": ANY}, page_size=100, events=2000, start=NOON, end=NOON + HOUR, **faulty)
    faults = 0
    for _ in range(430):
        it.clock.forward(10 * SECOND)
        try:
            it.poll()
        except (RequestError, IncompleteExportError):
            faults += 1
    assert faults > 50
    assert len(it.ids) == len(set(it.ids)) == 2000


def test_a_server_that_is_not_entitled_is_a_fault(watched: Factory) -> None:
    it = watched(entitled=False)
    with pytest.raises(NotEntitledError):
        it.poll()


def test_a_fault_is_raised_and_the_next_poll_goes_on(watched: Factory) -> None:
    it = watched()
    number = it.block()
    it.simulator.fail_next(Fault.UNAVAILABLE)
    with pytest.raises(ServerFaultError):
        it.poll()
    it.poll()
    assert it.ids == [number]


def test_a_stream_that_does_not_end_is_read_in_parts(watched: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 2)
    it = watched(events=500, start=NOON - MINUTE, page_size=50, total_count=False)
    for _ in range(30):
        it.poll()
    assert it.ids == it.truth()


# The cursor and the batch


def test_the_cursor_survives_json(watched: Factory) -> None:
    random = Random(3)
    it = watched({"min_events": 40, "start": NOON}, events=2000, start=NOON, end=NOON + HOUR, late_rate=0.05)
    for _ in range(150):
        it.clock.forward(random.randrange(1, 60) * SECOND)
        it.poll()
        it.restart()
    assert all(batch.count >= 40 for batch in it.found)
    ids, truth = it.ids, it.truth()
    assert len(ids) == len(set(ids))
    assert len(truth) - 40 < len(ids) <= len(truth)
    assert set(ids) <= set(truth)


def test_a_cursor_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        Poller(None, Search(NOON), {"version": 99})  # type: ignore[arg-type]


def test_the_sample_is_small_and_shows_nobody(watched: Factory) -> None:
    it = watched(events=4000, start=NOON - MINUTE, search={"sample_size": 3})
    batch = it.poll()
    assert batch is not None
    lowest = it.truth()
    assert [event["id"] for event in batch.sample] == lowest[:3]
    assert (batch.count, batch.first_id, batch.last_id) == (len(lowest), lowest[0], lowest[-1])
    assert all("username" not in event and "user_mail" not in event for event in batch.sample)
    assert json.loads(json.dumps(batch.as_dict())) == batch.as_dict()


def test_personal_fields_on_request(watched: Factory) -> None:
    it = watched(search={"personal_fields": True})
    it.block(username="dev1", user_mail="dev1@acme.example")
    batch = it.poll()
    assert batch is not None
    assert batch.sample[0]["username"] == "dev1"


def test_no_sample(watched: Factory) -> None:
    it = watched(search={"sample_size": 0})
    it.block()
    batch = it.poll()
    assert batch is not None
    assert batch.as_dict()["sample"] == []
    assert batch.count == 1


def test_filters(watched: Factory) -> None:
    it = watched(search={"wanted": EventFilter.of(["blocked"], ["np*"], ["*-remote"], ["7", "malicious*"])})
    fits: dict[str, Any] = {
        "package_type": "npm",
        "curated_repository_name": "a-remote",
        "policies": [{"policy_id": 7}],
    }
    fitting = [it.block(**fits), it.block(**{**fits, "policies": [{"policy_name": "malicious-x"}]})]
    it.block(**{**fits, "package_type": "PyPI"})
    it.block(**{**fits, "curated_repository_name": "local"})
    it.block(**{**fits, "policies": [{"policy_id": 8}]})
    it.block(**{**fits, "policies": None})
    it.block(**{**fits, "action": "approved"})
    it.poll()
    assert it.ids == fitting


def test_events_wait_for_their_number(watched: Factory) -> None:
    it = watched(search={"min_events": 3})
    numbers = []
    for _ in range(3):
        assert it.poll() is None
        it.clock.forward(10 * MINUTE)
        numbers.append(it.block())
    batch = it.poll()
    assert batch is not None
    assert it.ids == numbers
    assert batch.since == it.clock.now - 20 * MINUTE


def test_bounds_are_half_open(watched: Factory) -> None:
    it = watched(search={"start": NOON, "end": NOON + MINUTE})
    it.clock.forward(2 * MINUTE)
    inside = [it.block(2 * MINUTE), it.block(61 * SECOND)]
    it.block(121 * SECOND)
    it.block(60 * SECOND)
    it.poll()
    assert it.ids == inside


def test_before_the_start_nothing_is_asked(watched: Factory) -> None:
    it = watched(search={"start": NOON + HOUR})
    assert it.poll() is None
    assert it.cost() == (0, 0)
