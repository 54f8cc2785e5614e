"""Processes and servers that die in the middle of an export: afterwards every window is whole, and nothing is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count

import pytest

from airflow_provider_curation.simulator import Simulator
from airflow_provider_curation.simulator.replies import Reply, Request
from tests.support.s3_proxy import Failure
from tests.system.deployment import LARGE_EVENTS, Deployment, Gate, Span
from tests.system.markers import PACKAGE, plant
from tests.system.processes import eventually

pytestmark = [pytest.mark.system, pytest.mark.integration, pytest.mark.timeout(600)]

PART = "PUT object uploadId partNumber"
OUTAGE = 60.0


def _span(deployed: Deployment) -> Span:
    """A window of several parts that no other scenario has."""
    deployed.mortal.append((deployed.day(-2) + timedelta(minutes=len(deployed.mortal)), deployed.day(-1)))
    return deployed.mortal[-1]


@contextmanager
def _in_the_middle(deployed: Deployment) -> Iterator[tuple[str, Gate]]:
    """A run whose export waits for S3 to take its first part; it goes on when the gate is opened."""
    with Gate(deployed.s3, PART) as gate:
        run = deployed.trigger("mortal", _span(deployed))
        gate.reached()
        assert len(deployed.bucket.uploads()) == 1
        yield run, gate


def _assert_whole(deployed: Deployment, run: str) -> None:
    assert deployed.ended("mortal", run, 300) == "success"
    deployed.assert_complete("mortal", deployed.mortal, server=deployed.busy, suffix=".jsonl")


def test_a_task_is_killed_in_the_middle_of_an_upload(deployed: Deployment) -> None:
    with _in_the_middle(deployed) as (run, gate):
        [task] = deployed.airflow.talking_to(deployed.s3.port)
        task.kill()
        gate.release(drop=True)
    assert len(deployed.bucket.uploads()) == 1, "the upload that the next try has to abort"
    _assert_whole(deployed, run)
    assert deployed.tries("mortal", run) == 2


def test_the_scheduler_is_killed_with_its_tasks(deployed: Deployment) -> None:
    with _in_the_middle(deployed) as (run, gate):
        assert deployed.airflow.talking_to(deployed.s3.port), "the task that is killed"
        deployed.airflow.kill("scheduler")
        assert deployed.airflow.talking_to(deployed.s3.port) == []
        gate.release(drop=True)
    assert len(deployed.bucket.uploads()) == 1, "the upload that the next try has to abort"
    deployed.airflow.start("scheduler")
    _assert_whole(deployed, run)
    assert deployed.tries("mortal", run) == 2


def test_the_scheduler_is_killed_and_its_task_lives_on_beside_the_next_try(deployed: Deployment) -> None:
    """The new scheduler starts the task again while the orphan is still in its upload: two exports of one window."""
    with _in_the_middle(deployed) as (run, gate):
        deployed.airflow.kill("scheduler", alone=True)
        deployed.airflow.start("scheduler")
        assert deployed.ended("mortal", run, 150) == "success"
        assert deployed.tries("mortal", run) == 2
        assert deployed.airflow.talking_to(deployed.s3.port), "the orphan in its upload"
        gate.release()
        # What the orphan still does, it does now.
        eventually(lambda: not deployed.airflow.talking_to(deployed.s3.port), 120, "end of the orphan")
    _assert_whole(deployed, run)


def test_the_triggerer_is_killed_in_the_middle_of_a_deferral(deployed: Deployment) -> None:
    run = deployed.trigger("wait", conf={"start": datetime.now(timezone.utc).isoformat()})
    eventually(lambda: deployed.airflow.state("wait", "wait") == "deferred", 120, "sensor in the triggerer")
    asked = len(deployed.server.requests)
    eventually(lambda: len(deployed.server.requests) > asked, 120, "poll of the triggerer")
    deployed.airflow.kill("triggerer")
    number = plant(deployed.server, datetime.now(timezone.utc))
    deployed.airflow.start("triggerer")
    assert deployed.ended("wait", run) == "success"
    batch = deployed.xcom("wait", run, "wait")
    assert (batch["count"], batch["first_id"], batch["last_id"]) == (1, number, number)
    assert [event["package_name"] for event in batch["sample"]] == [PACKAGE]


def test_the_triggerer_is_killed_while_a_window_settles(deployed: Deployment) -> None:
    end = datetime.now(timezone.utc).replace(microsecond=0)
    span = (end - timedelta(days=2), end)
    run = deployed.trigger("settle", conf={"start": span[0].isoformat(), "end": span[1].isoformat()})
    eventually(lambda: deployed.airflow.state("settle", "export") == "deferred", 120, "export in the triggerer")
    deployed.airflow.kill("triggerer")
    # What settling is for: an event of the window that the server shows late.
    deployed.server.insert(end - timedelta(seconds=1), action="approved")
    assert deployed.under("settle") == []
    deployed.airflow.start("triggerer")
    assert deployed.ended("settle", run) == "success"
    # In however many tries: a busy Airflow 3.3 may fail a deferred task, which is why deferrable tasks need retries.
    deployed.assert_complete("settle", [span])


def test_postgresql_is_restarted(deployed: Deployment) -> None:
    with _in_the_middle(deployed) as (run, gate):
        deployed.postgres.stop()
        gate.release()
        time.sleep(5)
        deployed.postgres.start()
    deadline = time.monotonic() + 300
    while deployed.run_state("mortal", run) not in ("success", "failed") and time.monotonic() < deadline:
        # A component may end without its database; what runs it starts it again.
        if ended := deployed.airflow.revive():
            print("Started again:", ended)
        time.sleep(1)
    _assert_whole(deployed, run)
    # A component that ends late is missed by the next scenario.
    calm = time.monotonic() + 10
    while time.monotonic() < calm:
        if deployed.airflow.revive():
            calm = time.monotonic() + 10
        time.sleep(1)


@contextmanager
def _answering(server: Simulator, number: int) -> Iterator[threading.Event]:
    """Have a server answer so many requests, and keep others waiting until it stops; the event says that some do."""
    handle, waits, numbers = server.app.handle, threading.Event(), count(1)

    def answer(request: Request) -> Reply:
        if next(numbers) <= number:
            return handle(request)
        waits.set()
        server.app.stopping.wait(180)
        raise ConnectionAbortedError("the server has stopped")

    server.app.handle = answer  # type: ignore[method-assign]
    try:
        yield waits
    finally:
        server.app.handle = handle  # type: ignore[method-assign]


def test_the_server_is_down_for_a_minute(deployed: Deployment) -> None:
    def rows() -> int:
        return sum(request.rows for request in deployed.large.requests)

    span = (deployed.day(-2), deployed.day(-1))
    # The count, all pages of the first half, and some of the other one.
    with _answering(deployed.large, 16) as waits:
        run = deployed.trigger("outage", span)
        assert waits.wait(180)
        eventually(deployed.bucket.uploads, 120, "first part of the upload")
        deployed.large.stop()
    read = rows()
    assert LARGE_EVENTS / 2 <= read < LARGE_EVENTS
    time.sleep(OUTAGE)
    deployed.large.start()
    assert deployed.ended("outage", run, 300) == "success"
    assert rows() > read
    assert "Try 2 of 8 failed" in deployed.task_logs("outage")
    assert deployed.tries("outage", run) == 1
    deployed.assert_complete("outage", [span], server=deployed.large, suffix=".jsonl")


def test_s3_answers_503_for_a_while(deployed: Deployment) -> None:
    with _in_the_middle(deployed) as (run, gate):
        deployed.s3.outage = Failure.SLOW_DOWN
        try:
            gate.release()
            eventually(lambda: deployed.tries("mortal", run) >= 3, 120, "second try")
        finally:
            deployed.s3.outage = None
    _assert_whole(deployed, run)
