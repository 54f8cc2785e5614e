"""How many pages are in flight and in memory."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window
from tests.support.pages import WEEK, Source, keys, read, spread
from tests.support.unhurried import Unhurried


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8])
def test_no_more_pages_are_in_flight_than_allowed(concurrency: int) -> None:
    source = Source(spread(3000), rows=50, slice_rows=500, concurrency=concurrency, delay=0.002)
    given, _ = read(source)
    assert len(given) == 3000
    assert source.peak <= concurrency
    assert concurrency == 1 or source.peak > 1


@pytest.mark.parametrize(("rows", "slice_rows"), [(50, 500), (50, 150)])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_no_more_pages_are_asked_for_ahead_than_may_be_in_flight_now(
    concurrency: int, rows: int, slice_rows: int
) -> None:
    """The limit falls from 4 while pages are read."""
    waiting: list[int] = []

    class Limited(Source):
        @contextmanager
        def _request(self, stop: threading.Event) -> Iterator[int]:
            with super()._request(stop) as number:
                if number == 10:
                    self.concurrency = concurrency
                # All that were asked for under the old limit have begun by then.
                if number > 10 + 4 + 2:
                    waiting.append(self.active)
                yield number

    source = Limited(spread(3000), rows=rows, slice_rows=slice_rows, concurrency=4, delay=0.002)
    given, _ = read(source)
    assert given == keys(source.events)
    assert len(waiting) > 30
    assert max(waiting) <= (1 if concurrency == 1 else concurrency + 2)


class Gated(Source):
    """Holds its first four requests behind the first slice until the gate is open, and sees whether later ones meet."""

    def __init__(self) -> None:
        super().__init__(spread(2000), rows=100, slice_rows=90, concurrency=4)
        self.gate = threading.Event()
        self.begun = count(1)
        self.later: list[bool] = []
        self._both = threading.Barrier(2, timeout=20.0)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        if window.start > WEEK.start:
            number = next(self.begun)
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
    source = Gated()
    pages = WindowReader(source, WEEK, Unhurried()).pages()
    next(pages)
    source.gate.set()
    # Nobody asks for a page meanwhile: behind the count and the first page come the four in flight, and two more.
    await_that(lambda: source.requests >= 2 + 4 + 2)
    pages.close()  # type: ignore[attr-defined]
    assert source.peak <= 4
    assert source.later == [True, True]


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
        """Holds the slices' first pages until four of them are in flight."""

        def first_page(self, window: Window, stop: threading.Event) -> Page:
            if window != WEEK:
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
