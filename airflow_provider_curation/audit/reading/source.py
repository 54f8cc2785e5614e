"""The interface of a reader's sources of pages, the same for JSON and CSV answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from airflow_provider_curation.audit.errors import Asked, ContradictoryAnswerError, RowLimitError
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.window import Window

#: The most events that one second can plausibly have; a second is read in one go, and kept on disk.
MOST_EVENTS_A_SECOND: Final = 1_000_000


@dataclass(frozen=True)
class Counted:
    """The server's answer when it is asked to count a window.

    :param total: its ``total_count``; ``None`` if it gives none.
    :param newest: the highest event id that it showed with it; ``None`` if it showed none.
    """

    total: int | None
    newest: int | None = None


class PageSource(Protocol):
    """Pages of one stream, from JSON or CSV answers."""

    #: Events asked for in a page; lowered when the server refuses as many.
    rows: int
    #: Events that a page shares with the one before.
    overlap: int
    #: The most events that a slice should have.
    slice_rows: int
    #: Whether the server includes events at a window's end, contrary to its reference.
    end_inclusive: bool

    @property
    def concurrency(self) -> int:
        """The most pages in flight, right now: fewer while the server refuses some, or is slow."""

    @property
    def most_concurrent(self) -> int:
        """The most pages in flight, ever."""

    def count(self, window: Window, stop: threading.Event) -> Counted:
        """Return the server's count of a window's events, and the newest one of them."""

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        """Return a window's first page, with its total if the server gives one.

        The page may be empty if the window is oversized and has to be divided anyway.
        """

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        """Return the page that begins with the last event of the page before, the one at ``offset``.

        :param remaining: events from there to the window's end, if the server counted them.
        """

    def entitled(self) -> bool | None:
        """Return whether the server is entitled to Curation; ``None`` if it does not say."""


def counted_with(page: Page) -> Counted:
    """Return the count that a page came with."""
    return Counted(page.total, page.last[0] if page.last else None)


def is_oversized(window: Window, total: int, slice_rows: int) -> bool:
    """Return whether a slice has to be divided.

    :param total: the server's count of its events.
    :param slice_rows: the most events that a slice should have; twice as many are not worth dividing it.
    """
    return total > 2 * slice_rows and window.width > timedelta(seconds=1)


def check_plausible(asked: Asked, window: Window, total: int | None) -> None:
    """Check that the number of events that the server counts or gives is plausible for a window.

    :raises ContradictoryAnswerError: if it is not.
    """
    if total is not None and not 0 <= total <= window.seconds * MOST_EVENTS_A_SECOND:
        came_back = f"a count of {total}, which is not between none and {MOST_EVENTS_A_SECOND:,} events a second"
        raise ContradictoryAnswerError(asked, came_back)


def fewer_rows(error: RowLimitError, rows: int, otherwise: int) -> int:
    """Return how many rows to ask for after a refusal: the limit that the server named, if it is lower.

    :param rows: how many rows were asked for.
    :param otherwise: how many to ask for if the server named no usable limit.
    :raises RowLimitError: if the number cannot be lowered further.
    """
    named = error.limit if error.limit is not None and error.limit < rows else otherwise
    if not 1 <= named < rows:
        raise error
    return named
