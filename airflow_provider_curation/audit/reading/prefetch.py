"""Requests pages ahead of time, in order, with a bounded number of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from airflow_provider_curation.audit.errors import StoppedError
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.slices import PagePlan, PageSize, Slice, SlicePlan
from airflow_provider_curation.audit.reading.source import Counted, PageSource
from airflow_provider_curation.audit.window import Window

_R = TypeVar("_R")

_POLL_SECONDS = 0.2
#: Pages queued beyond those in flight, so that no thread is idle while the caller compresses or uploads.
_AHEAD = 2
#: Pages that may wait to be used, for each one in flight.
_WAITING = 3


class Requests:
    """Makes a source's requests in as many threads as it has requests in flight.

    :param window: the window being read, for messages.
    :param stop: when set, waiting for an answer ends with :class:`StoppedError`.
    """

    def __init__(self, source: PageSource, window: Window, stop: threading.Event) -> None:
        self._source = source
        self._window = window
        self._stop = stop
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=source.most_concurrent, thread_name_prefix="curation-audit")

    def submit(self, call: Callable[..., _R], *args: object) -> Future[_R]:
        """Make a request in a thread; the last argument that ``call`` gets is the event that ends it."""
        return self._pool.submit(call, *args, self._closing)

    def take(self, future: Future[_R]) -> _R:
        """Wait for an answer.

        :raises StoppedError: when asked to stop meanwhile.
        """
        while True:
            if self._stop.is_set():
                raise StoppedError(f"Reading {self._window} was stopped; nothing of it was kept.")
            try:
                return future.result(timeout=_POLL_SECONDS)
            except FutureTimeoutError:
                # In Python 3.11 this is also the built-in TimeoutError, which a finished call may have raised.
                if future.done():
                    return future.result()

    def first_page(self, window: Window) -> Page:
        """Return a window's first page."""
        return self.take(self.submit(self._source.first_page, window))

    def count_all(self, windows: Sequence[Window]) -> list[Counted]:
        """Return the server's counts of several windows, requested in parallel."""
        asked = [self.submit(self._source.count, window) for window in windows]
        return [self.take(future) for future in asked]

    def close(self) -> None:
        """Abort the requests in flight, without waiting for them, and make no more."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


class Prefetch:
    """The pages of a plan's slices that were requested ahead, and not used yet."""

    def __init__(self, source: PageSource, plan: SlicePlan, requests: Requests) -> None:
        self._source = source
        self._plan = plan
        self._requests = requests
        self._firsts: dict[Slice, Future[Page]] = {}
        self._others: dict[Slice, deque[tuple[int, Future[Page]]]] = {}

    def refill(self) -> None:
        """Request more pages, in the order in which they will be used, until enough are in flight."""
        limit = self._source.concurrency
        while self._has_room(limit):
            for part, first in self._firsts.items():
                if part.pages is None and _arrived(first):
                    self.plan_pages(part, first.result())
            request = self._plan.next_request(limit)
            if request is None:
                return
            if request.offset is None:
                self._ask_first(request.part)
            else:
                page = self._ask(request.part, request.offset)
                self._others.setdefault(request.part, deque()).append((request.offset, page))

    def plan_pages(self, part: Slice, first: Page) -> None:
        """Plan the pages after a slice's first one; none if the slice has to be divided."""
        size = page_size(self._source)
        count = 0 if part.is_oversized(first.total, size) else first.count
        part.pages = PagePlan(count, first.total, size)

    def has_arrived(self, part: Slice, first: Page) -> None:
        """Take a slice's first page, which was requested elsewhere."""
        part.begun = True
        self._firsts[part] = Future()
        self._firsts[part].set_result(first)

    def first(self, part: Slice) -> Page:
        """Return a slice's first page."""
        if part not in self._firsts:
            part.begun = True
            self._ask_first(part)
        return self._requests.take(self._firsts[part])

    def forget_first(self, part: Slice) -> None:
        """Drop the reference to a slice's first page, which the reader now has."""
        self._firsts.pop(part, None)

    def has(self, part: Slice, place: int) -> bool:
        """Return whether the page at ``place`` is the next one that was requested ahead."""
        asked = self._others.get(part)
        return bool(asked) and asked[0][0] == place  # type: ignore[index]

    def next(self, part: Slice) -> Page:
        """Return the next page that was requested ahead."""
        return self._requests.take(self._others[part].popleft()[1])

    def page(self, part: Slice, place: int) -> Page:
        """Request the page at ``place`` now, and return it."""
        return self._requests.take(self._ask(part, place))

    def pending(self, part: Slice) -> list[tuple[int, Future[Page]]]:
        """Return the pages of a slice that were requested ahead, with their offsets."""
        return list(self._others.get(part, ()))

    def drop(self, part: Slice) -> None:
        """Forget all pages of a slice."""
        if first := self._firsts.pop(part, None):
            first.cancel()
        part.restart()
        self.drop_pages(part)

    def drop_pages(self, part: Slice) -> None:
        """Forget a slice's pages after the first one."""
        for _, page in self._others.pop(part, ()):
            page.cancel()

    def _has_room(self, limit: int) -> bool:
        """Return whether one more page may be requested; arrived pages take memory or disk, and are bounded too."""
        asked = [*self._firsts.values(), *(page for pages in self._others.values() for _, page in pages)]
        wanted = limit + _AHEAD if limit > 1 else limit
        return sum(not future.done() for future in asked) < wanted and len(asked) < _WAITING * limit

    def _ask_first(self, part: Slice) -> None:
        self._firsts[part] = self._requests.submit(self._source.first_page, part.window)

    def _ask(self, part: Slice, offset: int) -> Future[Page]:
        total = part.pages.total if part.pages else None
        remaining = None if total is None else total - offset
        return self._requests.submit(self._source.page, part.window, offset, remaining)


def page_size(source: PageSource) -> PageSize:
    """Return the current size of a source's pages and slices; the server may have refused larger ones."""
    return PageSize(source.rows, source.overlap, source.slice_rows)


def _arrived(future: Future[Page]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
