"""Work that an exception from a signal's handler cannot cut in the middle of a call to S3.

Airflow ends a task by an exception that it raises in the main thread, wherever that is: its time-outs on every version,
SIGTERM on Airflow 2. S3 may carry out a call that is cut in this way, after everything has been cleaned up.
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
    """Do work in a thread of its own, and return what it returns; an exception that is raised here meanwhile stops it.

    An exception can come between any two instructions of this function. Then the work either has not begun and never
    will, or it hears the stop, or it has ended.

    :param work: looks at ``stop`` between its calls, and cleans up before it raises.
    :param stop: is set when something is raised here, which is raised again once the work has ended.
    :param patience: seconds that the work is given to end; longer than one call takes.
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
        # Only work that has not been told to begin hears this.
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
