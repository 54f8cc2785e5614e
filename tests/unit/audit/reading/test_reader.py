"""Reading a window: every event once and in order, or an error; over a source in memory that does as servers do."""

from __future__ import annotations

import gc
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
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    IncompleteCsvError,
    IncompleteExportError,
    NotEntitledError,
    RowsShiftedError,
    ServerFaultError,
    StoppedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, EventKey, EventMark, Page, Tally, make_page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window, format_utc

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WEEK = Window.parse("2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z")  # 144 hours: one request
MONTH = Window.parse("2026-02-01T00:00:00Z", "2026-03-03T00:00:00Z")


class Unhurried(threading.Event):
    """Lets a reader that would wait go on at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


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

    :param cap: events that the server gives at the most, whatever is asked for.
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
        before: Callable[[int, Source], None] | None = None,
        delay: float = 0.0,
    ) -> None:
        self.events = sorted(events)
        self.rows = rows
        self.overlap = 1 if whole_rows else 2
        self.slice_rows = slice_rows
        self.most_concurrent = concurrency
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

    @property
    def concurrency(self) -> int:
        return self.most_concurrent

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

    def count(self, window: Window, stop: threading.Event) -> int | None:
        with self._request(stop):
            return self._count(window)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        with self._request(stop) as number:
            return changed(self._page(number, window, 0, self.rows, self._count(window)), total=self._count(window))

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        with self._request(stop) as number:
            rows = self.rows if remaining is None else min(self.rows, remaining)
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
        return self.made(given, overlaps=offset > 0)

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
    chunks = len(list(reader.window.split(timedelta(hours=144))))
    return -(-number // (rows - 1)) + reader.slices + 2 * chunks


# Every event once and in order


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


@settings(UNHURRIED, max_examples=120)
@given(
    histories(),
    st.integers(2, 12),
    st.integers(1, 60),
    st.integers(1, 8),
    st.none() | st.integers(2, 8),
    shorts,
    st.booleans(),
    st.booleans(),
)
def test_every_event_is_given_once_and_in_order(
    events: list[Event],
    rows: int,
    slice_rows: int,
    concurrency: int,
    cap: int | None,
    shorts: dict[int, int],
    totals: bool,
    inclusive: bool,
) -> None:
    source = Source(
        events,
        rows=rows,
        slice_rows=slice_rows,
        concurrency=concurrency,
        cap=cap,
        shorts=shorts,
        totals=totals,
        inclusive=inclusive,
    )
    given, reader = read(source, MONTH)
    assert given == keys(events)
    assert reader.tally.read == reader.tally.kept == reader.tally.rows == len(events)
    assert reader.tally.actions == ({"blocked": len(events)} if events else {})
    assert (reader.tally.first and reader.tally.first.id) == (events[0].id if events else None)
    assert (reader.tally.last and reader.tally.last.id) == (events[-1].id if events else None)
    assert reader.total_before == reader.total_after == (len(events) if totals else None)
    assert reader.reconciled is totals
    if cap is None and not shorts and totals and not inclusive:
        assert source.requests <= bound(len(events), rows, reader)


@settings(UNHURRIED, max_examples=100)
@given(
    histories(),
    st.integers(3, 12),
    st.integers(1, 60),
    st.integers(1, 8),
    st.none() | st.integers(3, 8),
    st.dictionaries(st.integers(0, 60), st.integers(3, 9), max_size=6),
    st.booleans(),
)
def test_an_event_that_may_be_cut_is_left_to_the_next_page(
    events: list[Event],
    rows: int,
    slice_rows: int,
    concurrency: int,
    cap: int | None,
    shorts: dict[int, int],
    inclusive: bool,
) -> None:
    """As in CSV, where the overlap is two events."""
    source = Source(
        events,
        rows=rows,
        slice_rows=slice_rows,
        concurrency=concurrency,
        cap=cap,
        shorts=shorts,
        inclusive=inclusive,
        whole_rows=False,
    )
    given, reader = read(source, MONTH)
    assert given == keys(events)
    assert reader.reconciled


@settings(UNHURRIED, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=30, unique=True),
    st.integers(2, 8),
    st.integers(1, 20),
    st.booleans(),
)
def test_a_dry_run_id_may_come_with_several_policies(
    pairs: list[tuple[int, int]], rows: int, slice_rows: int, totals: bool
) -> None:
    events = [Event(number, WEEK.start + timedelta(hours=number * 7), policy) for number, policy in pairs]
    given, _ = read(Source(events, rows=rows, slice_rows=slice_rows, totals=totals))
    assert given == keys(events)


def test_late_events_stand_where_their_time_is() -> None:
    """A higher id with an earlier time: ascending within each requested window, and each once."""
    events = [changed(event, id=5000 - event.id if event.id % 10 == 0 else event.id) for event in spread(1000, MONTH)]
    given, reader = read(Source(events, rows=50, slice_rows=100), MONTH)
    assert sorted(given) == keys(events)
    assert sum(one > other for one, other in pairwise(given)) < reader.slices


def test_pages_that_arrive_out_of_order_are_given_in_order() -> None:
    source = Source(spread(2000), rows=50, slice_rows=400, concurrency=8, delay=0.004)
    given, _ = read(source)
    assert given == keys(source.events)
    assert 1 < source.peak <= 8


# How much is asked


@pytest.mark.parametrize("number", [0, 1, 1999, 2000, 2001, 3999, 20_000, 20_001, 50_000])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_requests_are_few(number: int, concurrency: int) -> None:
    source = Source(spread(number) if number else [], concurrency=concurrency)
    given, reader = read(source)
    assert len(given) == number
    assert source.requests <= -(-number // 1999) + reader.slices + 2
    assert reader.slices == -(-number // 20_000)


@pytest.mark.parametrize("skewed", [False, True])
def test_offsets_stay_small(skewed: bool) -> None:
    """Where the server pays for OFFSET, deep paging is quadratic."""
    source = Source(spread(10_000, skewed=skewed), rows=100, slice_rows=500)
    given, reader = read(source)
    assert given == keys(source.events)
    assert max(offset for _, offset, _ in source.asked) < 2 * 500
    assert source.requests <= bound(10_000, 100, reader)
    assert source.requests < 10_000 / 99 * 1.6


def test_a_crowded_second_is_read_by_paging_deep() -> None:
    events = [Event(number, WEEK.start + timedelta(hours=3)) for number in range(5000)]
    given, reader = read(Source(events, rows=200, slice_rows=500))
    assert given == keys(events)
    assert reader.reconciled


@pytest.mark.parametrize("whole_rows", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_lower_cap_is_found_out(whole_rows: bool, concurrency: int) -> None:
    source = Source(
        spread(20_000), rows=5000, cap=200, slice_rows=10_000, whole_rows=whole_rows, concurrency=concurrency
    )
    given, reader = read(source)
    assert given == keys(source.events)
    # A few more until it was found out.
    assert source.requests <= 20_000 / 198 + reader.slices + 2 + 3 * concurrency


class InOrder(Source):
    """Answers each page when the reader wants it, so that none arrives behind a short one; for windows of one slice."""

    def __init__(self, events: Iterable[Event], **options: Any) -> None:
        super().__init__(events, **options)
        self._turn = threading.Condition()
        self._wanted = 0
        #: Pages in flight that the reader has forgotten, by offset.
        self._forgotten: Counter[int] = Counter()

    def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
        with self._turn:
            assert self._turn.wait_for(lambda: offset <= self._wanted or self._forgotten[offset] > 0, 20)
            if offset > self._wanted:
                self._forgotten[offset] -= 1
        return super()._page(number, window, offset, rows, remaining)

    def reader(self) -> WindowReader:
        source = self

        class Telling(WindowReader):
            def _following(self, part: Any, pages: list[Page], place: int) -> Page:
                source.want(place)
                return super()._following(part, pages, place)

            def _fit_plan(self, part: Any, pages: list[Page], place: int) -> None:
                asked = list(part.asked)
                super()._fit_plan(part, pages, place)
                source.forget(offset for offset, page in asked if not page.cancelled())

        return Telling(self, WEEK, Unhurried())

    def want(self, place: int) -> None:
        with self._turn:
            self._wanted = place
            self._turn.notify_all()

    def forget(self, offsets: Iterable[int]) -> None:
        with self._turn:
            self._forgotten.update(offsets)
            self._turn.notify_all()


def test_a_page_that_is_short_once_is_filled_up_without_asking_again() -> None:
    source = InOrder(spread(10_000), rows=500, shorts={4: 100, 9: 2, 15: 499})
    reader = source.reader()
    assert read_all(reader) == keys(source.events)
    # For each short page those that were in flight behind it, and the two that were asked for ahead.
    assert source.requests <= bound(10_000, 500, reader) + 3 * (3 + 2)


@settings(UNHURRIED, max_examples=25)
@given(st.dictionaries(st.integers(2, 80), st.integers(2, 100), max_size=20))
def test_short_pages_here_and_there_cost_little(shorts: dict[int, int]) -> None:
    source = InOrder(spread(6000), rows=100, shorts=shorts)
    reader = source.reader()
    assert read_all(reader) == keys(source.events)
    # For each short page those that were in flight behind it, and the one that fills up.
    assert source.requests <= bound(6000, 100, reader) + (2 * 4 + 1) * len(shorts)


@settings(UNHURRIED, max_examples=25)
@given(st.dictionaries(st.integers(2, 80), st.integers(2, 100), max_size=20))
def test_short_pages_cost_no_more_than_what_may_wait_behind_them(shorts: dict[int, int]) -> None:
    source = Source(spread(6000), rows=100, slice_rows=2000, shorts=shorts)
    given, reader = read(source)
    assert given == keys(source.events)
    # Pages may arrive before a short one that they stand behind: three for each of the four in flight. That happens
    # twice where two short pages of one length look like a lower cap; after three times a slice is read page by page.
    misfits = min(2 * len(shorts), 3 * reader.slices)
    assert source.requests <= bound(6000, 100, reader) + 3 * 4 * misfits + len(shorts)


# How much is in flight and in memory


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8])
def test_no_more_pages_are_in_flight_than_allowed(concurrency: int) -> None:
    source = Source(spread(3000), rows=50, slice_rows=500, concurrency=concurrency, delay=0.002)
    given, _ = read(source)
    assert len(given) == 3000
    assert source.peak <= concurrency
    assert concurrency == 1 or source.peak > 1


class Throttled(Source):
    """Sees how many are in flight of the requests that were not begun before only one was wanted at a time."""

    def __init__(self, events: Iterable[Event], **options: Any) -> None:
        super().__init__(events, **options)
        self.alone: list[int] = []
        self._now = 0
        self._told = threading.local()

    @property
    def concurrency(self) -> int:
        # The thread of a request looks here first, and may come to the request itself much later.
        self._told.most = self.most_concurrent
        return self.most_concurrent

    @contextmanager
    def _request(self, stop: threading.Event) -> Iterator[int]:
        late = vars(self._told).pop("most", self.most_concurrent) == 1
        with self._lock:
            self._now += late
            if late:
                self.alone.append(self._now)
        try:
            with super()._request(stop) as number:
                yield number
        finally:
            with self._lock:
                self._now -= late


@pytest.mark.parametrize(("rows", "slice_rows"), [(50, 500), (50, 150)])
def test_one_page_is_in_flight_after_the_server_throttled(rows: int, slice_rows: int) -> None:
    def throttle(number: int, source: Source) -> None:
        if number == 10:
            source.most_concurrent = 1

    source = Throttled(spread(3000), rows=rows, slice_rows=slice_rows, concurrency=4, delay=0.002, before=throttle)
    given, _ = read(source)
    assert given == keys(source.events)
    assert len(source.alone) > 30
    assert max(source.alone) == 1


class Gated(Source):
    """Holds its first four requests behind the first slice until the gate is open, and sees whether later ones meet.

    :param patience: seconds that the first of the later ones waits for the other.
    """

    def __init__(self, patience: float) -> None:
        super().__init__(spread(2000), rows=100, slice_rows=90, concurrency=4)
        self.gate = threading.Event()
        self.begun = count(1)
        self.arrived: list[int] = []
        self.later: list[bool] = []
        self._both = threading.Barrier(2, timeout=patience)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        if window.start > WEEK.start:
            number = next(self.begun)
            self.arrived.append(number)
            if number <= 4:
                assert self.gate.wait(20)
            elif number <= 6:
                self.later.append(self._met())
        return super().first_page(window, stop)

    def _met(self) -> bool:
        try:
            self._both.wait()
        except threading.BrokenBarrierError:
            return False
        return True


def await_that(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_no_place_in_flight_stays_empty_while_the_caller_is_busy() -> None:
    source = Gated(patience=20.0)
    pages = WindowReader(source, WEEK, Unhurried()).pages()
    next(pages)
    source.gate.set()
    # Nobody asks for a page meanwhile: behind the count and the first page come the four in flight, and two more.
    await_that(lambda: source.requests >= 2 + 4 + 2)
    pages.close()  # type: ignore[attr-defined]
    assert source.peak <= 4
    assert source.later == [True, True]


def test_pages_asked_for_ahead_are_asked_for_one_at_a_time_after_the_server_throttled() -> None:
    source = Gated(patience=1.0)
    pages = WindowReader(source, WEEK, Unhurried()).pages()
    next(pages)
    await_that(lambda: len(source.arrived) == 4)
    source.most_concurrent = 1
    source.gate.set()
    await_that(lambda: source.requests >= 2 + 4 + 2)
    pages.close()  # type: ignore[attr-defined]
    assert source.later == [False, False]


@pytest.mark.parametrize("number", [2000, 8000])
@pytest.mark.parametrize(("rows", "slice_rows"), [(50, 400), (100, 90)])
def test_memory_does_not_grow_with_the_window(number: int, rows: int, slice_rows: int) -> None:
    source = Source(spread(number), rows=rows, slice_rows=slice_rows, concurrency=4)
    most = 0
    for place, _ in enumerate(WindowReader(source, WEEK, Unhurried()).pages()):
        if place % 5 == 0:
            gc.collect(0)
        most = max(most, source.open_bodies())
    # A slice's pages, and behind them those in flight or waiting on disk: three for each of the four in flight.
    assert most <= slice_rows * 2 / (rows - 1) + 3 * 4 + 2


def test_a_page_is_closed_when_the_next_one_is_wanted() -> None:
    """What a page spooled to the disk goes as soon as it was used."""
    pages = WindowReader(Source(spread(100), rows=20), WEEK, Unhurried()).pages()
    before = next(pages)
    for page in pages:
        assert before.body.closed
        before = page
    assert before.body.closed


def test_slices_of_one_page_are_asked_for_side_by_side() -> None:
    class Meeting(Source):
        """Holds first pages until four of them are in flight."""

        def first_page(self, window: Window, stop: threading.Event) -> Page:
            with self._lock:
                arrived.append(window)
                if len(arrived) == 4:
                    all_four.set()
            assert all_four.wait(20)
            return super().first_page(window, stop)

    arrived: list[Window] = []
    all_four = threading.Event()
    source = Meeting(spread(2000), rows=100, slice_rows=90, concurrency=4, delay=0.002)
    given, _ = read(source)
    assert len(given) == 2000
    assert source.peak <= 4


# Rows that move while they are read


@settings(UNHURRIED, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 119)), min_size=1, max_size=3),
    st.booleans(),
    st.integers(3, 12),
    st.integers(10, 60),
    st.integers(1, 4),
)
def test_events_that_come_or_go_while_reading_are_never_missed_in_silence(
    moves: list[tuple[int, int]], arriving: bool, rows: int, slice_rows: int, concurrency: int
) -> None:
    """Retention that deletes, or late events that arrive: the result is the server's at the end, or an error."""
    everything = spread(120)
    moving = {everything[place] for _, place in moves}

    def move(number: int, source: Source) -> None:
        now = {everything[place] for at, place in moves if at <= number}
        source.events = sorted(set(everything) - (moving - now if arriving else now))

    source = Source(everything, rows=rows, slice_rows=slice_rows, concurrency=concurrency, before=move)
    reader = WindowReader(source, WEEK, Unhurried())
    try:
        given = read_all(reader)
    except IncompleteExportError:
        assert not reader.reconciled
        return
    assert given == keys(source.events)
    assert reader.reconciled


