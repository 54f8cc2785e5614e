"""The same, with an exception at every single instruction of the main thread: none goes unheard by the work."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from airflow_provider_curation.transfers.shielded import shielded

# Not among the tests of every change: CPython 3.11 itself has crashed when a trace function raised between two
# instructions, which ends the worker, and with it the run.
pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

#: More instructions than hand-over, waiting and return are made of.
MOST = 1000
#: How long the main thread must stand still to be taken for waiting.
STILL_SECONDS = 0.005


class TimedOut(BaseException):
    """Stands for what Airflow raises in a task that takes too long."""


class Injection:
    """Raises before the n-th instruction that the main thread executes in ``shielded`` and what it calls."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.executed = 0
        self.raised = False

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.executed += 1
            if self.executed == self.number:
                self.raised = True
                raise TimedOut
        return self._trace

    def run(self, call: Callable[[], Any]) -> None:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(before)


class Work:
    """Lasts until it hears the stop, or until the main thread waits for it and nothing is raised."""

    def __init__(self, injection: Injection) -> None:
        self.stop = threading.Event()
        self.began = self.ended = self.unheard = False
        self._injection = injection

    def __call__(self) -> str:
        self.began = True
        injection = self._injection
        while not self.stop.is_set():
            executed = injection.executed
            if injection.raised:
                self.unheard = not self.stop.wait(5)
                break
            time.sleep(STILL_SECONDS)
            if injection.executed == executed and not injection.raised:
                break
        self.ended = True
        return "done"


def test_the_work_hears_of_an_exception_at_any_instruction() -> None:
    before = _thread._count()
    kept_from_beginning = stopped = ended = 0
    for number in range(1, MOST):
        injection = Injection(number)
        work = Work(injection)
        with suppress(TimedOut):
            injection.run(lambda work=work: shielded(work, work.stop, patience=5))  # type: ignore[misc]
        if not injection.raised:
            break
        assert not work.unheard, number
        began, heard = work.began, work.stop.is_set()
        kept_from_beginning += not began
        stopped += heard
        ended += began and not heard
    assert injection.raised is False
    # There are instructions before the work is handed over, while it is waited for, and after it has ended.
    assert (kept_from_beginning > 20, stopped > 3, ended > 3) == (True, True, True)
    # None is left that waits to begin.
    deadline = time.monotonic() + 20
    while _thread._count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _thread._count() <= before
