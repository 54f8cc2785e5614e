"""Work that goes on to the end of its call, whatever a signal's handler raises in the main thread."""

from __future__ import annotations

import _thread
import contextvars
import logging
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_curation.transfers.shielded import shielded

pytestmark = pytest.mark.timeout(30)

SETTING: contextvars.ContextVar[str] = contextvars.ContextVar("setting")


class TimedOut(BaseException):
    """Stands for what Airflow raises in a task that takes too long."""


@pytest.fixture
def alarm() -> Iterator[Any]:
    """Sets an alarm, whose handler raises in the main thread; from within the work, so that this has begun."""

    def ring(number: int, frame: Any) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds=0.05: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_gives_what_the_work_returns() -> None:
    stop = threading.Event()
    assert shielded(lambda: 7, stop) == 7
    assert not stop.is_set()


def test_raises_what_the_work_raises() -> None:
    stop = threading.Event()

    def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        shielded(work, stop)
    assert not stop.is_set()


def test_the_work_has_the_callers_context() -> None:
    SETTING.set("of the task")
    assert shielded(SETTING.get, threading.Event()) == "of the task"


def test_what_is_raised_meanwhile_waits_for_the_call_and_its_cleaning_up(alarm: Any) -> None:
    stop, steps = threading.Event(), []

    def work() -> None:
        alarm()
        steps.append("call")
        # A call that goes on for a while after the alarm, as one that S3 will carry out.
        assert stop.wait(20)
        steps.append("answer")
        steps.append("cleaned up")
        raise RuntimeError("stopped")

    with pytest.raises(TimedOut):
        shielded(work, stop)
    assert steps == ["call", "answer", "cleaned up"]


def test_the_work_that_ends_in_spite_of_it_has_ended_before_it_is_raised(alarm: Any) -> None:
    stop, done = threading.Event(), []

    def work() -> str:
        alarm()
        assert stop.wait(20)
        done.append(True)
        return "written"

    with pytest.raises(TimedOut):
        shielded(work, stop)
    assert done == [True]


def test_it_does_not_wait_for_ever(alarm: Any, caplog: pytest.LogCaptureFixture) -> None:
    stop, answer = threading.Event(), threading.Event()

    def work() -> None:
        alarm()
        answer.wait(20)

    with caplog.at_level(logging.WARNING), pytest.raises(TimedOut):
        shielded(work, stop, patience=0.05)
    assert stop.is_set()
    assert "cleans up when that call has ended" in caplog.text
    answer.set()


@pytest.mark.parametrize("begun", [False, True], ids=["before its thread runs", "when its thread runs"])
def test_what_is_raised_while_the_work_is_handed_over_keeps_it_from_beginning(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _thread.start_new_thread

    def cut(*arguments: Any) -> None:
        if begun:
            start(*arguments)
        raise TimedOut

    monkeypatch.setattr(_thread, "start_new_thread", cut)
    done: list[bool] = []
    before = _thread._count()
    with pytest.raises(TimedOut):
        shielded(lambda: done.append(True), threading.Event())
    deadline = time.monotonic() + 20
    while _thread._count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _thread._count() <= before
    assert done == []
