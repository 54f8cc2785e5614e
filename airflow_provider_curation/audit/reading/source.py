"""Where a reader's pages come from, whatever the format of the answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Protocol

from airflow_provider_curation.audit.errors import Asked, ContradictoryAnswerError, RowLimitError
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.window import Window

#: Events of one second above which a count is taken for a mistake: a second is read at once, and kept on disk.
MOST_EVENTS_A_SECOND: Final = 1_000_000


@dataclass(frozen=True)
class Counted:
    """What a server says of a window when it is asked to count it.

    :param total: its ``total_count``; ``None`` if it gives none.
    :param newest: the highest id of an event that it showed beside; ``None`` if it showed none.
    """

    total: int | None
    newest: int | None = None


class PageSource(Protocol):
    """Pages of one stream, from JSON or CSV answers."""

    #: Events asked for in a page; lowered when the server refuses as many.
    rows: int
    #: Events by which a page reaches back into the one before.
    overlap: int
    #: Events that a slice should hold at most.
    slice_rows: int
    #: The server includes events at a window's end, against its reference.
    end_inclusive: bool

    @property
    def concurrency(self) -> int:
        """Pages in flight at most, right now."""

    def count(self, window: Window, stop: threading.Event) -> Counted:
        """Return the server's count of a window's events, and the newest one of them."""

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        """Return a window's first page, with its total if the server gives one."""

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        """Return the page that begins with the last event of the page before, the one at ``offset``.

        :param remaining: events from there to the window's end, if the server counted them.
        """

    def entitled(self) -> bool | None:
        """Return whether the server is entitled to Curation; ``None`` if it does not say."""


def check_plausible(asked: Asked, window: Window, total: int | None) -> None:
    """Check that a window can hold as many events as the server counts or gives.

    :raises ContradictoryAnswerError: if it cannot.
    """
    if total is not None and not 0 <= total <= window.seconds * MOST_EVENTS_A_SECOND:
        came_back = f"a count of {total}, which is not between none and {MOST_EVENTS_A_SECOND:,} events a second"
        raise ContradictoryAnswerError(asked, came_back)


def fewer_rows(error: RowLimitError, rows: int, otherwise: int) -> int:
    """Return how many rows to ask for after a refusal: what the server named, if that is fewer than were asked for.

    :param rows: what was asked for.
    :param otherwise: what to ask for if the server named nothing of use.
    :raises RowLimitError: if there is nothing fewer to ask for.
    """
    named = error.limit if error.limit is not None and error.limit < rows else otherwise
    if not 1 <= named < rows:
        raise error
    return named
