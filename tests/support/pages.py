"""A source of pages in memory that answers as servers do, and readings of it."""

from __future__ import annotations

import io
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime, timedelta

from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    IncompleteCsvError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, EventKey, EventMark, Page, Tally, make_page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.reading.source import Counted
from airflow_provider_curation.audit.window import Window, format_utc
from tests.support.unhurried import Unhurried

WEEK = Window.parse("2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z")  # 144 hours: one request
MONTH = Window.parse("2026-02-01T00:00:00Z", "2026-03-03T00:00:00Z")


@dataclass(frozen=True, order=True)
class Event:
    id: int
    at: datetime
    policy: int = 0

    @property
    def key(self) -> EventKey:
        return self.id, (str(self.policy),) if self.policy else ()


def spread(number: int, window: Window = WEEK, first: int = 1, skewed: bool = False) -> list[Event]:
    """Events over a window in order; several in one second if there are many, or crowded at its end."""
    seconds = int(window.width.total_seconds())
    places = (place * seconds // number for place in range(number))
    if skewed:
        places = (int(seconds * (place / number) ** 0.01) for place in range(number))
    return [Event(first + place, window.start + timedelta(seconds=at)) for place, at in enumerate(places)]


class Source:
    """Answers as servers do; every fault is a switch.

    :param cap: the most events that the server gives, whatever is asked for.
    :param shorts: requests (by number) of which the answer holds so many events only.
    :param inclusive: the server counts the end in.
    :param whole_rows: a page's last event may be cut, and is left to the next one, as in CSV.
    :param most: more events than these in a window make the answer incomplete.
    :param before: called with the number of each request, before it is answered.
    """

    def __init__(
        self,
        events: Iterable[Event],
        *,
        rows: int = 2000,
        slice_rows: int = 20_000,
        concurrency: int = 4,
        cap: int | None = None,
        shorts: dict[int, int] | None = None,
        totals: bool = True,
        inclusive: bool = False,
        whole_rows: bool = True,
        most: int | None = None,
        is_entitled: bool | None = True,
        before: Callable[[int, Source], object] | None = None,
        delay: float = 0.0,
    ) -> None:
        self.events = sorted(events)
        self.rows = rows
        self.overlap = 1 if whole_rows else 2
        self.slice_rows = slice_rows
        self.concurrency = self.most_concurrent = concurrency
        self.end_inclusive = False
        self.cap = cap
        self.shorts = shorts or {}
        self.totals = totals
        self.inclusive = inclusive
        self.whole_rows = whole_rows
        self.most = most
        self.is_entitled = is_entitled
        self.before = before
        self.delay = delay
        self.requests = 0
        self.entitlements = 0
        self.asked: list[tuple[Window, int, int]] = []
        self.stops: set[threading.Event] = set()
        self.active = 0
        self.peak = 0
        self.bodies: list[weakref.ref[io.BytesIO]] = []
        self._lock = threading.Lock()
        #: Of each request's thread: whether its page begins with the last event of the page before.
        self._asking = threading.local()

    def entitled(self) -> bool | None:
        self.entitlements += 1
        return self.is_entitled

    @contextmanager
    def _request(self, stop: threading.Event) -> Iterator[int]:
        with self._lock:
            number = self.requests
            self.requests += 1
            self.active += 1
            self.peak = max(self.peak, self.active)
            self.stops.add(stop)
        try:
            if self.delay:
                time.sleep(self.delay * random.Random(number).random())
            with self._lock:
                if self.before is not None:
                    self.before(number, self)
            yield number
        finally:
            with self._lock:
                self.active -= 1

    def _within(self, window: Window) -> list[Event]:
        if not self.inclusive:
            return [event for event in self.events if window.start <= event.at < window.end]
        end = window.end - timedelta(seconds=1) if self.end_inclusive else window.end
        return [event for event in self.events if window.start <= event.at <= end]

    def _count(self, window: Window) -> int | None:
        return len(self._within(window)) if self.totals else None

    def count(self, window: Window, stop: threading.Event) -> Counted:
        with self._request(stop):
            return Counted(self._count(window), max((event.id for event in self._within(window)), default=None))

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        with self._request(stop) as number:
            total = self._count(window)
            self._asking.overlaps = False
            return changed(self._page(number, window, 0, self.rows, total), total=total)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        with self._request(stop) as number:
            rows = self.rows if remaining is None else min(self.rows, remaining)
            self._asking.overlaps = True
            return self._page(number, window, offset, rows, remaining)

    def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
        assert rows >= 1
        assert offset >= 0
        self.asked.append((window, offset, rows))
        within = self._within(window)
        query = Query(window, rows, offset)
        if self.most is not None and len(within) > self.most:
            raise IncompleteCsvError(query.asked, "incomplete")
        given = within[offset : offset + min(rows, self.cap or rows, self.shorts.get(number, rows))]
        if any(event.at >= window.end for event in given):
            raise EndInclusiveError(query.asked, "an event at the end")
        if not self.whole_rows and remaining is not None and 1 < len(given) < remaining:
            given = given[:-1]
        return self.made(given, self._asking.overlaps)

    def made(self, given: Sequence[Event], overlaps: bool) -> Page:
        new = given[1:] if overlaps else given
        marks = [EventMark(event.id, format_utc(event.at)) for event in new]
        tally = Tally(len(new), len(new), len(new), Counter(["blocked"] * len(new)))
        tally.first, tally.last = (marks[0], marks[-1]) if marks else (None, None)
        body = io.BytesIO(b"".join(b"%d %d\n" % (event.id, event.policy) for event in new))
        self.bodies.append(weakref.ref(body))
        return make_page([event.key for event in given], None, tally, body)

    def open_bodies(self) -> int:
        """How many pages are still held; counted in a copy, since pages arrive meanwhile."""
        return sum(not body.closed for each in self.bodies.copy() if (body := each()) is not None)


Read = list[tuple[int, int]]


def read(source: Source, window: Window = WEEK) -> tuple[Read, WindowReader]:
    reader = WindowReader(source, window, Unhurried())
    return read_all(reader), reader


def read_all(reader: WindowReader) -> Read:
    return [(int(number), int(policy)) for page in reader.pages() for number, policy in map(bytes.split, page.lines())]


def keys(events: Iterable[Event]) -> Read:
    return [(event.id, event.policy) for event in sorted(events)]


def bound(number: int, rows: int, reader: WindowReader) -> int:
    """Return the requests that the whole may take: pages, slices, and the two counts of each 144 hours."""
    spans = len(list(reader.window.split(timedelta(hours=144))))
    return -(-number // (rows - 1)) + reader.slices + 2 * spans


@st.composite
def histories(draw: st.DrawFn, window: Window = MONTH, largest: int = 120) -> list[Event]:
    """Events whose ids ascend with time, crowded in places, also at the limits of requests."""
    seconds = int(window.width.total_seconds())
    limits = [0, 1, seconds - 1, 144 * 3600 - 1, 144 * 3600, 288 * 3600]
    moment = st.integers(0, seconds - 1) | st.sampled_from(limits)
    moments = sorted(draw(st.lists(moment, max_size=8)) * draw(st.integers(1, largest // 8)))
    ids = draw(st.integers(0, 10**9))
    return [
        Event(ids + place * 3, window.start + timedelta(seconds=at)) for place, at in enumerate(moments) if at < seconds
    ]


shorts = st.dictionaries(st.integers(0, 60), st.integers(2, 9), max_size=6)
