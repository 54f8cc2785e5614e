"""Reading a window: every event once and in order, or an error; over a source in memory that does as servers do."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import replace as changed
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import REQUEST_WIDTH
from airflow_provider_curation.audit.errors import (
    IncompleteCsvError,
    IncompleteExportError,
    RowsShiftedError,
    ServerFaultError,
    StoppedError,
)
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window
from tests.support.pages import MONTH, WEEK, Event, Source, bound, histories, keys, read, read_all, shorts, spread
from tests.support.unhurried import UNHURRIED, Unhurried


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
@pytest.mark.parametrize("at", [1, 4, 7, 9])
def test_a_shift_that_passes_is_read_again(at: int, whole_rows: bool) -> None:
    """A page from a replica that lags behind: one event fewer, once."""
    everything = spread(300)

    def lag(number: int, source: Source) -> None:
        source.events = everything[1:] if number == at else everything

    source = Source(everything, rows=40, slice_rows=100, concurrency=1, before=lag, whole_rows=whole_rows)
    given, reader = read(source)
    assert given == keys(everything)
    assert reader.reconciled


@pytest.mark.parametrize("fewer", [1, -1])
def test_a_count_of_a_slice_that_was_wrong_once_is_read_again(fewer: int) -> None:
    class Miscounting(Source):
        def first_page(self, window: Window, stop: threading.Event) -> Page:
            page = super().first_page(window, stop)
            return changed(page, total=(page.total or 0) - fewer) if len(self.asked) == 1 else page

    source = Miscounting(spread(30, MONTH), rows=40, concurrency=1)
    given, reader = read(source, MONTH)
    assert given == keys(source.events)
    assert reader.reconciled
    assert sum(offset == 0 for _, offset, _ in source.asked) == len(list(MONTH.split(REQUEST_WIDTH))) + 1


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
    pages.close()  # type: ignore[attr-defined]  # it is a generator
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
