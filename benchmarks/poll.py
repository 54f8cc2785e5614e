"""What polling for blocked events costs: requests and rows for each poll, and an event loop with 200 triggers.

Run it with ``python benchmarks/poll.py``; it prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")

from bench.endpoint import TOKEN
from bench.processes import run, server

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.polling.poller import Poller
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.simulator import NewId, Simulator, SimulatorSettings

NOON = datetime(2026, 3, 9, 12, tzinfo=timezone.utc)
EVERY = timedelta(seconds=30)


# Requests and rows


@dataclass
class Cost:
    """What some polls cost in total."""

    polls: int = 0
    requests: int = 0
    rows: int = 0
    found: int = 0
    seconds: float = 0.0

    def line(self, what: str) -> str:
        return (
            f"{what:<58} {self.polls:>5} {self.requests:>8} {self.requests / self.polls:>10.2f} {self.rows:>8}"
            f" {self.rows / self.polls:>9.1f} {self.found:>7} {1000 * self.seconds / self.polls:>8.1f}"
        )


HEAD = f"{'':<58} {'polls':>5} {'requests':>8} {'a poll':>10} {'rows':>8} {'a poll':>9} {'found':>7} {'ms/poll':>8}"


class Scene:
    """A poll every 30 s, on a clock that the scene moves."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOON
        chosen = {"events": 0, "start": NOON - timedelta(days=1), "end": NOON, "now": lambda: self.now, **settings}
        self.simulator = Simulator(SimulatorSettings(**chosen)).start()
        client = AuditClient(PlatformSession(), self.simulator.url)
        search = Search(NOON - timedelta(minutes=5), wanted=EventFilter.of(["blocked"]))
        self.poller = Poller.of(client, search)

    def poll(self, times: int = 1, before: Callable[[], Any] = lambda: None) -> Cost:
        cost = Cost()
        for _ in range(times):
            self.now += EVERY
            before()
            self.simulator.reset_log()
            begin = time.perf_counter()
            batch = self.poller.poll(self.now)
            cost.seconds += time.perf_counter() - begin
            requests = self.simulator.requests
            cost.polls += 1
            cost.requests += len(requests)
            cost.rows += sum(request.rows for request in requests)
            cost.found += batch.count if batch else 0
        return cost


def costs() -> Iterator[tuple[str, Cost]]:
    """Yield the costs of polls in typical situations."""
    hour = timedelta(hours=1)
    quiet = Scene(events=200, start=NOON - timedelta(minutes=4))
    quiet.poll()
    yield "an hour of quiet", quiet.poll(120)

    month = Scene(events=1400, start=NOON, end=NOON + hour)
    month.poll()
    yield "an hour of a tenant with a million events a month", month.poll(120)

    late = Scene(events=1400, start=NOON, end=NOON + hour, late_rate=0.02)
    late.poll()
    yield "the same, 2% of the events visible two minutes late", late.poll(124)

    burst = Scene(events=100_000, start=NOON + timedelta(seconds=31), end=NOON + timedelta(seconds=59))
    burst.poller = Poller(burst.poller._source, Search(NOON, wanted=EventFilter.of(["no such action"])))
    burst.poller._source._wanted = EventFilter.of(["no such action"])
    burst.poll()
    yield "the poll of a burst of 100,000 events, none wanted", burst.poll()
    yield "the ten minutes after it", burst.poll(20)
    inserted = [burst.simulator.insert(NOON + timedelta(minutes=10), action="approved") for _ in range(3)]
    yield f"a poll of {len(inserted)} more", burst.poll()

    late_burst = Scene(events=100_000, start=NOON + timedelta(seconds=31), end=NOON + timedelta(seconds=59))
    late_burst.poll(2)
    late_burst.simulator.insert(NOON + timedelta(seconds=45), action="blocked", id=NewId.BETWEEN)
    yield "one late blocked event among 100,000", late_burst.poll()
    for scene in (quiet, month, late, burst, late_burst):
        scene.simulator.stop()


# The event loop


@dataclass(frozen=True)
class Lag:
    """How late a timer of 10 ms was, in milliseconds.

    :param busy: the longest that the event loop's thread computed between two calls of the timer: the delay that
        its own work causes, whatever other processes do to the machine.
    :param idle: the worst before the first trigger started.
    """

    triggers: int
    polls: int
    seconds: float
    worst: float
    high: float
    median: float
    busy: float
    idle: float

    def __str__(self) -> str:
        return (
            f"{self.triggers} triggers in one event loop, {self.polls} polls in {self.seconds:.0f} s: a timer is late "
            f"by {self.median:.1f} ms (median), {self.high:.1f} ms (99.9%), {self.worst:.1f} ms (worst; "
            f"{self.idle:.1f} ms with no trigger at all); its thread computed for {self.busy:.1f} ms at a time (worst)"
        )


async def _lags(seconds: float) -> tuple[list[float], float]:
    """Return how late a timer was, ascending, and the longest the thread computed between two calls."""
    found, busy = [], 0.0
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        computed = time.thread_time()
        await asyncio.sleep(0.01)
        busy = max(busy, 1000 * (time.thread_time() - computed))
        found.append(1000 * (time.perf_counter() - begin - 0.01))
    return sorted(found), busy


async def _loop_lag(triggers: int, seconds: float, interval: float) -> Lag:
    from airflow_provider_curation.triggers import curation_audit

    polls = 0

    class Counting(curation_audit.CurationBlockedEventsTrigger):
        # A line for each trigger would say nothing here.
        log = logging.getLogger("silent")  # type: ignore[assignment]

        async def _look(self) -> Any:
            nonlocal polls
            outcome = await super()._look()
            if outcome.error is not None:
                raise outcome.error
            polls += 1
            return outcome

    async def run() -> None:
        async for _ in Counting(lookback=300, poll_interval=interval).run():
            pass

    idle, _ = await _lags(min(5.0, seconds / 4))
    tasks = [asyncio.create_task(run()) for _ in range(triggers)]
    late, busy = await _lags(seconds)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Lag(triggers, polls, seconds, late[-1], late[int(len(late) * 0.999)], late[len(late) // 2], busy, idle[-1])


def loop_lag(triggers: int = 200, seconds: float = 65.0, interval: float = 30.0) -> Lag:
    """Run triggers as a triggerer does, in one event loop, and measure how late its timers are."""
    import airflow_provider_curation.hooks.curation_audit  # noqa: F401
    from airflow_provider_curation.compat import connection_for_trigger

    logging.disable(logging.WARNING)
    now = datetime.now(timezone.utc)
    begin, end = ((now + timedelta(minutes=minutes)).isoformat() for minutes in (-5, 10))
    random.seed(5)
    with server("bench.endpoint", "--events", "1000", "--start", begin, "--end", end) as endpoint:
        connection = {"conn_type": "jfrog_curation", "host": endpoint.url, "password": TOKEN}
        os.environ["AIRFLOW_CONN_CURATION_DEFAULT"] = json.dumps(connection)
        # A running triggerer has imported all of this.
        asyncio.run(connection_for_trigger("curation_default"))
        # A garbage collection of all that Airflow has imported takes longer than anything measured here.
        gc.collect()
        gc.freeze()
        return asyncio.run(_loop_lag(triggers, seconds, interval))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=65.0, help="how long the event loop is watched")
    arguments = parser.parse_args()
    print(HEAD)
    for what, cost in costs():
        print(cost.line(what), flush=True)
    print(loop_lag(arguments.triggers, arguments.seconds))
    return 0


if __name__ == "__main__":
    run(main)
