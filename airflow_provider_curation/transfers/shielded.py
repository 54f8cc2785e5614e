"""Work that what a signal's handler raises cannot cut in the middle of a call to S3.

Airflow ends a task by an exception that it raises in the main thread, wherever that is: its time-outs on every version,
SIGTERM on Airflow 2. A call to S3 that is cut so may be carried out all the same, after everything was cleaned up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from queue import SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")

log = logging.getLogger(__name__)


def shielded(work: Callable[[], _T], stop: threading.Event, patience: float = 60.0) -> _T:
    """Do work in a thread of its own, and return what it returns; what is raised here meanwhile ends it in good order.

    :param work: looks at ``stop`` between its calls, and cleans up before it raises.
    :param stop: is set when something is raised here, which is raised on once the work has ended.
    :param patience: seconds that the work is given to end; longer than one call takes.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="curation-audit-export")
    future: Future[_T] | None = None
    # A submit that is cut gives no future to wait for, though its thread may have begun: work waits for a word.
    word: SimpleQueue[bool] = SimpleQueue()

    def begin() -> _T:
        if not word.get():
            raise CancelledError
        return work()

    try:
        future = pool.submit(copy_context().run, begin)
        word.put(True)
        return future.result()
    except BaseException:
        # Nobody hears it but work that was not told to begin.
        word.put(False)
        if future is not None and not future.done():
            stop.set()
            if wait([future], patience).not_done:
                log.warning(
                    "The export is still in a call after %.0f s; it cleans up when that call has ended.", patience
                )
        raise
    finally:
        pool.shutdown(wait=False)
