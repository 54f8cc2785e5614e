"""Pages from JSON answers."""

from __future__ import annotations

import threading

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.audit.errors import ContradictoryAnswerError, RowLimitError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page
from airflow_provider_curation.audit.reading.source import Counted, check_plausible, counted_with, fewer_rows
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window


class JsonSource:
    """Pages of JSON; see :class:`PageSource`.

    :param wanted: which events to keep.
    :param treatment: what alters them.
    :param rows: events a page, 1 to 2000.
    :param marked: list on each page which events were read and kept.
    """

    overlap = 1
    slice_rows = 20_000

    def __init__(
        self,
        client: AuditClient,
        *,
        dry_run: bool = False,
        wanted: EventFilter | None = None,
        treatment: Treatment | None = None,
        rows: int = JSON_ROWS,
        marked: bool = False,
    ) -> None:
        # A page of one event would be nothing but overlap.
        self.rows = max(rows, self.overlap + 1)
        self.end_inclusive = False
        self._client = client
        self._dry_run = dry_run
        self._wanted = wanted or None
        self._treatment = treatment or None
        self._marked = marked
        # Threads that decode in parallel only compete for the interpreter, and each would hold a page in memory.
        self._decoding = threading.Lock()

    @property
    def concurrency(self) -> int:
        return self._client.concurrency

    @property
    def most_concurrent(self) -> int:
        return self._client.most_concurrent

    def entitled(self) -> bool | None:
        return is_entitled(self._client)

    def count(self, window: Window, stop: threading.Event) -> Counted:
        return counted_with(self.newest(window, stop))

    def newest(self, window: Window, stop: threading.Event) -> Page:
        """Return a page of the window's newest event, with the window's total."""
        # The newest event also reveals an inclusive end, without an extra request.
        inclusive = self.end_inclusive
        query = Query(window, 1, direction="desc", include_total=True, dry_run=self._dry_run, end_inclusive=inclusive)

        def decode(body: memoryview) -> Page:
            return _consistent(query, json_page(query, body, limits=self._client.limits))

        try:
            return self._client.read_json(query, decode, stop)
        except EndInclusiveError:
            if inclusive:
                raise
            self.end_inclusive = True
            return self.newest(window, stop)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        return self._json(window, 0, self.rows, stop, include_total=True, overlaps=False)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        return self._json(window, offset, self.rows, stop, include_total=False, overlaps=True)

    def tail(self, window: Window, known: int, stop: threading.Event) -> Page:
        """Return the page that begins with the last known event, with the total."""
        inclusive = self.end_inclusive
        try:
            return self._json(window, max(known - 1, 0), self.rows, stop, include_total=True, overlaps=known > 0)
        except EndInclusiveError:
            if inclusive:
                raise
            self.end_inclusive = True
            return self.tail(window, known, stop)

    def _json(
        self,
        window: Window,
        offset: int,
        rows: int,
        stop: threading.Event,
        include_total: bool,
        overlaps: bool,
    ) -> Page:
        query = Query(
            window, rows, offset, include_total=include_total, dry_run=self._dry_run, end_inclusive=self.end_inclusive
        )

        def decode(body: memoryview) -> Page:
            with self._decoding:
                page = json_page(
                    query, body, self._wanted, overlaps, self._treatment, self._marked, self._client.limits
                )
            return _consistent(query, page)

        try:
            return self._client.read_json(query, decode, stop)
        except RowLimitError as error:
            self.rows = fewer_rows(error, rows, rows // 2)
            return self._json(window, offset, self.rows, stop, include_total, overlaps)


def _consistent(query: Query, page: Page) -> Page:
    """Return the page, after checking that its total agrees with its window and its events.

    :raises ContradictoryAnswerError: if the total is not plausible, or smaller than the events given, or counts events
        where the page has none.
    """
    check_plausible(query.asked, query.window, page.total)
    if page.total is not None:
        seen = query.offset + page.count
        if (page.count and page.total < seen) or (not page.count and page.total > seen):
            came_back = f"total_count {page.total} beside {page.count} events from offset {query.offset} on"
            raise ContradictoryAnswerError(query.asked, came_back)
    return page
