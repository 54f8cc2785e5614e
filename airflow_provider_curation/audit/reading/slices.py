"""Plans the slices that a window is read in, and which of their pages to request next; makes no requests itself.

A slice has a bounded number of events, so that offsets stay small: where the server pays for OFFSET, deep paging is
quadratic. Its pages overlap, which reveals rows that shift.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_curation.audit.reading.counts import Span
from airflow_provider_curation.audit.reading.source import is_oversized
from airflow_provider_curation.audit.window import Window

#: Pages of unexpected lengths after which a slice is read page by page, since planning then only wastes requests.
_MISFITS = 3


@dataclass(frozen=True)
class PageSize:
    """How large pages and slices are.

    :param rows: events asked for in a page.
    :param overlap: events that a page shares with the one before it.
    :param slice_rows: the most events that a slice should have.
    """

    rows: int
    overlap: int
    slice_rows: int


class PagePlan:
    """The pages after a slice's first one that still have to be requested.

    :param count: events in the first page.
    :param total: events of the slice, if the server counted them; without it, no page is requested ahead.
    """

    def __init__(self, count: int, total: int | None, size: PageSize) -> None:
        self.total = total
        self._misfits = 0
        self._plan_from(count - 1, count, size)

    @property
    def left(self) -> int:
        """Pages that still have to be requested."""
        if self._done or self.total is None:
            return 0
        return max(0, -(-(self.total - 1 - self._place) // self._step))

    def take(self) -> int:
        """Return the next page's offset, which is then no longer planned; there must be one left."""
        place = self._place
        self._place += self._step
        return place

    def misfit(self, place: int, counts: list[int], size: PageSize) -> None:
        """Plan again, since a page was shorter or longer than expected.

        :param place: the position of the last event read; the caller requests the page there.
        :param counts: events of each page read so far.
        """
        self._misfits += 1
        self._done = True
        if self._misfits < _MISFITS:
            in_turn = len(counts) > 1 and counts[-1] == counts[-2]
            self._plan_from(place, counts[-1] if in_turn else size.rows, size)
            if self.left:
                self.take()

    def _plan_from(self, place: int, given: int, size: PageSize) -> None:
        """Plan the pages after one with ``given`` events, the last of them at position ``place``.

        A server that gave fewer events than were asked for is expected to keep doing so.
        """
        self._done = self.total is None or given <= 1
        self._place = place
        self._step = max(min(size.rows - size.overlap, given - 1), 1)


@dataclass(eq=False)
class Divided:
    """A slice that was too large and is read in parts.

    :param total: the server's count of its events; ``None`` if it gave none.
    :param read: events read in its parts so far.
    """

    window: Window
    total: int | None
    whole: Divided | None
    read: int = 0


@dataclass(eq=False)
class Slice:
    """A part of a span that is read at once.

    :param whole: the larger slice that was divided into this one and others, if any.
    :param begun: whether its first page was requested.
    :param pages: its other pages; ``None`` until the first one has arrived.
    """

    window: Window
    span: Span
    whole: Divided | None = None
    begun: bool = False
    pages: PagePlan | None = None

    def finish(self, read: int) -> Divided | None:
        """Add its events to the larger slices it is a part of; return the one that does not add up, if any."""
        whole = self.whole
        while whole:
            whole.read += read
            if whole.window.end == self.window.end and whole.total not in (None, whole.read):
                return whole
            whole = whole.whole
        return None

    def forget_totals(self) -> None:
        """Forget the counts of the larger slices, since windows are now counted in another way."""
        whole = self.whole
        while whole:
            whole.total = None
            whole = whole.whole

    def restart(self) -> None:
        """Forget the requests made, so that the slice is read again from its beginning."""
        self.begun, self.pages = False, None

    def is_oversized(self, total: int | None, size: PageSize) -> bool:
        """Return whether a slice of ``total`` events has to be divided."""
        return total is not None and is_oversized(self.window, total, size.slice_rows)


@dataclass(frozen=True)
class PageRequest:
    """A page to request; ``offset`` is ``None`` for a slice's first page."""

    part: Slice
    offset: int | None = None


class SlicePlan:
    """The slices of a window, in order of time: those being requested, and those that wait.

    Waiting slices are planned when their turn comes, so that a huge count does not make the plan large.
    """

    def __init__(self, spans: Iterable[Span] = (), size: PageSize | None = None, *, whole: bool = False) -> None:
        """Plan the slices of counted spans: one slice for a span without a count, none for an empty span.

        :param whole: make one slice of each span, however many events it has.
        """
        #: Slices so far, including those that had to be divided.
        self.planned = 0
        #: Opened slices, and between them generators of the ones that wait.
        self._order: deque[Slice | Iterator[Slice]] = deque()
        total: int | None = 0
        for span in spans:
            if span.before is None:
                total = None
                self._order.append(self._parts(span.window, span, 1))
            elif span.before and size is not None:
                total = None if total is None else total + span.before
                parts = 1 if whole else -(-span.before // size.slice_rows)
                self._order.append(self._parts(span.window, span, parts))
        self._one_page_each = bool(total and size and total / self.planned <= size.rows)

    @property
    def open(self) -> list[Slice]:
        """The opened slices, in order."""
        return [part for part in self._order if isinstance(part, Slice)]

    def current(self) -> Slice | None:
        """Return the slice to read now; ``None`` at the end."""
        return self._first(lambda part: True)

    def finish(self) -> None:
        """Take the current slice off the plan."""
        self._order.popleft()

    def divide(self, parts: int, total: int | None) -> None:
        """Replace the current slice by its parts.

        :param total: the server's count of its events.
        """
        part = self._order.popleft()
        assert isinstance(part, Slice)
        whole = Divided(part.window, total, part.whole)
        self._order.appendleft(self._parts(part.window, part.span, parts, whole))

    def next_request(self, limit: int) -> PageRequest | None:
        """Return the page to request next, in the order in which pages will be used, and take it off the plan.

        :param limit: the number of pages that may be in flight.
        """
        left = sum(part.pages.left for part in self.open if part.pages)
        unknown = any(part.begun and part.pages is None for part in self.open)
        # Request the next slice's first page while the last pages of this one are on their way, so that its size is
        # known in time. If each slice fits into one page, request as many as may be in flight.
        ahead = (not unknown and left <= limit and (limit > 1 or not left)) or (not left and self._one_page_each)
        if ahead and (part := self._first(lambda part: not part.begun)):
            part.begun = True
            return PageRequest(part)
        for part in self.open:
            if part.pages and part.pages.left:
                return PageRequest(part, part.pages.take())
        return None

    def _parts(self, window: Window, span: Span, parts: int, whole: Divided | None = None) -> Iterator[Slice]:
        self.planned += max(1, min(parts, window.seconds))
        return (Slice(part, span, whole) for part in window.divide(parts))

    def _first(self, wanted: Callable[[Slice], bool]) -> Slice | None:
        """Return the first slice that is wanted, opening waiting ones, all of which are wanted."""
        place = 0
        while place < len(self._order):
            part = self._order[place]
            if isinstance(part, Slice):
                if wanted(part):
                    return part
                place += 1
            elif opened := next(part, None):
                self._order.insert(place, opened)
                return opened
            else:
                del self._order[place]
        return None
