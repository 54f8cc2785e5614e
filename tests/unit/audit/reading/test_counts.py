"""What the server counts before and after reading, at inclusive ends, and when it counts nothing."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    ContradictoryAnswerError,
    IncompleteExportError,
    NotEntitledError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page
from airflow_provider_curation.audit.reading import source as source_module
from airflow_provider_curation.audit.reading.source import Counted
from airflow_provider_curation.audit.window import Window
from tests.support.pages import MONTH, WEEK, Event, Source, keys, read, spread
from tests.support.unhurried import UNHURRIED


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


# Absurd counts, and none


@settings(UNHURRIED, max_examples=60)
@given(
    st.integers(-(10**30), 10**30) | st.integers(0, 10**12) | st.integers(0, 2000),
    st.sampled_from(["everywhere", "the window", "wide windows", "a second"]),
    st.integers(1, 200),
    st.integers(1, 4),
    st.sampled_from([20, 400]),
)
@example(10**15, "everywhere", 30, 4, 400)
@example(10**15, "a second", 30, 4, 400)
@example(4 * 10**11, "the window", 30, 4, 20)
def test_an_absurd_count_is_a_named_error_after_few_requests(
    total: int, where: str, number: int, concurrency: int, slice_rows: int
) -> None:
    class Absurd(Source):
        def _count(self, window: Window) -> int | None:
            seconds = window.seconds
            lies = {"everywhere": True, "the window": seconds == WEEK.seconds, "wide windows": seconds > 60}
            return total if lies.get(where, seconds == 1) else super()._count(window)

    source = Absurd(spread(number), rows=50, slice_rows=slice_rows, concurrency=concurrency)
    try:
        given, reader = read(source)
    except (ContradictoryAnswerError, IncompleteExportError, NotEntitledError):
        pass
    else:
        assert given == keys(source.events)
        assert reader.reconciled
    assert source.requests < 256 + 8 * number + 50


@pytest.mark.parametrize(("total", "second"), [(10**15, True), (10**6, True), (4 * 10**11, False)])
def test_an_absurd_count_takes_no_memory(total: int, second: bool) -> None:
    class Absurd(Source):
        def _count(self, window: Window) -> int | None:
            return total if (window.seconds == 1) == second else super()._count(window)

    window = Window(WEEK.start, WEEK.start + timedelta(seconds=1)) if second else WEEK
    source = Absurd(spread(30, window), rows=50, slice_rows=20)
    tracemalloc.start()
    try:
        with pytest.raises((ContradictoryAnswerError, IncompleteExportError)):
            read(source, window)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert source.requests < 300


def test_a_slice_whose_parts_do_not_add_up_is_an_error() -> None:
    class Growing(Source):
        """Counts one event more in all slices that have to be divided."""

        def _count(self, window: Window) -> int | None:
            number = len(self._within(window))
            return number + 1 if number > 40 and window != WEEK else number

    with pytest.raises(IncompleteExportError, match="were read in parts, but the server counted"):
        read(Growing(spread(200, skewed=True), rows=20, slice_rows=20, concurrency=1))


def test_a_server_that_gives_no_total_and_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MOST_EVENTS_A_SECOND", 10_000)

    class Endless(Source):
        def _page(self, number: int, window: Window, offset: int, rows: int, remaining: int | None) -> Page:
            given = [Event(place, window.start) for place in range(offset, offset + rows)]
            return self.made(given, overlaps=offset > 0)

    source = Endless([], rows=1000, slice_rows=2000, totals=False)
    with pytest.raises(ContradictoryAnswerError, match="which is not between none and 10,000 events a second"):
        read(source, Window(WEEK.start, WEEK.start + timedelta(minutes=1)))
    assert source.requests < 60


@settings(UNHURRIED, max_examples=80)
@given(st.integers(1, 200), st.dictionaries(st.integers(1, 40), st.integers(0, 1), max_size=6), st.integers(3, 60))
@example(30, {1: 0}, 60)
@example(200, {3: 1}, 60)
def test_without_totals_an_end_that_comes_too_early_is_not_believed(
    number: int, shorts: dict[int, int], slice_rows: int
) -> None:
    """An empty page, or the overlap alone, where the server has more."""
    source = Source(spread(number), rows=20, slice_rows=slice_rows, totals=False, shorts=shorts, concurrency=1)
    try:
        given, _ = read(source)
    except IncompleteExportError:
        return
    assert given == keys(source.events)


def test_without_totals_an_end_that_comes_too_early_once_is_read_again() -> None:
    for at, rows in ((1, 0), (2, 1), (2, 0)):
        source = Source(spread(30), rows=20, totals=False, shorts={at: rows}, concurrency=1)
        assert read(source)[0] == keys(source.events)


def test_an_event_that_was_shown_but_not_read_is_an_error() -> None:
    class Hiding(Source):
        def count(self, window: Window, stop: threading.Event) -> Counted:
            with self._request(stop):
                return Counted(None, 99 if window == WEEK else None)

    source = Hiding(spread(30), totals=False)
    with pytest.raises(IncompleteExportError, match=r"was read 3 times.*an end before event 99"):
        read(source)
