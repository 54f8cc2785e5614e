"""What the server counts before and after reading, at inclusive ends, and when it counts nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    IncompleteExportError,
    NotEntitledError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page
from airflow_provider_curation.audit.window import Window
from tests.support.pages import (
    MONTH,
    WEEK,
    Event,
    Source,
    keys,
    read,
    spread,
)


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
