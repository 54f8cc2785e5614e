"""A window's events, slice by slice: planned, paged, checked and reconciled with the server's own count.

A slice is a part of the window that holds a bounded number of events, so that offsets stay small. Its pages overlap by
one event, which shows rows that shift. A slice is handed on only when it is whole; the window, when its slices add up
to what the server counted before and counts again after reading.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Protocol, TypeVar

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import (
    Asked,
    IncompleteCsvError,
    IncompleteExportError,
    NotEntitledError,
    RowsShiftedError,
    StoppedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.pages.page import EndInclusiveError, Page, Tally
from airflow_provider_curation.audit.retention import check_remembered
from airflow_provider_curation.audit.window import Window

_R = TypeVar("_R")

log = logging.getLogger(__name__)

#: Readings of one slice before a lasting difference is an error.
_READINGS = 3
#: Pages of unexpected lengths after which a slice is read page by page, since planning only wastes requests then.
_MISFITS = 3
_POLL_SECONDS = 0.2
#: Pages that are asked for ahead of a free place, so that none stays empty while the caller compresses or uploads.
_AHEAD = 2
#: Pages that may wait for their turn, for each one in flight.
_WAITING = 3


class PageSource(Protocol):
    """Where pages come from: JSON or CSV answers of one stream."""

    #: Events asked for a page; lowered when the server refuses as many.
    rows: int
    #: Events by which a page reaches back into the one before.
    overlap: int
    #: Events that a slice should hold at the most.
    slice_rows: int
    #: The server counts events at a window's end in, against its reference.
    end_inclusive: bool

    @property
    def concurrency(self) -> int:
        """Pages in flight at the most, right now."""

    def count(self, window: Window, stop: threading.Event) -> int | None:
        """Return the server's ``total_count``; ``None`` if it gives none."""

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        """Return a window's first page, with its total if the server gives one."""

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        """Return the page that begins with the last event of the page before, the one at ``offset``.

        :param remaining: events from there to the window's end, if the server counted them.
        """

    def entitled(self) -> bool | None: ...


@dataclass
class _Chunk:
    """A part of the window that the server answers in one request, and its counts."""

    window: Window
    before: int | None = None
    after: int | None = None
    read: int = 0


@dataclass
class _Slice:
    """A slice whose pages are asked for, or will be."""

    window: Window
    chunk: _Chunk
    first: Future[Page] | None = None
    #: Offsets of pages still to be asked for; ``None`` until the first page has arrived.
    planned: deque[int] | None = None
    #: Pages asked for, by offset.
    asked: deque[tuple[int, Future[Page]]] = field(default_factory=deque)
    total: int | None = None
    #: Pages that did not end where the next one was planned to begin.
    misfits: int = 0


