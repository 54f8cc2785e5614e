"""Reads a window's events slice by slice, checks them, and reconciles them with the server's own counts.

A slice's pages are yielded once the slice is complete. The window is complete when its slices add up to the server's
counts before and after reading.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import (
    Asked,
    IncompleteCsvError,
    IncompleteExportError,
    RowsShiftedError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page, Tally, check_overlap
from airflow_provider_curation.audit.reading.counts import WindowCounts
from airflow_provider_curation.audit.reading.prefetch import Prefetch, Requests, page_size
from airflow_provider_curation.audit.reading.slices import Slice, SlicePlan
from airflow_provider_curation.audit.reading.source import PageSource, check_plausible, is_oversized
from airflow_provider_curation.audit.window import Window

log = logging.getLogger(__name__)

#: How often one slice is read before a lasting difference is an error.
_READINGS = 3


class WindowReader:
    """Reads one window once, and keeps the counts and tallies of what was read.

    :param stop: when set, reading ends with :class:`StoppedError`.
    :param retention: how long the server remembers events; ``None`` does not check it.
    """

    def __init__(
        self,
        source: PageSource,
        window: Window,
        stop: threading.Event | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self.window = window
        self.counts = WindowCounts(source, window, retention)
        self.tally = Tally()
        #: Events received so far, including those of an incomplete slice: for showing progress.
        self.arrived = 0
        self._source = source
        self._stop = stop or threading.Event()
        self._plan = SlicePlan()

    @property
    def slices(self) -> int:
        """Slices planned, including those that had to be divided."""
        return self._plan.planned

    @property
    def total_before(self) -> int | None:
        """The server's count of the window's events before reading."""
        return self.counts.before

    @property
    def total_after(self) -> int | None:
        """The server's count of the window's events after reading."""
        return self.counts.after

    @property
    def reconciled(self) -> bool:
        """Whether the events read are as many as the server counted before and after."""
        return self.counts.reconciled

    @property
    def reconciled_why(self) -> str:
        """The reason for :attr:`reconciled`, as a sentence."""
        if self.reconciled:
            return f"the server counted {self.total_before} events before and after reading, and as many were read"
        return "the server gave no total_count to compare the events with"

    def pages(self) -> Iterator[Page]:
        """Yield the window's pages in order, those of a slice only after the whole slice was verified.

        The last step raises if the window does not add up: treat the pages as unproven until the iteration ends.

        :raises IncompleteExportError: if reading and counting differ, or rows kept shifting.
        :raises ExpiredWindowError: if the server may have forgotten a part of the window when it counted.
        :raises NotEntitledError: if the server counts no events because it is not entitled to Curation.
        :raises RequestError: for a request that failed for good.
        :raises StoppedError: when asked to stop.
        """
        self._requests = Requests(self._source, self.window, self._stop)
        try:
            self._begin()
            while part := self._plan.current():
                self._prefetch.refill()
                pages = self._read(part)
                if pages is None:
                    continue
                for page in pages:
                    self._prefetch.refill()
                    part.span.read += page.tally.read
                    if page.last:
                        part.span.highest = max(part.span.highest or 0, page.last[0])
                    self.tally.add(page.tally)
                    yield page
                    page.body.close()
                if whole := part.finish(sum(page.tally.read for page in pages)):
                    raise IncompleteExportError(
                        f"{whole.window}: {whole.read} events were read in parts, but the server counted {whole.total} "
                        "before it was divided. Export the window again once it has settled; if this lasts, compare "
                        "the numbers with the server's own audit page."
                    )
                self.counts.finish_slice(part.span, part.window.end, self._requests.count_all)
            self.counts.count_after(self._requests.count_all)
        finally:
            self._requests.close()

    def _begin(self) -> None:
        """Count the window before it is read, and plan its slices.

        The first page of a narrow window comes with its total: that is the count, and saves a request.
        """
        first = self._first_page() if len(self.counts.spans) == 1 else None
        self.counts.count_before(self._requests.count_all, first)
        size, before = page_size(self._source), self.counts.before
        if first is not None:
            divided = first.total != before or (before and is_oversized(self.window, before, size.slice_rows))
            first = None if divided else first
        self._plan = SlicePlan(self.counts.spans, size, whole=first is not None)
        self._prefetch = Prefetch(self._source, self._plan, self._requests)
        if first is not None and (part := self._plan.current()):
            self._prefetch.has_arrived(part, first)

    def _first_page(self) -> Page | None:
        """Return the window's first page; ``None`` if it cannot be used as it is, which reading it again deals with."""
        try:
            return self._requests.first_page(self.window)
        except (EndInclusiveError, IncompleteCsvError, RowsShiftedError):
            return None

    def _read(self, part: Slice) -> list[Page] | None:
        """Return all pages of the current slice, and take it off the plan.

        ``None`` if the slice was too large, or has to be counted again first: it then stays on the plan, whole or in
        parts.
        """
        for reading in range(1, _READINGS + 1):
            try:
                pages = self._slice_pages(part)
                break
            except EndInclusiveError:
                if self._source.end_inclusive:
                    raise
                self._end_is_inclusive()
                return None
            except IncompleteCsvError:
                if part.window.width <= timedelta(seconds=1):
                    raise
                self._divide(part, 2)
                return None
            except RowsShiftedError as error:
                log.warning("Reading %d of %s was inconsistent: %s", reading, part.window, error)
                if reading == _READINGS:
                    raise IncompleteExportError(
                        f"{part.window} was read {reading} times, and each time its rows shifted or did not match the "
                        f"server's count. Last: {error}"
                    ) from error
                self._prefetch.drop(part)
                self._stop.wait(reading - 0.5)
        if pages is not None:
            self._plan.finish()
        return pages

    def _slice_pages(self, part: Slice) -> list[Page] | None:
        """Return a slice's pages; ``None`` if it was too large and has been divided."""
        page = self._first(part)
        check_plausible(Asked(AUDIT_PATH, part.window), part.window, page.total)
        size = page_size(self._source)
        if page.total is not None and part.is_oversized(page.total, size):
            self._divide(part, -(-page.total // size.slice_rows), page.total)
            return None
        if part.pages is None:
            self._prefetch.plan_pages(part, page)
        self._prefetch.forget_first(part)
        total = page.total
        pages = [page]
        self.arrived = self.tally.read + page.count
        place = page.count - 1
        while page.count and (total is None or place + 1 < total):
            self._prefetch.refill()
            if total is None and place >= 2 * size.slice_rows and part.window.seconds > 1:
                self._divide(part, 2)
                return None
            following = self._following(part, pages, place)
            if total is None and following.count == 1:
                break
            pages.append(following)
            self.arrived += following.tally.read
            page = following
            place += following.count - 1
            # A server that gives no total may never stop.
            check_plausible(Asked(AUDIT_PATH, part.window), part.window, place + 1)
        if total is None:
            self._check_end(part, pages[-1])
        read = sum(each.tally.read for each in pages)
        if total is not None and read != total:
            raise RowsShiftedError(Asked(AUDIT_PATH, part.window), f"{read} events where the server counted {total}")
        return pages

    def _first(self, part: Slice) -> Page:
        """Return a slice's first page; without a total, an empty page must come twice."""
        page = self._prefetch.first(part)
        if page.total is None and not page.count:
            self._prefetch.drop(part)
            page = self._prefetch.first(part)
        return page

    def _check_end(self, part: Slice, page: Page) -> None:
        """Check that a slice without a total ends with the newest event that the server shows.

        :raises RowsShiftedError: if it does not.
        """
        [counted] = self._requests.count_all([part.window])
        if counted.newest is not None and (page.last is None or page.last[0] < counted.newest):
            came_back = f"an end before event {counted.newest}, which the server shows elsewhere"
            raise RowsShiftedError(Asked(AUDIT_PATH, part.window), came_back)

    def _following(self, part: Slice, pages: list[Page], place: int) -> Page:
        """Return the page that begins with the last event so far, which stands at ``place``."""
        total = pages[0].total
        if self._prefetch.has(part, place):
            following = self._prefetch.next(part)
        else:
            self._fit_plan(part, pages, place)
            following = self._prefetch.page(part, place)
        check_overlap(Asked(AUDIT_PATH, part.window, "the rows of two pages"), pages[-1], following)
        # Without a total, the overlap alone, twice, is the end; with one, a page may have come back short.
        for _ in range(1, 2 if total is None else _READINGS):
            if following.count > 1:
                return following
            following = self._prefetch.page(part, place)
            check_overlap(Asked(AUDIT_PATH, part.window, "the rows of two pages"), pages[-1], following)
        if total is not None and following.count < 2:
            asked = Asked(AUDIT_PATH, part.window, f"offset {place}")
            raise RowsShiftedError(asked, "an end of the rows before as many were read as the server counted")
        return following

    def _fit_plan(self, part: Slice, pages: list[Page], place: int) -> None:
        """Plan a slice's pages again if the last page did not have the expected length."""
        assert part.pages is not None
        if self._prefetch.pending(part) or part.pages.left:
            self._prefetch.drop_pages(part)
            part.pages.misfit(place, [page.count for page in pages], page_size(self._source))

    def _divide(self, part: Slice, parts: int, total: int | None = None) -> None:
        self._prefetch.drop(part)
        self._plan.divide(parts, total)

    def _end_is_inclusive(self) -> None:
        """Ask for ends one second earlier from now on, and count again."""
        log.info("The server includes events at a window's end; asking for windows up to the second before it.")
        self._source.end_inclusive = True
        for part in self._plan.open:
            self._prefetch.drop(part)
            part.forget_totals()
        self.counts.count_before(self._requests.count_all)
