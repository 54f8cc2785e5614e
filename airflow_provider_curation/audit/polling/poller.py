"""Reads what is new in a window that is still open, and returns a batch of the wanted events.

Events are read in ascending id. The cursor knows how many events each second of the overlap holds, and its highest id.
One request for the page that begins with the last known event therefore shows whether anything is new (the server's
total), and whether it lies behind that event or, having become visible late, before it. Only what is new is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.endpoint import JSON_ROWS, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.pages.page import Page, second_of
from airflow_provider_curation.audit.polling.batch import Batch, PendingBatch
from airflow_provider_curation.audit.polling.cursor import Cursor
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.reading.counts import check_entitled
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window, to_utc

log = logging.getLogger(__name__)

#: The next poll comes soon anyway, so requests give up early.
POLL_RETRY = RetryPolicy(attempts=3, longest_wait=5.0, longest_retry_after=5.0)
#: How far the server's clock may be off from this machine's without an event being missed.
CLOCKS_APART = timedelta(hours=1)
#: How often a server that shows no events at all is asked whether it is entitled to Curation.
_ENTITLEMENT_EVERY = timedelta(hours=1)
#: Pages of new events that are read one by one; more are read in slices, several pages in flight.
_PAGES_ONE_BY_ONE = 3
#: The most requests for new events in one poll; the next poll goes on from there.
_ROUNDS = 20
#: Consecutive polls that may disagree with the server's count before it is an error.
_DISAGREEMENTS = 3
#: A poller that is further behind than this reads part after part, of about so many events: this bounds its memory.
_BEHIND = timedelta(hours=1)
_PART_EVENTS = 20_000
_SECOND = timedelta(seconds=1)


class _Reading(Enum):
    """How far the reading of a window got."""

    WHOLE = "whole"  # the known events are as many as the server counts
    MOVING = "moving"  # events arrive during the read: the window has not settled
    UNFINISHED = "unfinished"  # too many events for one poll


class Poller:
    """Finds new events at each poll; its memory is bounded by the events of the settle time.

    :param source: pages with marks, of the events that the search wants.
    :param state: the :meth:`state` of an earlier poller, to go on from.
    """

    def __init__(self, source: JsonSource, search: Search, state: Mapping[str, Any] | None = None) -> None:
        self.search = search
        #: Whether the last poll read everything that was there.
        self.caught_up = False
        self._source = source
        self._stop = threading.Event()
        self._entitlement_asked: datetime | None = None
        self._cursor = Cursor.restored(state) if state else Cursor(search.start)
        #: Consecutive polls that made no progress, because the server's count and its events disagree.
        self._disagreements: int = state.get("disagreements", 0) if state else 0
        self._pending = PendingBatch(search, state.get("pending") if state else None)

    @classmethod
    def of(
        cls,
        client: AuditClient,
        search: Search,
        *,
        page_size: int = JSON_ROWS,
        state: Mapping[str, Any] | None = None,
    ) -> Poller:
        """Make a poller that reads through a client."""
        source = JsonSource(client, wanted=search.wanted, rows=page_size, marked=True)
        return cls(source, search, state)

    def poll(self, now: datetime | None = None) -> Batch | None:
        """Read what is new, and return a batch once there are enough wanted events.

        An error loses nothing: the next poll goes on where this one failed.

        :raises IncompleteExportError: if several polls in a row read other events than the server counts.
        :raises CurationAuditError: its subclasses name the fault.
        """
        now = _floor((now or datetime.now(timezone.utc)).astimezone(timezone.utc))
        self.caught_up = False
        try:
            self.caught_up = self._read_on(now)
        except IncompleteExportError as error:
            self._disagreements += 1
            # The events found so far are real: return them first.
            if self._disagreements >= _DISAGREEMENTS and self._pending.count < self.search.min_events:
                raise
            log.warning("%s", error)
        if self._pending.count < self.search.min_events:
            return None
        batch = self._pending.batch()
        self._pending = PendingBatch(self.search)
        return batch

    def over(self, now: datetime) -> bool:
        """Return whether no more events can be added, and the last poll read all there are."""
        return self.caught_up and self.search.over(now)

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, where to read on, the known events of the overlap, and those waiting for a batch."""
        state = self._cursor.state()
        if self._disagreements:
            state["disagreements"] = self._disagreements
        if self._pending.count:
            state["pending"] = self._pending.state()
        return state

    # Which part of the window to read

    def _window(self, now: datetime) -> Window | None:
        """Return the window to read now, if any."""
        end = now + _SECOND
        end = end if self.search.end is None else min(end, self.search.end)
        return Window(self._cursor.since, end) if self._cursor.since < end else None

    def _part(self, window: Window, now: datetime) -> Window:
        """Return the window, or a first part of it if the poller is far behind and there is much to read."""
        settled = now - self.search.settle_time - CLOCKS_APART
        if window.start >= settled - _BEHIND:
            return window
        behind = Window(window.start, min(settled, window.end, window.start + REQUEST_WIDTH))
        total = self._source.count(behind, self._stop).total
        parts = 6 if total is None else -(-total // _PART_EVENTS)
        first = next(behind.divide(parts))
        # Wider than the overlap with the next part, or reading would make no progress.
        return Window(first.start, min(max(first.end, first.start + 2 * self.search.settle_time), window.end))

    def _advance(self, part: Window, window: Window, now: datetime) -> None:
        """Move the cursor on: everything visible in the part was read, so only late events can be new in it."""
        settle = self.search.settle_time
        if part != window:
            since = part.end - settle
        else:
            # If nothing happens for long, go back no further than clocks can differ.
            since = min(now, window.end) - settle - CLOCKS_APART
            if (newest := self._cursor.newest) is not None:
                # The server's own time: right whatever this machine's clock says.
                since = max(since, to_utc(newest) - settle)
        self._cursor.advance(since)

    # Reading

    def _read_on(self, now: datetime) -> bool:
        """Read part after part; return whether the last one was read to its end.

        :raises IncompleteExportError: if the server's count of a part and its events disagree.
        """
        while window := self._window(now):
            part = self._part(window, now)
            reading = self._catch_up(part, now)
            self._disagreements = 0
            if reading is not _Reading.WHOLE:
                return reading is _Reading.MOVING
            self._advance(part, window, now)
            if part == window:
                break
        return True

    def _catch_up(self, window: Window, now: datetime) -> _Reading:
        """Read until the server counts no more events than are known.

        :raises IncompleteExportError: if it keeps counting more, but gives no others.
        """
        tries = 3
        begun_with = self._cursor.known(window)
        for _ in range(_ROUNDS):
            known = self._cursor.known(window)
            page = self._source.tail(window, known, self._stop)
            try:
                if known and (page.first is None or page.first[0] != self._cursor.last_id(window)):
                    whole = self._find_late(window, page.total)
                else:
                    self._take(page)
                    whole = self._go_on(window, page)
            finally:
                page.body.close()
            if self._cursor.empty:
                self._check_entitled(window, now)
            if whole:
                return _Reading.WHOLE
            if self._cursor.known(window) <= known:
                tries -= 1
            if not tries:
                break
        known = self._cursor.known(window)
        if tries and known > begun_with:
            log.info("%s holds more events than one poll reads; the next poll goes on.", window)
            return _Reading.UNFINISHED
        if known > begun_with and now < window.end + self.search.settle_time:
            log.info("Events of %s change while they are read; the next poll goes on.", window)
            return _Reading.MOVING
        counts = "gives no count, and different events each time" if page.total is None else f"counts {page.total}"
        raise IncompleteExportError(
            f"Polling {window}: {known} events were read, but the server {counts}, and reading again did not help. "
            "The search stops here until the two agree. If this lasts, compare the numbers with the server's own "
            "audit page; a search that begins after this window can run meanwhile."
        )

    def _go_on(self, window: Window, page: Page) -> bool:
        """Return whether the page just taken is the last; if many more follow, read them in slices."""
        if page.total is None:
            return not page.tally.read and self._ends(window)
        last = self._cursor.last_second(window)
        left = page.total - self._cursor.known(window)
        if last is not None and left > _PAGES_ONE_BY_ONE * self._source.rows:
            self._read(Window(to_utc(last), window.end))
            return False
        return left == 0

    def _ends(self, window: Window) -> bool:
        """Ask again whether nothing is new: without a count, the end must be seen twice."""
        known = self._cursor.known(window)
        page = self._source.tail(window, known, self._stop)
        page.body.close()
        if not known:
            return not page.count
        return page.count == 1 and page.first is not None and page.first[0] == self._cursor.last_id(window)

    def _find_late(self, window: Window, total: int | None) -> bool:
        """Read the parts of the window whose count differs from the known events; all of it if it is small."""
        if total is None or self._cursor.known(window) <= _PAGES_ONE_BY_ONE * self._source.rows:
            self._read(window)
            return False
        parts = self._differing(window)
        for part in parts or [window]:
            self._read(part)
        return False

    def _differing(self, window: Window) -> list[Window]:
        """Return small parts in which the server's count differs from the known events."""
        known = self._cursor.known(window)
        total = self._source.count(window, self._stop).total
        if total == known:
            return []
        if window.width <= _SECOND or max(known, total or 0) <= self._source.rows:
            return [window]
        return [part for half in window.divide(2) for part in self._differing(half)]

    def _read(self, window: Window) -> None:
        """Read a window again, which replaces its known events; events already in a batch are not given twice."""
        self._cursor.forget(window)
        reader = WindowReader(self._source, window, self._stop)
        try:
            for page in reader.pages():
                self._take(page)
        except IncompleteExportError as error:
            # The window is open, so events may arrive meanwhile. What was read is real; the next count shows the rest.
            log.debug("Events arrived during the read: %s", error)

    def _take(self, page: Page) -> None:
        """Count a page's events, and add the wanted ones to the batch unless they were given before."""
        self._cursor.note(page.read)
        for line, mark in zip(page.lines(), page.kept, strict=True):
            if self._cursor.give(mark):
                self._pending.add(mark.id, second_of(mark.created_at), line)

    def _check_entitled(self, window: Window, now: datetime) -> None:
        asked = self._entitlement_asked
        if asked is None or now - asked >= _ENTITLEMENT_EVERY:
            check_entitled(self._source.entitled, window)
            self._entitlement_asked = now


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
