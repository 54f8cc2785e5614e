"""How many pages are in flight and in memory."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window
from tests.support.pages import WEEK, Event, Source, keys, read, spread
from tests.support.unhurried import Unhurried


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