class WindowReader:
    """Reads one window once; the counts and tallies of what was read are on it afterwards.

    :param stop: when set, reading ends with :class:`StoppedError`.
    :param retention: how long the server remembers events; ``None`` reads whatever it gives.
    """

    def __init__(
        self,
        source: PageSource,
        window: Window,
        stop: threading.Event | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self.window = window
        self.tally = Tally()
        #: Events that arrived so far, those of a slice that is not whole yet included: for showing progress.
        self.arrived = 0
        #: Slices planned, those that had to be divided included.
        self.slices = 0
        #: Events that the server counted in an earlier reading of the window; it must not count fewer.
        self.counted_earlier: int | None = None
        self._source = source
        self._stop = stop or threading.Event()
        self._retention = retention
        self._closing = threading.Event()
        self._chunks = [_Chunk(part) for part in window.split(REQUEST_WIDTH)]
        self._queue: deque[_Slice] = deque()
        self._open: deque[_Slice] = deque()
        self._small = False
        self._one_at_a_time = threading.Lock()

    @property
    def total_before(self) -> int | None:
        """The server's count of the window's events before reading."""
        return _sum(chunk.before for chunk in self._chunks)

    @property
    def total_after(self) -> int | None:
        """The server's count of the window's events after reading."""
        return _sum(chunk.after for chunk in self._chunks)

    @property
    def reconciled(self) -> bool:
        """Whether the events read are as many as the server counted before and after."""
        return all(chunk.before is not None and chunk.before == chunk.read == chunk.after for chunk in self._chunks)

    @property
    def reconciled_why(self) -> str:
        """What :attr:`reconciled` rests on, in words."""
        if self.reconciled:
            return f"the server counted {self.total_before} events before and after reading, and as many were read"
        return "the server gave no total_count to hold the events against"

    def pages(self) -> Iterator[Page]:
        """Give the window's pages in order; each slice's only after all of the slice was verified.

        The reader raises after the last page if the whole does not add up: treat what was given as unproven until then.

        :raises IncompleteExportError: if reading and counting differ, or rows kept shifting.
        :raises ExpiredWindowError: if the server may have forgotten a part of the window when it counted.
        :raises NotEntitledError: if the server counts no events because it is not entitled to Curation.
        :raises RequestError: for a request that failed for good.
        :raises StoppedError: when asked to stop.
        """
        pool = ThreadPoolExecutor(max_workers=max(self._source.concurrency, 1), thread_name_prefix="curation-audit")
        self._pool = pool
        try:
            self._count_before()
            self._plan()
            while self._queue or self._open:
                self._refill()
                yield from self._read_slice(self._open[0])
            self._count_after()
        finally:
            self._closing.set()
            pool.shutdown(wait=False, cancel_futures=True)

    # Counting and planning

    def _count(self) -> list[int | None]:
        inclusive = self._source.end_inclusive
        asked = [self._submit(self._source.count, chunk.window) for chunk in self._chunks]
        counts = [self._take(future) for future in asked]
        # One of the counts may have shown that the end is inclusive, after others were asked.
        return counts if self._source.end_inclusive == inclusive else self._count()

    def _count_before(self) -> None:
        for chunk, total in zip(self._chunks, self._count(), strict=True):
            chunk.before = total
        if self._source.end_inclusive:
            self._check_last_seconds()
        self._check_forgotten()
        if self.total_before == 0:
            check_entitled(self._source.entitled, self.window)
        if self.total_before is None:
            log.warning("The server gives no total_count for %s: the export cannot be reconciled with it.", self.window)

    def _check_forgotten(self) -> None:
        """Hold that the server knew the whole window when it counted: later counts would agree, and miss a part.

        :raises ExpiredWindowError: if it may have forgotten a part.
        :raises IncompleteExportError: if it counted more events in an earlier reading.
        """
        if self._retention is not None:
            check_remembered(self.window, self._retention, datetime.now(timezone.utc))
        total, earlier = self.total_before, self.counted_earlier
        if total is not None and earlier is not None and total < earlier:
            raise IncompleteExportError(
                f"{self.window}: the server counts {total} events, and counted {earlier} when the window was read "
                "before. It has forgotten or removed some, which cannot be exported any more. If the window is as old "
                "as the server's retention, export what is left of it with a later start."
            )

    def _check_last_seconds(self) -> None:
        """Hold that no event lies between the last second that is asked for and the end, where ends are inclusive.

        :raises UnexpectedAnswerError: if one does, since the server keeps fractions of seconds that it does not show.
        """
        second = timedelta(seconds=1)
        for chunk in self._chunks:
            end = chunk.window.end
            windows = (Window(end - second, end + second), Window(end - second, end), Window(end, end + second))
            asked = [self._submit(self._source.count, window) for window in windows]
            both, last, following = (self._take(future) for future in asked)
            if both is not None and last is not None and following is not None and both != last + following:
                raise UnexpectedAnswerError(
                    Asked(AUDIT_PATH, chunk.window),
                    f"{both} events from the last second to the end, but {last} and {following} in the one and the "
                    "other: the server counts events at an end in, and some lie between two seconds, where they "
                    "cannot be asked for",
                )

    def _plan(self) -> None:
        source = self._source
        for chunk in self._chunks:
            if chunk.before is None:
                self._queue.append(_Slice(chunk.window, chunk))
            elif chunk.before:
                parts = chunk.window.divide(-(-chunk.before // source.slice_rows))
                self._queue.extend(_Slice(part, chunk) for part in parts)
        self.slices = len(self._queue)
        total = self.total_before
        self._small = bool(total is not None and self.slices and total / self.slices <= source.rows)

    def _count_after(self) -> None:
        for chunk, total in zip(self._chunks, self._count(), strict=True):
            chunk.after = total
        if self.total_before is None and not self.tally.read:
            check_entitled(self._source.entitled, self.window)
        for chunk in self._chunks:
            if chunk.before is None and chunk.after is None:
                continue
            if not chunk.before == chunk.read == chunk.after:
                raise IncompleteExportError(
                    f"{chunk.window}: {chunk.read} events were read, but the server counted {chunk.before} before and "
                    f"{chunk.after} after reading. Events arrived or disappeared meanwhile: export the window again "
                    "once it has settled (a longer settle_time), and before the server's retention reaches it."
                )

    # Pages in flight

    def _submit(self, call: Callable[..., _R], *args: object) -> Future[_R]:
        return self._pool.submit(partial(self._in_turn, call, *args, self._closing))

    def _in_turn(self, call: Callable[..., _R], *args: object) -> _R:
        """Make a request now, or after the others once the source wants but one at a time."""
        if self._source.concurrency > 1:
            return call(*args)
        with self._one_at_a_time:
            if self._closing.is_set():
                raise StoppedError(f"Reading {self.window} has ended; this request is not made any more.")
            return call(*args)

    def _take(self, future: Future[_R]) -> _R:
        while True:
            if self._stop.is_set():
                raise StoppedError(f"Reading {self.window} was stopped; nothing of it was kept.")
            try:
                return future.result(timeout=_POLL_SECONDS)
            except FutureTimeoutError:
                # In Python 3.11 this is also the built-in TimeoutError, which a finished call may have raised.
                if future.done():
                    return future.result()

    def _refill(self) -> None:
        """Ask for more pages, in the order in which they are wanted, until enough are in flight."""
        limit = self._source.concurrency
        while self._room(limit):
            for part in self._open:
                if part.planned is None and part.first is not None and _arrived(part.first):
                    self._plan_pages(part, part.first.result())
            waiting = sum(part.first is not None and part.planned is None for part in self._open)
            planned = sum(len(part.planned or ()) for part in self._open)
            # The next slice's first page is asked for while pages of this one are still to come, so that its size is
            # known when it is wanted; of slices that fit into one page, as many as may be in flight.
            ahead = (not waiting and planned <= limit and (limit > 1 or not planned)) or (not planned and self._small)
            if ahead and (begun := self._begin_slice()):
                begun.first = self._submit(self._source.first_page, begun.window)
            elif planned:
                self._ask_planned(next(each for each in self._open if each.planned))
            else:
                return

    def _room(self, limit: int) -> bool:
        """Say whether one more page may be asked for; those that arrived wait on disk, and only so many of them."""
        asked = [part.first for part in self._open if part.first is not None]
        asked += [future for part in self._open for _, future in part.asked]
        wanted = limit + _AHEAD if limit > 1 else limit
        return sum(not future.done() for future in asked) < wanted and len(asked) < _WAITING * limit

    def _ask_planned(self, part: _Slice) -> None:
        assert part.planned
        offset = part.planned.popleft()
        part.asked.append((offset, self._ask(part, offset)))

    def _ask(self, part: _Slice, offset: int) -> Future[Page]:
        remaining = None if part.total is None else part.total - offset
        return self._submit(self._source.page, part.window, offset, remaining)

    def _begin_slice(self) -> _Slice | None:
        """Return the next slice of which no page was asked for, opened."""
        for part in self._open:
            if part.first is None and part.planned is None:
                return part
        if self._queue:
            self._open.append(self._queue.popleft())
            return self._open[-1]
        return None

    def _plan_pages(self, part: _Slice, first: Page) -> None:
        part.total = first.total
        part.planned = deque()
        if not self._oversized(part, first):
            self._plan_from(part, first.count - 1, first.count)

    def _plan_from(self, part: _Slice, place: int, given: int) -> None:
        """Plan the pages after one that gave so many events, and whose last one stands at ``place``.

        Servers that allow fewer events than were asked for are expected to go on so.
        """
        part.planned = deque()
        if part.total is not None and given > 1:
            step = min(self._source.rows - self._source.overlap, given - 1)
            part.planned.extend(range(place, part.total - 1, max(step, 1)))

    def _oversized(self, part: _Slice, first: Page) -> bool:
        return (
            first.total is not None
            and first.total > 2 * self._source.slice_rows
            and part.window.width > timedelta(seconds=1)
        )

    # One slice

    def _read_slice(self, part: _Slice) -> Iterator[Page]:
        """Read a slice whole, then give its pages; divide it if it is too large."""
        for reading in range(1, _READINGS + 1):
            try:
                pages = self._slice_pages(part)
                break
            except EndInclusiveError:
                if self._source.end_inclusive:
                    raise
                self._end_is_inclusive()
                return
            except IncompleteCsvError:
                if part.window.width <= timedelta(seconds=1):
                    raise
                self._divide(part, 2)
                return
            except RowsShiftedError as error:
                log.warning("Reading %d of %s is not consistent: %s", reading, part.window, error)
                if reading == _READINGS:
                    raise IncompleteExportError(
                        f"{part.window} was read {reading} times, and each time its rows shifted or were not as many "
                        f"as the server counted. Last: {error}"
                    ) from error
                self._drop(part)
                self._stop.wait(reading - 0.5)
        if pages is None:
            return
        self._open.popleft()
        for page in pages:
            self._refill()
            part.chunk.read += page.tally.read
            self.tally.add(page.tally)
            yield page
            page.body.close()

    def _slice_pages(self, part: _Slice) -> list[Page] | None:
        """Return the slice's pages, or ``None`` if it was too large and has been divided."""
        if part.first is None:
            part.first = self._submit(self._source.first_page, part.window)
        page = self._take(part.first)
        if self._oversized(part, page):
            assert page.total is not None
            self._divide(part, -(-page.total // self._source.slice_rows))
            return None
        if part.planned is None:
            self._plan_pages(part, page)
        part.first = None
        total = page.total
        pages = [page]
        self.arrived = self.tally.read + page.count
        place = page.count - 1
        while page.count and (total is None or place + 1 < total):
            self._refill()
            following = self._following(part, pages, place)
            if total is None and following.count == 1:
                break
            pages.append(following)
            self.arrived += following.tally.read
            page = following
            place += following.count - 1
        read = sum(each.tally.read for each in pages)
        if total is not None and read != total:
            raise RowsShiftedError(Asked(AUDIT_PATH, part.window), f"{read} events where the server counted {total}")
        return pages

    def _following(self, part: _Slice, pages: list[Page], place: int) -> Page:
        """Return the page that begins with the last event so far, which stands at ``place``."""
        page = pages[-1]
        if part.asked and part.asked[0][0] == place:
            following = self._take(part.asked.popleft()[1])
        else:
            self._fit_plan(part, pages, place)
            following = self._take(self._ask(part, place))
        _check_overlap(part, page, following)
        for _ in range(1, _READINGS):
            if part.total is None or following.count > 1:
                return following
            # The overlap alone, where the server counted more: a page can come short.
            following = self._take(self._ask(part, place))
            _check_overlap(part, page, following)
        if part.total is not None and following.count < 2:
            asked = Asked(AUDIT_PATH, part.window, f"offset {place}")
            raise RowsShiftedError(asked, "an end of the rows before as many were read as the server counted")
        return following

    def _fit_plan(self, part: _Slice, pages: list[Page], place: int) -> None:
        """Forget the pages that were planned elsewhere, since the last one was shorter or longer than expected."""
        if not part.asked and not part.planned:
            return
        part.misfits += 1
        self._drop_pages(part)
        part.planned = deque()
        if part.misfits < _MISFITS:
            in_turn = len(pages) > 1 and pages[-1].count == pages[-2].count
            self._plan_from(part, place, pages[-1].count if in_turn else self._source.rows)
            if part.planned:
                part.planned.popleft()

    def _divide(self, part: _Slice, parts: int) -> None:
        """Put a slice's parts in its place."""
        self._drop(part)
        self._open.popleft()
        smaller = [_Slice(window, part.chunk) for window in part.window.divide(parts)]
        self._open.extendleft(reversed(smaller))
        self.slices += len(smaller)

    def _end_is_inclusive(self) -> None:
        """Ask for ends that are one second earlier from now on, and count again that way."""
        log.info("The server counts events at the end of a window in; windows are asked for up to the second before.")
        self._source.end_inclusive = True
        for part in self._open:
            self._drop(part)
        self._count_before()

    def _drop(self, part: _Slice) -> None:
        """Forget what was asked for a slice, so that it is read from its beginning."""
        if part.first is not None:
            part.first.cancel()
        part.first, part.planned, part.total, part.misfits = None, None, None, 0
        self._drop_pages(part)

    def _drop_pages(self, part: _Slice) -> None:
        for _, future in part.asked:
            future.cancel()
        part.asked.clear()


def check_entitled(entitled: Callable[[], bool | None], window: Window) -> None:
    """Tell an empty window from a server that says nothing because it may not.

    :raises NotEntitledError: if the server says that it is not entitled to Curation.
    """
    answer = entitled()
    if answer is False:
        raise NotEntitledError(
            f"The server counts no events for {window}, and says that it is not entitled to Curation. An empty export "
            "would prove nothing: check the platform's licence, or that the connection points at the right platform."
        )
    if answer is None:
        log.warning("The server counts no events for %s, and does not say whether it is entitled to Curation.", window)


def _check_overlap(part: _Slice, page: Page, following: Page) -> None:
    """Hold the first event of a page against the last one of the page before.

    :raises RowsShiftedError: if they differ, so that rows moved under the offset.
    """
    asked = Asked(AUDIT_PATH, part.window, "the rows of two pages")
    if following.first != page.last or following.head & page.tail != {page.last}:
        raise RowsShiftedError(asked, "a page that does not begin with the last event of the page before")


def _arrived(future: Future[Page]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
