"""How a window is cut into slices and pages: few requests, small offsets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window
from tests.support.pages import WEEK, Event, Source, bound, keys, read, read_all, spread
from tests.support.unhurried import UNHURRIED, Unhurried


@pytest.mark.parametrize("number", [0, 1, 1999, 2000, 2001, 3999, 20_000, 20_001, 50_000])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_requests_are_few(number: int, concurrency: int) -> None:
    source = Source(spread(number) if number else [], concurrency=concurrency)
    given, reader = read(source)
    assert len(given) == number
    assert source.requests <= -(-number // 1999) + reader.slices + 2
    # A window whose first page has the count is one slice, unless it is oversized.
    assert reader.slices == (-(-number // 20_000) if number > 2 * 20_000 else number > 0)


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
                asked = self._prefetch.pending(part)
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