@settings(UNHURRIED, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 119)), min_size=1, max_size=3),
    st.integers(3, 12),
    st.integers(1, 4),
)
def test_without_totals_deletions_lose_none_of_the_events_that_stay(
    moves: list[tuple[int, int]], rows: int, concurrency: int
) -> None:
    """The overlap alone finds rows that shift."""
    everything = spread(120)

    def move(number: int, source: Source) -> None:
        source.events = sorted(set(everything) - {everything[place] for at, place in moves if at <= number})

    source = Source(everything, rows=rows, concurrency=concurrency, totals=False, before=move)
    try:
        given, _ = read(source)
    except IncompleteExportError:
        return
    assert given == sorted(set(given))
    assert set(given) >= set(keys(source.events))


@pytest.mark.parametrize("whole_rows", [True, False])
@pytest.mark.parametrize("at", range(2, 14, 3))
def test_a_shift_that_passes_is_read_again(at: int, whole_rows: bool) -> None:
    """A page from a replica that lags behind: one event fewer, once."""
    everything = spread(300)

    def lag(number: int, source: Source) -> None:
        source.events = everything[1:] if number == at else everything

    source = Source(everything, rows=40, slice_rows=150, concurrency=1, before=lag, whole_rows=whole_rows)
    given, reader = read(source)
    assert given == keys(everything)
    assert reader.reconciled


