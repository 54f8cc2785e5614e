"""The ways in which a request can go wrong, and which request gets which fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from threading import Lock


class Fault(str, Enum):
    """What happens to a request in place of its answer, or to its answer on the way."""

    THROTTLED = "429"  # no Retry-After
    THROTTLED_SECONDS = "429-seconds"  # Retry-After in seconds
    THROTTLED_DATE = "429-date"  # Retry-After as an HTTP date
    SERVER_ERROR = "500"
    BAD_GATEWAY = "502"  # HTML
    UNAVAILABLE = "503"  # HTML
    GATEWAY_TIMEOUT = "504"  # HTML
    UNAUTHORIZED = "401"
    LOGIN_PAGE = "login-page"  # 200 with HTML
    REDIRECT = "redirect"  # 302 to the login page of another host
    NO_DATA = "no-data"  # 200, a JSON object without data
    CUT_BODY = "cut-body"  # Content-Length says more than is sent, then the connection closes
    TRUNCATED_JSON = "truncated-json"  # well-formed HTTP around a JSON text that stops in the middle
    TRUNCATED_ZIP = "truncated-zip"
    CORRUPT_ZIP = "corrupt-zip"  # the member's CRC is wrong
    RESET = "reset"  # the connection is reset without an answer
    HANG = "hang"  # no answer for a long time, then a reset
    STALL = "stall"  # half of the body, then nothing for a long time, then a reset
    DRIP = "drip"  # a byte of the body each second for a long time, then a reset
    EMPTY_PAGE = "empty-page"  # no rows, although there are some
    ZERO_TOTAL = "zero-total"  # total_count is 0, next to the rows
    WRONG_TOTAL = "wrong-total"  # total_count is one too many
    DOUBLED_ROW = "doubled-row"  # a row is there twice
    LOST_ROW = "lost-row"  # a row is missing
    INVALID_UTF8 = "invalid-utf8"  # a byte that is not UTF-8 in a text that no client needs to understand


#: Faults that go away when the client asks again, and that cost at most a second of waiting.
PASSING_FAULTS = (
    Fault.THROTTLED,
    Fault.THROTTLED_SECONDS,
    Fault.THROTTLED_DATE,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.UNAVAILABLE,
    Fault.GATEWAY_TIMEOUT,
    Fault.CUT_BODY,
    Fault.TRUNCATED_JSON,
    Fault.TRUNCATED_ZIP,
    Fault.CORRUPT_ZIP,
    Fault.RESET,
)

#: Faults of answers that look healthy: sound HTTP around well-formed JSON or a sound archive.
FALSE_ANSWERS = (
    Fault.EMPTY_PAGE,
    Fault.ZERO_TOTAL,
    Fault.WRONG_TOTAL,
    Fault.DOUBLED_ROW,
    Fault.LOST_ROW,
    Fault.INVALID_UTF8,
)

#: Faults that spoil an answer instead of replacing it.
BODY_FAULTS = frozenset(
    {
        Fault.CUT_BODY,
        Fault.TRUNCATED_JSON,
        Fault.TRUNCATED_ZIP,
        Fault.CORRUPT_ZIP,
        Fault.STALL,
        Fault.DRIP,
        *FALSE_ANSWERS,
    },
)


class FaultPlan:
    """Chooses the fault of a request: what was ordered for the next ones, else the schedule, else the rate."""

    def __init__(self, seed: int, rate: float, kinds: Sequence[Fault], schedule: Mapping[int, Fault]) -> None:
        self._seed = seed
        self._rate = rate
        self._kinds = tuple(kinds)
        self._schedule = dict(schedule)
        self._ordered: deque[Fault] = deque()
        self._lock = Lock()

    def order(self, fault: Fault, times: int) -> None:
        """Give the next requests a fault."""
        with self._lock:
            self._ordered.extend([fault] * times)

    def heal(self) -> None:
        """End all faults."""
        with self._lock:
            self._ordered.clear()
            self._schedule.clear()
            self._rate = 0.0

    def choose(self, path: str, number: int, csv: bool) -> Fault | None:
        """Return the fault of a path's request of that number (from 1), in the form that fits the answer's format."""
        with self._lock:
            fault = self._ordered.popleft() if self._ordered else None
        fault = fault or self._schedule.get(number) or self._by_rate(path, number)
        return _fitting(fault, csv)

    def _by_rate(self, path: str, number: int) -> Fault | None:
        if not self._rate:
            return None
        digest = blake2b(f"{self._seed} {path} {number}".encode(), digest_size=16).digest()
        if int.from_bytes(digest[:8], "big") >= self._rate * 2**64:
            return None
        return self._kinds[int.from_bytes(digest[8:], "big") % len(self._kinds)]


def _fitting(fault: Fault | None, csv: bool) -> Fault | None:
    if csv:
        return Fault.TRUNCATED_ZIP if fault is Fault.TRUNCATED_JSON else fault
    return Fault.TRUNCATED_JSON if fault in (Fault.TRUNCATED_ZIP, Fault.CORRUPT_ZIP) else fault
