"""Pages from CSV answers."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import IO, Final

import msgspec

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.retry import check_stop
from airflow_provider_curation.audit.endpoint import CSV_ROWS, CSV_ROWS_OLDER, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import IncompleteExportError, RowLimitError, UnexpectedAnswerError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.csv_page import AnswerEnd, CsvPage, csv_page
from airflow_provider_curation.audit.pages.page import Page, Tally, make_page
from airflow_provider_curation.audit.pages.page_body import body_of
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.reading.source import Counted, fewer_rows, is_oversized
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window


class CsvSource:
    """Pages of CSV; see :class:`PageSource`. Counts come from JSON requests, since CSV has none.

    The first answers show whether the server gives 500,000 events at a time, or fewer.
    """

    #: A page's last event is left to the next page, since a server that counts rows may have cut it.
    overlap = 2
    #: A compromise: few requests on servers with large answers, bounded temporary files and offsets on the others.
    slice_rows = 25_000

    def __init__(
        self,
        client: AuditClient,
        *,
        dry_run: bool = False,
        wanted: EventFilter | None = None,
        treatment: Treatment | None = None,
    ) -> None:
        self.rows = CSV_ROWS
        self._client = client
        self._dry_run = dry_run
        self._wanted = wanted or None
        self._treatment = treatment or None
        #: For counts and each slice's newest event, which CSV does not have.
        self._json = JsonSource(client, dry_run=dry_run)
        self._header: bytes | None = None
        self._line_break = b"\n"
        self._seen_rows = 0
        # Threads that check rows in parallel only compete for the interpreter: all would finish late, and none early.
        self._decoding = threading.Lock()
        #: Rows of each slice's last event.
        self._last_rows: dict[Window, int] = {}

    @property
    def concurrency(self) -> int:
        return self._client.concurrency

    @property
    def most_concurrent(self) -> int:
        return self._client.most_concurrent

    @property
    def end_inclusive(self) -> bool:
        """Whether the server includes events at a window's end; one answer, in JSON or CSV, shows it for both."""
        return self._json.end_inclusive

    @end_inclusive.setter
    def end_inclusive(self, inclusive: bool) -> None:
        self._json.end_inclusive = inclusive

    def entitled(self) -> bool | None:
        return is_entitled(self._client)

    def count(self, window: Window, stop: threading.Event) -> Counted:
        return self._json.count(window, stop)

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        newest = self._json.newest(window, stop)
        if newest.total == 0 or (newest.total and is_oversized(window, newest.total, self.slice_rows)):
            # The count says it all.
            return make_page([], newest.total, Tally(), body_of(()))
        if not self._dry_run:
            # The slice's last event has a row for each policy; an event of the dry-run stream has one row anyway.
            self._last_rows[window] = max(1, *(_policies(line) for line in newest.lines()), 0)
        page = self._csv(window, 0, newest.total, stop, overlaps=False)
        return page if newest.total is None else replace(page, total=newest.total)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        return self._csv(window, offset, remaining, stop, overlaps=True)

    def read_header(self, window: Window) -> bytes:
        """Return the server's header line, asking for it if no answer was read: an empty export has one too.

        :raises IncompleteExportError: if that answer shows that the window is not empty after all.
        """
        if self._header is None:
            part = next(window.split(REQUEST_WIDTH))
            page = self._csv(part, 0, 0, threading.Event(), overlaps=False)
            if page.answer_rows:
                raise IncompleteExportError(
                    f"{part}: no events were read, since the server counted none, and then it gave {page.answer_rows} "
                    "rows. Export the window again once it has settled (a longer settle_time)."
                )
        assert self._header is not None
        return self._header + self._line_break

    def _csv(
        self, window: Window, offset: int, remaining: int | None, stop: threading.Event, overlaps: bool
    ) -> CsvPage:
        # Every server gives a few events in one answer; for more, ask as if it gave 500,000.
        few = remaining is not None and remaining <= CSV_ROWS_OLDER
        rows = min(self.rows, CSV_ROWS_OLDER) if few else self.rows
        query = Query(window, rows, offset, dry_run=self._dry_run, format="csv", end_inclusive=self.end_inclusive)
        end = AnswerEnd(remaining, self._last_rows.get(window, 1), self._seen_rows)

        def decode(answer: IO[bytes]) -> CsvPage:
            with self._decoding:
                # Checking the rows of a large answer takes seconds, and others may have been waiting before this one.
                check_stop(stop)
                return csv_page(query, answer, self._wanted, overlaps, end, self._treatment, self._client.limits)

        try:
            page = self._client.read_zip(query, decode, stop)
        except RowLimitError as error:
            self.rows = fewer_rows(error, rows, CSV_ROWS_OLDER)
            return self._csv(window, offset, remaining, stop, overlaps)
        self._seen_rows = max(self._seen_rows, page.answer_rows)
        header = page.header.rstrip(b"\r\n")
        if self._header is None:
            self._header, self._line_break = header, page.header[len(header) :] or b"\n"
        elif self._header != header:
            raise UnexpectedAnswerError(query.asked, "a CSV header that differs from the one of the answer before")
        return page


def _policies(event: bytes) -> int:
    return len(_decode_policies(event).policies or ())


class _EventPolicies(msgspec.Struct):
    policies: list[msgspec.Raw] | None = None


# Made once: msgspec crashes the process if two threads are the first to use a class.
_decode_policies: Final = msgspec.json.Decoder(_EventPolicies).decode