@pytest.mark.parametrize("fewer", [1, -1])
def test_a_count_of_a_slice_that_was_wrong_once_is_read_again(fewer: int) -> None:
    class Miscounting(Source):
        def first_page(self, window: Window, stop: threading.Event) -> Page:
            page = super().first_page(window, stop)
            return changed(page, total=(page.total or 0) - fewer) if len(self.asked) == 1 else page

    source = Miscounting(spread(30), rows=40, concurrency=1)
    given, reader = read(source)
    assert given == keys(source.events)
    assert reader.reconciled
    assert sum(offset == 0 for _, offset, _ in source.asked) == 2


def test_a_shift_that_lasts_is_an_error_after_three_readings() -> None:
    source = Source(spread(100), rows=40, concurrency=1)
    source.before = lambda number, source: source.events.pop(0) if source.events else None
    with pytest.raises(IncompleteExportError, match="was read 3 times") as caught:
        read(source)
    assert isinstance(caught.value.__cause__, RowsShiftedError)
    assert [offset for _, offset, _ in source.asked].count(0) == 3
    assert caught.value.retry_task


class Repeating(Source):
    """Gives the first page whatever the offset."""

    def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
        page = super()._page(number, window, 0, rows, remaining)
        return page if offset == 0 else self.made(self._within(window)[:rows], overlaps=True)


