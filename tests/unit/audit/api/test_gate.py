"""How many requests of a client are in flight, and in which order they go on after a refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from airflow_provider_curation.audit.api.gate import Gate
from airflow_provider_curation.audit.errors import StoppedError
from tests.support.audit_server import Server, fault, make_client, ok, read


def await_that(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class InFlight:
    """Holds what is in flight until it is let go, and notes in which order it began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go = threading.Semaphore(0)

    def hold(self, name: str) -> None:
        self.begun.append(name)
        assert self._go.acquire(timeout=20)

    def let_go(self, count: int = 1) -> None:
        self._go.release(count)


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.parametrize("most", [1, 2, 4])
def test_no_more_requests_are_in_flight_than_allowed(most: int) -> None:
    gate, held = Gate(most), InFlight()

    def ask(name: str) -> None:
        with gate.request(None), gate.attempt(None):
            held.hold(name)

    with threads() as pool:
        for name in "abcdefgh":
            pool.submit(ask, name)
        for done in range(8):
            await_that(lambda done=done: len(held.begun) == min(8, done + most))  # type: ignore[misc]
            time.sleep(0.005)
            assert len(held.begun) == min(8, done + most)
            held.let_go()


def test_a_refused_request_goes_on_before_new_ones_and_under_the_new_limit() -> None:
    """Four are in flight, one is refused: two may be. It waits until but one is left, and no new one comes first."""
    gate, held = Gate(4), InFlight()
    refuse = threading.Event()

    def ask(name: str) -> None:
        with gate.request(None), gate.attempt(None):
            held.hold(name)

    def ask_twice() -> None:
        with gate.request(None):
            with gate.attempt(None) as attempt:
                held.begun.append("refused")
                assert refuse.wait(20)
                attempt.refused = True
            with gate.attempt(None):
                held.hold("again")

    with threads() as pool:
        for name in "abc":
            pool.submit(ask, name)
        pool.submit(ask_twice)
        await_that(lambda: len(held.begun) == 4)
        pool.submit(ask, "new")
        refuse.set()
        await_that(lambda: gate.limit == 2)
        held.let_go()
        time.sleep(0.005)
        assert len(held.begun) == 4
        held.let_go()
        await_that(lambda: held.begun[4:] == ["again"])
        held.let_go(2)
        await_that(lambda: held.begun[4:] == ["again", "new"])
        held.let_go()


@pytest.mark.parametrize("sent", [False, True])
def test_waiting_for_a_turn_ends_when_the_task_is_stopped(sent: bool) -> None:
    gate, stop = Gate(1), threading.Event()
    stop.set()
    turn = gate.attempt(stop) if sent else gate.request(stop)
    with gate.request(None), gate.attempt(None), pytest.raises(StoppedError), turn:
        pytest.fail("It had its turn.")


def test_an_error_gives_the_place_back() -> None:
    gate = Gate(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.request(None), gate.attempt(None):
            raise ZeroDivisionError
    with gate.request(None), gate.attempt(None):
        pass


def test_answers_that_take_twice_as_long_halve_the_requests_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, now = Gate(4), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def ask(seconds: float) -> None:
        with gate.request(None), gate.attempt(None) as attempt:
            now[0] += seconds
            attempt.size = 1000

    for _ in range(20):
        ask(1.0)
    assert gate.limit == 4
    for _ in range(8):
        ask(2.0)
    assert gate.limit == 2


def test_a_client_that_is_refused_keeps_to_the_new_limit(server: Server) -> None:
    server.answers = [fault(429), *(ok() for _ in range(9))]
    client = make_client(server, concurrency=4)
    with threads() as pool:
        for answer in [pool.submit(read, client) for _ in range(9)]:
            answer.result(timeout=60)
    assert client.concurrency == 2
