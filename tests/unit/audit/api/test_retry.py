"""How often a request is sent again, and how long the client waits."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.retry import Outage, RetryPolicy
from tests.support.audit_server import QUERY, Handler, Server, fault, make_client, ok, read, read_bytes

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def waits(policy: RetryPolicy, error: errors.RequestError, attempts: int) -> list[float]:
    """Return the waits before each try, without waiting."""
    told: list[float] = []
    client = AuditClient(requests.Session(), "http://acme.example", retry=policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", told.append)

        def fail() -> None:
            raise error

        with pytest.raises(type(error)):
            client._retrying(fail, None)
    assert len(told) == attempts - 1
    return told


@settings(UNHURRIED, max_examples=50)
@given(st.integers(1, 12), st.floats(0.01, 10), st.floats(1, 100))
def test_waits_double_with_jitter_up_to_the_longest(attempts: int, first: float, longest: float) -> None:
    policy = RetryPolicy(attempts=attempts, first_wait=first, longest_wait=longest)
    for place, wait in enumerate(waits(policy, errors.ServerFaultError(QUERY.asked, "503"), attempts)):
        assert min(first * 2**place, longest) <= wait <= min(first * 2**place + first, longest)


def test_jitter_keeps_workers_apart() -> None:
    policy = RetryPolicy(attempts=2, first_wait=1.0)
    assert len({waits(policy, errors.ThrottledError(QUERY.asked, "429"), 2)[0] for _ in range(5)}) == 5


@settings(UNHURRIED)
@given(st.floats(0, 10_000), st.floats(0, 500))
def test_retry_after_is_followed_up_to_a_bound(asked: float, longest: float) -> None:
    policy = RetryPolicy(attempts=2, first_wait=1.0, longest_retry_after=longest)
    [wait] = waits(policy, errors.ThrottledError(QUERY.asked, "429", retry_after=asked), 2)
    assert wait >= min(asked, longest)
    assert wait <= max(2.0, longest)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_taken_from_the_answer(server: Server, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(time, "sleep", told.append)
    server.answers = [fault(status, Retry_After="7"), fault(status), ok()]
    read(make_client(server))
    assert told[0] == 7
    assert told[1] < 1


def test_a_429_halves_the_requests_in_flight(server: Server) -> None:
    server.answers = [fault(503), ok(), fault(429), ok()]
    client = make_client(server, concurrency=6)
    read(client)
    assert client.concurrency == 6
    read(client)
    assert client.concurrency == 3
    assert client.most_concurrent == 6


@pytest.mark.parametrize("zipped", [False, True])
def test_waiting_ends_when_the_task_is_stopped(server: Server, zipped: bool) -> None:
    server.answers = [fault(429, Retry_After="100")]
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    begun = time.monotonic()
    client = make_client(server, retry=RetryPolicy())
    with pytest.raises(errors.StoppedError):
        read_bytes(client, stop) if zipped else read(client, stop=stop)
    assert time.monotonic() - begun < 5
    assert len(server.seen) == 1


def test_a_long_download_ends_when_the_task_is_stopped(server: Server) -> None:
    stop = threading.Event()

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for place in itertools.count():
                handler.wfile.write(bytes(100_000))
                if place == 10:
                    stop.set()
        except OSError:
            pass
        handler.close_connection = True

    server.answers = [endless]
    with pytest.raises(errors.StoppedError):
        read_bytes(make_client(server), stop)


def test_an_outage_lasts_from_the_first_failure_to_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = AuditClient(requests.Session(), "http://acme.example", retry=RetryPolicy(first_wait=20.0))
    seen: list[Outage] = []

    def note(seconds: float) -> None:
        assert client.outages.current is not None
        seen.append(client.outages.current)

    monkeypatch.setattr(time, "sleep", note)
    asked = errors.Asked("/xray")
    down, busy = errors.ServerFaultError(asked, "503 Down"), errors.ThrottledError(asked, "429 Too Many")
    tries = iter([down, busy, None])

    def ask() -> str:
        if error := next(tries):
            raise error
        return "an answer"

    assert client.outages.current is None
    assert client._retrying(ask, None) == "an answer"
    assert [outage.why for outage in seen] == ["503 Down", "429 Too Many"]
    assert seen[0].since == seen[1].since
    assert all((outage.until - outage.since).total_seconds() >= 20 for outage in seen)
    assert client.outages.current is None