class Ending(Source):
    """Gives no events beyond an offset, though it counts them."""

    def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
        return super()._page(number, window, offset, max(1, min(rows, 60 - offset)), remaining)


class Counting(Source):
    """Counts one event more than it gives."""

    def _count(self, window: Window) -> int | None:
        return len(self._within(window)) + 1


@pytest.mark.parametrize("kind", [Repeating, Ending, Counting])
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("rows", [40, 100])
def test_a_server_that_does_not_move_on_is_an_error(kind: type[Source], concurrency: int, rows: int) -> None:
    source = kind(spread(100 if rows == 40 else 99), rows=rows, concurrency=concurrency)
    if kind is Repeating and rows == 100:
        assert len(read(source)[0]) == 99
        return
    with pytest.raises(IncompleteExportError):
        read(source)
    assert source.requests < 40


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_repeating_page_without_totals_is_an_error_too(concurrency: int) -> None:
    with pytest.raises(IncompleteExportError):
        read(Repeating(spread(100), rows=40, totals=False, concurrency=concurrency))


def test_a_count_that_differs_afterwards_is_an_error() -> None:
    arrived = Event(10_000, WEEK.start)

    def arrive(number: int, source: Source) -> None:
        if source.asked and len(source.asked) == 2:
            source.events = sorted({*source.events, arrived})

    source = Source(spread(60), rows=40, concurrency=1, before=arrive)
    with pytest.raises(
        IncompleteExportError, match="60 events were read, but the server counted 60 before and 61 after"
    ):
        read(source)


