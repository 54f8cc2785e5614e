"""Where a reader's pages come from: the JSON or the CSV answers of one stream."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import msgspec

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import CSV_ROWS, CSV_ROWS_OLDER, JSON_ROWS, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import RowLimitError, UnexpectedAnswerError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.csv_page import AnswerEnd, CsvPage, csv_page
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page, json_page
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window


class JsonSource:
    """Pages of JSON.

    :param wanted: which events to keep.
    :param treatment: what alters them.
    :param rows: events a page, 1 to 2000.
    :param concurrency: pages in flight, 1 to 8.
    :param marked: note on each page which events were read and kept.
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
        concurrency: int = 4,
        marked: bool = False,
    ) -> None:
        # A page of one event would be all overlap.
        self.rows = max(rows, self.overlap + 1)
        self.end_inclusive = False
        self._client = client
        self._dry_run = dry_run
        self._wanted = wanted or None
        self._treatment = treatment or None
        self._concurrency = concurrency
        self._marked = marked
        # Threads that decode side by side only fight for the interpreter, and each would hold a page in memory.
        self._decoding = threading.Lock()

    @property
    def concurrency(self) -> int:
        """Pages in flight: one, once the server has answered 429."""
        return 1 if self._client.throttled else self._concurrency

    def entitled(self) -> bool | None:
        return self._client.entitled()

    def count(self, window: Window, stop: threading.Event) -> int | None:
        return self._newest(window, stop).total

    def _newest(self, window: Window, stop: threading.Event) -> Page:
        """Return a page of the window's newest event, with the window's total."""
        # The newest event is also the one that shows an inclusive end, at no extra request.
        inclusive = self.end_inclusive
        query = Query(window, 1, direction="desc", include_total=True, dry_run=self._dry_run, end_inclusive=inclusive)
        try:
            return self._client.read_json(query, partial(json_page, query), stop)
        except EndInclusiveError:
            if inclusive:
                raise
            self.end_inclusive = True
            return self._newest(window, stop)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        return self._json(window, 0, self.rows, stop, include_total=True)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        return self._json(window, offset, self.rows, stop)

    def tail(self, window: Window, known: int, stop: threading.Event) -> Page:
        """Return the page behind the events that are known, with the total; it begins with the last one of them."""
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
        include_total: bool = False,
        overlaps: bool | None = None,
    ) -> Page:
        query = Query(
            window, rows, offset, include_total=include_total, dry_run=self._dry_run, end_inclusive=self.end_inclusive
        )

        def decode(body: bytes) -> Page:
            with self._decoding:
                overlapping = offset > 0 if overlaps is None else overlaps
                return json_page(query, body, self._wanted, overlapping, self._treatment, self._marked)

        try:
            return self._client.read_json(query, decode, stop)
        except RowLimitError as error:
            self.rows = _fewer_rows(error, rows, rows // 2)
            return self._json(window, offset, self.rows, stop, include_total, overlaps)


class CsvSource(JsonSource):
    """Pages of CSV; counts are asked for in JSON, since CSV has none.

    The first answers show whether the server gives 500,000 events at a time, or fewer.
    """

    #: A page's last event is left to the next page, since a server that counts rows may have cut it.
    overlap = 2
    #: A compromise: few requests on servers with large answers, bounded temporary files and offsets on the others.
    slice_rows = 50_000

    def __init__(
        self,
        client: AuditClient,
        *,
        dry_run: bool = False,
        wanted: EventFilter | None = None,
        treatment: Treatment | None = None,
        concurrency: int = 4,
    ) -> None:
        super().__init__(
            client, dry_run=dry_run, wanted=wanted, treatment=treatment, rows=CSV_ROWS, concurrency=concurrency
        )
        self._header: bytes | None = None
        self._line_break = b"\n"
        self._seen_rows = 0
        #: Rows of each slice's last event.
        self._last_rows: dict[Window, int] = {}

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        newest = self._newest(window, stop)
        if not self._dry_run:
            # The slice's last event has a row for each policy; an event of the dry-run stream has one row anyway.
            self._last_rows[window] = max(1, *(_policies(line) for line in newest.lines()), 0)
        page = self._csv(window, 0, newest.total, stop)
        return page if newest.total is None else replace(page, total=newest.total)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        return self._csv(window, offset, remaining, stop)

    def read_header(self, window: Window) -> bytes:
        """Return the server's header line, asking for it if no answer was read: an empty export has one too."""
        if self._header is None:
            self._csv(next(window.split(REQUEST_WIDTH)), 0, 0, threading.Event())
        assert self._header is not None
        return self._header + self._line_break

    def _csv(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> CsvPage:
        # A few events are had from every server at once; more are asked for as if the server gave 500,000.
        few = remaining is not None and remaining <= CSV_ROWS_OLDER
        rows = min(self.rows, CSV_ROWS_OLDER) if few else self.rows
        query = Query(window, rows, offset, dry_run=self._dry_run, format="csv", end_inclusive=self.end_inclusive)
        end = AnswerEnd(remaining, self._last_rows.get(window, 1), self._seen_rows)
        decode = partial(csv_page, query, wanted=self._wanted, overlaps=offset > 0, end=end, treatment=self._treatment)
        try:
            page = self._client.read_zip(query, decode, stop)
        except RowLimitError as error:
            self.rows = _fewer_rows(error, rows, CSV_ROWS_OLDER)
            return self._csv(window, offset, remaining, stop)
        self._seen_rows = max(self._seen_rows, page.answer_rows)
        header = page.header.rstrip(b"\r\n")
        if self._header is None:
            self._header, self._line_break = header, page.header[len(header) :] or b"\n"
        elif self._header != header:
            raise UnexpectedAnswerError(query.asked, "a CSV header that differs from the one of the answer before")
        return page


def _policies(event: bytes) -> int:
    return len(msgspec.json.decode(event, type=_EventPolicies).policies or ())


class _EventPolicies(msgspec.Struct):
    policies: list[msgspec.Raw] | None = None


def _fewer_rows(error: RowLimitError, rows: int, otherwise: int) -> int:
    """Return how many rows to ask for after a refusal: what the server named, if it is fewer than was asked.

    :raises RowLimitError: if there is nothing fewer to ask for.
    """
    named = error.limit if error.limit is not None and error.limit < rows else otherwise
    if not 1 <= named < rows:
        raise error
    return named
