"""How often a request is sent again, and how long the client waits in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TypeVar

import tenacity

from airflow_provider_curation.audit.errors import StoppedError

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """How a request is retried, which happens only after a 429, a 5xx, or a broken connection or answer.

    :param attempts: number of requests, including the first one.
    :param first_wait: seconds before the second request; each later wait is twice as long, with jitter.
    :param longest_wait: the longest wait in seconds.
    :param longest_retry_after: the longest ``Retry-After`` of a server that is followed, in seconds.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_retry_after: float = 300.0

    def wait(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds to wait after a failed request."""
        grown = tenacity.wait_exponential(multiplier=self.first_wait, max=self.longest_wait)
        backoff = min(grown(state) + tenacity.wait_random(0, self.first_wait)(state), self.longest_wait)
        error = state.outcome.exception() if state.outcome else None
        asked_for = getattr(error, "retry_after", None)
        return backoff if asked_for is None else max(backoff, min(asked_for, self.longest_retry_after))


@dataclass(frozen=True)
class Outage:
    """A time during which the server does not answer.

    :param since: when its first request failed, in UTC.
    :param until: when the next request is sent, in UTC.
    :param why: how the last request failed.
    """

    since: datetime
    until: datetime
    why: str


class Outages:
    """Records whether the server keeps a client's threads waiting, for the progress in the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Outage | None = None

    @property
    def current(self) -> Outage | None:
        """The current outage; ``None`` if the last request was answered."""
        return self._current

    def failed(self, wait: float, why: str) -> None:
        """Record a failed request; the next one is sent after ``wait`` seconds."""
        now = datetime.now(timezone.utc)
        with self._lock:
            since = self._current.since if self._current else now
            self._current = Outage(since, now + timedelta(seconds=wait), why)

    def answered(self) -> None:
        """Record an answer."""
        with self._lock:
            self._current = None


def retrying(
    policy: RetryPolicy,
    once: Callable[[], _T],
    on_retry: Callable[[int, float, BaseException | None], None],
    stop: threading.Event | None = None,
) -> _T:
    """Call ``once`` until it returns, raises an error that another request cannot fix, or the policy gives up.

    :param on_retry: called before each wait with the number of the failed request, the wait in seconds and the error.
    :param stop: ends a wait when it is set.
    :raises StoppedError: if ``stop`` is set during a wait.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        on_retry(state.attempt_number, state.next_action.sleep if state.next_action else 0.0, error)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: getattr(error, "retry_request", False)),
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=policy.wait,
        sleep=partial(_sleep, stop),
        before_sleep=before_sleep,
        reraise=True,
    )(once)


def check_stop(stop: threading.Event | None) -> None:
    """Raise StoppedError if the task was asked to stop."""
    if stop is not None and stop.is_set():
        raise StoppedError("The task was asked to stop while it read an answer; nothing of the answer was kept.")


def _sleep(stop: threading.Event | None, seconds: float) -> None:
    if stop is None:
        time.sleep(seconds)
        return
    stop.wait(seconds)
    check_stop(stop)