def test_a_tie_that_changes_its_order_is_seen() -> None:
    """A policy of the last id of a page comes again behind the overlap, in place of another one: the count agrees."""
    base = [Event((place + 1) // 3, WEEK.start, (place + 1) % 3 + 1) for place in range(30)]
    assert len({base[place].id for place in (8, 9, 10)}) == 1

    class Repeated(Source):
        def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
            given = list(self.events)
            if offset == 9:
                given[10] = given[8]
            return self.made(given[offset : offset + rows], overlaps=offset > 0)

    with pytest.raises(IncompleteExportError, match="does not begin with the last event"):
        read(Repeated(base, rows=10, concurrency=1))


# Inclusive ends


@pytest.mark.parametrize("slice_rows", [5, 20, 1000])
@pytest.mark.parametrize("totals", [True, False])
def test_an_inclusive_end_gives_no_event_twice(slice_rows: int, totals: bool) -> None:
    """An event at every second that may be a limit of slices, requests and the window."""
    inside = [Event(number, MONTH.start + timedelta(hours=number)) for number in range(720)]
    outside = [Event(9999, MONTH.end)]
    given, reader = read(Source(inside + outside, rows=50, slice_rows=slice_rows, inclusive=True, totals=totals), MONTH)
    assert given == keys(inside)
    assert reader.reconciled is totals


@pytest.mark.parametrize("slice_rows", [5, 1000])
def test_fractions_of_seconds_that_an_inclusive_end_would_lose_are_an_error(slice_rows: int) -> None:
    events = [*spread(50), Event(9998, WEEK.end - timedelta(seconds=0.5)), Event(9999, WEEK.end)]
    with pytest.raises(UnexpectedAnswerError, match="2 events from the last second to the end, but 0 and 1"):
        read(Source(events, slice_rows=slice_rows, inclusive=True))


def test_an_end_that_stays_inclusive_is_an_error() -> None:
    class Stubborn(Source):
        def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
            raise EndInclusiveError(Query(window, rows).asked, "an event at the end")

    with pytest.raises(EndInclusiveError):
        read(Stubborn(spread(10)))


# Answers that do not fit


@settings(UNHURRIED, max_examples=40)
@given(histories(WEEK), st.integers(16, 60), st.booleans())
def test_an_incomplete_answer_is_asked_for_in_parts(events: list[Event], most: int, totals: bool) -> None:
    crowd = max(Counter(event.at for event in events).values(), default=0)
    source = Source(events, most=most, totals=totals, whole_rows=False, rows=5000, slice_rows=100_000)
    if crowd > most:
        with pytest.raises(IncompleteCsvError):
            read(source)
        return
    given, _ = read(source)
    assert given == keys(events)


# Nothing, and not entitled


@pytest.mark.parametrize("totals", [True, False])
@pytest.mark.parametrize("window", [WEEK, MONTH])
def test_an_empty_window_asks_for_the_entitlement(window: Window, totals: bool) -> None:
    assert read(Source([], totals=totals), window)[0] == []
    with pytest.raises(NotEntitledError, match="not entitled"):
        read(Source([], totals=totals, is_entitled=False), window)


@pytest.mark.parametrize("totals", [True, False])
def test_an_unknown_entitlement_is_a_warning(caplog: pytest.LogCaptureFixture, totals: bool) -> None:
    assert read(Source([], is_entitled=None, totals=totals))[0] == []
    assert "does not say whether it is entitled" in caplog.text


def test_a_window_with_events_proves_the_entitlement() -> None:
    source = Source(spread(1), is_entitled=False)
    assert len(read(source)[0]) == 1
    assert source.entitlements == 0


def test_no_totals_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    _, reader = read(Source(spread(5), totals=False))
    assert "cannot be reconciled" in caplog.text
    assert not reader.reconciled


# Faults, and stopping


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_request_that_fails_for_good_ends_reading(at: int, concurrency: int) -> None:
    def fail(number: int, source: Source) -> None:
        if number == at:
            raise ServerFaultError(Query(WEEK, 1).asked, "503")

    source = Source(spread(400), rows=50, slice_rows=150, concurrency=concurrency, before=fail)
    reader = WindowReader(source, WEEK, Unhurried())
    with pytest.raises(ServerFaultError):
        read_all(reader)
    assert not reader.reconciled
    assert_quiet(source)


def assert_quiet(source: Source) -> None:
    """No request goes on, and those under way were told to end."""
    assert all(stop.is_set() for stop in source.stops)
    time.sleep(0.02)
    requests = source.requests
    time.sleep(0.02)
    assert source.requests == requests


@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_reading_ends_when_the_task_is_stopped(at: int) -> None:
    stop = threading.Event()

    def press(number: int, source: Source) -> None:
        if number >= at:
            stop.set()

    source = Source(spread(400), rows=50, slice_rows=150, before=press)
    reader = WindowReader(source, WEEK, stop)
    with pytest.raises(StoppedError):
        read_all(reader)
    assert_quiet(source)


def test_reading_ends_while_a_request_hangs() -> None:
    stop, hanging = threading.Event(), threading.Event()
    source = Source(spread(10))

    def hang(number: int, source: Source) -> None:
        threading.Timer(0.05, stop.set).start()
        hanging.wait(10)

    source.before = hang
    begun = time.monotonic()
    try:
        with pytest.raises(StoppedError):
            read_all(WindowReader(source, WEEK, stop))
        assert time.monotonic() - begun < 5
    finally:
        hanging.set()


def test_a_reader_that_is_left_early_asks_no_more() -> None:
    source = Source(spread(3000), rows=50, slice_rows=500, delay=0.001)
    pages = WindowReader(source, WEEK, Unhurried()).pages()
    next(pages)
    pages.close()
    assert source.requests < 30
    assert_quiet(source)


def test_a_slice_is_given_only_when_it_is_whole() -> None:
    """No page of a slice whose later pages shift."""
    limit = WEEK.start + WEEK.width / 2

    class Shifting(Source):
        def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
            shifted = offset + (offset > 0 and window.start >= limit)
            return super()._page(number, window, shifted, rows, remaining)

    source = Shifting(spread(400), rows=50, slice_rows=100, concurrency=1)
    given: list[bytes] = []

    def gather() -> None:
        for page in WindowReader(source, WEEK, Unhurried()).pages():
            given.extend(page.lines())

    with pytest.raises(IncompleteExportError):
        gather()
    assert [int(line.split()[0]) for line in given] == list(range(1, 201))


@settings(UNHURRIED, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 8))
@example(0, 8)
def test_the_result_is_the_same_whatever_the_timing(seed: int, concurrency: int) -> None:
    shuffle = random.Random(seed)
    events = spread(300)
    source = Source(events, rows=20, slice_rows=70, concurrency=concurrency)
    source.before = lambda number, source: time.sleep(shuffle.random() * 0.0005)
    given, _ = read(source)
    assert given == keys(events)
