"""A narrow window is counted with its first page, which saves a request; what that page cannot tell is asked for."""

from __future__ import annotations

import threading
from dataclasses import replace as changed
from datetime import timedelta

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import REQUEST_WIDTH
from airflow_provider_curation.audit.errors import IncompleteExportError, NotEntitledError, RowsShiftedError
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.source import Counted
from airflow_provider_curation.audit.window import Window
from tests.support.listed import DAY, Client, day_of, make
from tests.support.listed import read as read_export
from tests.support.pages import MONTH, WEEK, Event, Source, keys, read, spread

HOUR = Window(WEEK.start, WEEK.start + timedelta(hours=1))


class Counting(Source):
    """Notes how often each kind of request comes."""

    counts = firsts = 0

    def count(self, window: Window, stop: threading.Event) -> Counted:
        self.counts += 1
        return super().count(window, stop)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        self.firsts += 1
        return super().first_page(window, stop)


@pytest.mark.parametrize("number", [0, 1, 1999, 2000])
def test_an_hour_takes_its_first_page_and_the_count_after_it(number: int) -> None:
    source = Counting(spread(number, HOUR) if number else [])
    given, reader = read(source, HOUR)
    assert given == keys(source.events)
    assert reader.reconciled
    assert (source.requests, source.firsts, source.counts) == (2, 1, 1)


@pytest.mark.parametrize(("file_format", "number", "requests"), [("jsonl", 1999, 2), ("jsonl", 0, 2), ("csv", 1999, 3)])
def test_the_requests_of_an_export(file_format: str, number: int, requests: int) -> None:
    """CSV has no total: its count is a request of its own, and the page comes next."""
    client = Client(day_of(number))
    export = make(client, file_format=file_format)
    read_export(export)
    assert export.reader.reconciled
    assert export.tally.read == number
    assert len(client.queries) == requests
    assert [query.include_total for query in client.queries if query.format == "json"][-1]


def test_a_window_of_up_to_two_slices_is_read_from_the_first_page_on() -> None:
    source = Counting(spread(400), rows=101, slice_rows=200)
    given, reader = read(source)
    assert given == keys(source.events)
    assert (source.firsts, source.counts, reader.slices, source.requests) == (1, 1, 1, 5)


def test_an_oversized_window_is_divided() -> None:
    source = Counting(spread(401), rows=101, slice_rows=200)
    given, reader = read(source)
    assert given == keys(source.events)
    assert reader.reconciled
    # The first page was the count, and nothing else.
    assert (reader.slices, source.firsts, source.counts) == (3, 4, 1)


def test_an_oversized_csv_is_counted_before_it_is_asked_for() -> None:
    client = Client(day_of(50))
    export = make(client, file_format="csv")
    export._source.slice_rows = 20
    read_export(export)
    assert export.reader.reconciled
    first_csv = next(query for query in client.queries if query.format == "csv")
    assert first_csv.window != DAY


def test_a_wide_window_is_counted_in_parts() -> None:
    source = Counting(spread(100, MONTH))
    assert read(source, MONTH)[0] == keys(source.events)
    spans = len(list(MONTH.split(REQUEST_WIDTH)))
    assert (source.firsts, source.counts) == (spans, 2 * spans)


def test_a_first_page_that_is_out_of_order_is_read_again() -> None:
    def shift(number: int, source: Source) -> None:
        if number == 0:
            raise RowsShiftedError(Query(HOUR, 1).asked, "rows out of order")

    source = Counting(spread(10, HOUR), before=shift)
    given, reader = read(source, HOUR)
    assert given == keys(source.events)
    assert reader.reconciled
    assert (source.firsts, source.counts) == (2, 2)


@pytest.mark.parametrize("fewer", [1, -1])
def test_a_wrong_total_of_the_first_page_is_an_error(fewer: int) -> None:
    class Miscounting(Source):
        def first_page(self, window: Window, stop: threading.Event) -> Page:
            page = super().first_page(window, stop)
            return changed(page, total=(page.total or 0) - fewer) if len(self.asked) == 1 else page

    with pytest.raises(IncompleteExportError, match=f"the server counted {30 - fewer} before and 30 after"):
        read(Miscounting(spread(30)))


def test_an_empty_first_page_asks_for_the_entitlement() -> None:
    source = Counting([], is_entitled=False)
    with pytest.raises(NotEntitledError):
        read(source, HOUR)
    assert source.requests == 1


@pytest.mark.parametrize("number", [0, 30])
def test_without_a_total_the_newest_event_is_still_asked_for_before_reading(number: int) -> None:
    source = Counting(spread(number, HOUR) if number else [], totals=False)
    given, reader = read(source, HOUR)
    assert given == keys(source.events)
    assert not reader.reconciled
    # Before and after reading, and at the slice's end; an empty page is believed when it has come twice.
    assert (source.counts, source.firsts) == (3, 1 if number else 2)


def test_without_a_total_an_event_that_was_shown_before_reading_must_be_read() -> None:
    class Hiding(Source):
        """Shows an event with its first count, and never again."""

        shown = True

        def count(self, window: Window, stop: threading.Event) -> Counted:
            counted = super().count(window, stop)
            counted, self.shown = changed(counted, newest=99 if self.shown else counted.newest), False
            return counted

    with pytest.raises(IncompleteExportError, match="showed event 99 when it was asked to count"):
        read(Hiding(spread(30, HOUR), totals=False), HOUR)


def test_a_total_that_only_the_count_gives_is_the_count() -> None:
    class Forgetful(Source):
        def first_page(self, window: Window, stop: threading.Event) -> Page:
            page = super().first_page(window, stop)
            return changed(page, total=None) if len(self.asked) == 1 else page

    source = Forgetful(spread(30, HOUR))
    given, reader = read(source, HOUR)
    assert given == keys(source.events)
    assert reader.reconciled


@pytest.mark.parametrize("number", [5, 50])
def test_an_inclusive_end_on_a_first_page_is_found_out(number: int) -> None:
    inside = spread(number, HOUR)
    source = Source([*inside, Event(9999, HOUR.end)], rows=20, inclusive=True)
    given, reader = read(source, HOUR)
    assert given == keys(inside)
    assert reader.reconciled
