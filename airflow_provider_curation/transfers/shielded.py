"""Protects work from exceptions that a signal handler raises in the middle of a call to S3.

To end a task, Airflow raises an exception in the main thread, wherever that is: for time-outs on every version, for
SIGTERM on Airflow 2. S3 could still carry out a call that was interrupted this way, after everything was cleaned up.
"""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

THREAD_NAME: Final = "curation-audit-export"

_T = TypeVar("_T")

log = logging.getLogger(__name__)


def shielded(work: Callable[[], _T], stop: threading.Event, patience: float = 60.0) -> _T:
    """Run work in a separate thread and return its result; an exception that is raised here meanwhile stops it.

    An exception can come between any two instructions of this function. Then the work either has not started and never
    will, or notices the stop, or has ended.

    :param work: checks ``stop`` between its calls, and cleans up before it raises.
    :param stop: set when an exception is raised here; the exception is raised again once the work has ended.
    :param patience: how many seconds the work gets to end; longer than one call takes.
    """
    # Only calls that are implemented in C join the two threads. An exception inside the Python code of Thread.start, or
    # of the Condition that futures and events are made of, can leave a lock taken for good.
    go_ahead: SimpleQueue[bool] = SimpleQueue()
    bell: SimpleQueue[None] = SimpleQueue()
    results: list[_T] = []
    errors: list[BaseException] = []

    def begin() -> None:
        threading.current_thread().name = THREAD_NAME
        try:
            # If an exception interrupts the start below, nobody waits for the work, so it waits for a go-ahead.
            if go_ahead.get():
                results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            bell.put(None)

    handed_over = False
    try:
        _thread.start_new_thread(copy_context().run, (begin,))
        handed_over = True
        go_ahead.put(True)
        bell.get()
    except BaseException:
        # This reaches only work that has not started yet.
        go_ahead.put(False)
        if handed_over and not results and not errors:
            stop.set()
            try:
                bell.get(timeout=patience)
            except Empty:
                log.warning(
                    "The export is still in a call after %.0f s; it cleans up when that call has ended.", patience
                )
        raise
    if errors:
        raise errors.pop()
    return results.pop()
