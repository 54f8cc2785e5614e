"""Lets the threads of a client send requests, only as many at a time as the server takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_provider_curation.audit.api.concurrency import ConcurrencyLimit
from airflow_provider_curation.audit.api.retry import check_stop

#: Seconds between two looks at whether to stop, while a request waits for its turn.
_POLL_SECONDS = 0.2


@dataclass
class Attempt:
    """How one attempt at a request ended; if nothing is set, in another way.

    :param refused: the server answered 429.
    :param size: bytes of the answer.
    """

    refused: bool = False
    size: int | None = None


class Gate:
    """Bounds a client's requests by a :class:`ConcurrencyLimit`, which learns from how they end.

    A request that waits before its next attempt keeps its place, so that no other one is sent while the server wants to
    be left alone. The next attempt waits for its turn again, since the limit may be lower by then.

    :param most: the most requests in flight.
    """

    def __init__(self, most: int) -> None:
        self._limit = ConcurrencyLimit(most)
        self._changed = threading.Condition()
        self._open = 0
        self._sent = 0

    @property
    def limit(self) -> int:
        """The most requests in flight, right now."""
        return self._limit.limit

    @contextmanager
    def request(self, stop: threading.Event | None) -> Iterator[None]:
        """Wait for a place, and keep it for one request and all its attempts.

        :param stop: ends waiting when it is set.
        :raises StoppedError: if ``stop`` is set while waiting.
        """
        with self._changed:
            self._wait(lambda: self._open < self.limit, stop)
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    @contextmanager
    def attempt(self, stop: threading.Event | None) -> Iterator[Attempt]:
        """Wait for the turn of a request that has a place; set on the attempt how it ended.

        :raises StoppedError: if ``stop`` is set while waiting.
        """
        with self._changed:
            self._wait(lambda: self._sent < self.limit, stop)
            self._sent += 1
            decreases = self._limit.decreases
        attempt, begun = Attempt(), time.monotonic()
        try:
            yield attempt
        finally:
            seconds = time.monotonic() - begun
            with self._changed:
                self._sent -= 1
                if attempt.refused:
                    self._limit.refused(decreases)
                elif attempt.size is not None:
                    self._limit.answered(decreases, seconds, attempt.size)
                self._changed.notify_all()

    def _wait(self, has_room: Callable[[], bool], stop: threading.Event | None) -> None:
        while not self._changed.wait_for(has_room, timeout=_POLL_SECONDS):
            check_stop(stop)
