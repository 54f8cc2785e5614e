"""Which slices a window is read in, and which of their pages are asked for next: planning alone, without requests.

A slice holds a bounded number of events, so that offsets stay small: where the server pays for OFFSET, deep paging is
quadratic. Its pages overlap, which shows rows that shift.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from airflow_provider_curation.audit.reading.counts import Span
from airflow_provider_curation.audit.window import Window

#: Pages of unexpected lengths after which a slice is read page by page, since planning then only wastes requests.
_MISFITS = 3


@dataclass(frozen=True)
class PageSize:
    """How large pages and slices are.

    :param rows: events asked for in a page.
    :param overlap: events by which a page reaches back into the one before it.
    :param slice_rows: events that a slice should hold at most.
    """

    rows: int
    overlap: int
    slice_rows: int


class PagePlan:
    """The pages behind a slice's first one that are still to be asked for.

    :param count: events in the first page.
    :param total: events of the slice, if the server counted them; without it no page is asked for ahead.
    """

    def __init__(self, count: int, total: int | None, size: PageSize) -> None:
        self.total = total
        self._misfits = 0
        self._plan_from(count - 1, count, size)

    @property
    def left(self) -> int:
        """Pages still to be asked for."""
        if self._done or self.total is None:
            return 0
        return max(0, -(-(self.total - 1 - self._place) // self._step))

    def take(self) -> int:
        """Return the next page's offset, which is then no longer planned; there must be one left."""
        place = self._place
        self._place += self._step
        return place

    def misfit(self, place: int, counts: list[int], size: PageSize) -> None:
        """Plan anew, since a page was shorter or longer than expected.

        :param place: where the last event read stands; its page is asked for by the caller.
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
        """Plan the pages after one that gave so many events, and whose last one stands at ``place``.

        A server that allows fewer events than were asked for is expected to go on like that.
        """
        self._done = self.total is None or given <= 1
        self._place = place
        self._step = max(min(size.rows - size.overlap, given - 1), 1)


@dataclass(eq=False)
class Divided:
    """A slice that was too large and is read in parts.

    :param total: events that the server counted in it; ``None`` if it did not.
    :param read: events read of its parts.
    """

    window: Window
    total: int | None
    whole: Divided | None
    read: int = 0


@dataclass(eq=False)
class Slice:
    """A part of a span that is read at once.

    :param whole: what it is a part of, if that had to be divided.
    :param begun: its first page was asked for.
    :param pages: its other pages; ``None`` until the first one has arrived.
    """

    window: Window
    span: Span
    whole: Divided | None = None
    begun: bool = False
    pages: PagePlan | None = None

    def finish(self, read: int) -> Divided | None:
        """Count its events in with those of what it is a part of; return what then does not add up, if anything."""
        whole = self.whole
        while whole:
            whole.read += read
            if whole.window.end == self.window.end and whole.total not in (None, whole.read):
                return whole
            whole = whole.whole
        return None

    def forget_totals(self) -> None:
        """Forget what the server counted in what the slice is a part of, since it is counted in another way now."""
        whole = self.whole
        while whole:
            whole.total = None
            whole = whole.whole

    def restart(self) -> None:
        """Forget what was asked for, so that the slice is read from its beginning."""
        self.begun, self.pages = False, None

    def is_oversized(self, total: int | None, size: PageSize) -> bool:
        """Return whether a slice of so many events is to be divided."""
        return total is not None and total > 2 * size.slice_rows and self.window.width > timedelta(seconds=1)


@dataclass(frozen=True)
class PageRequest:
    """A page to ask for; ``offset`` is ``None`` for a slice's first page."""

    part: Slice
    offset: int | None = None


class SlicePlan:
    """The slices of a window, in order of time: those whose pages are asked for, and those that wait.

    Slices that wait are planned when their turn comes, so that no count makes the plan large.
    """

    def __init__(self, spans: Iterable[Span] = (), size: PageSize | None = None) -> None:
        """Plan the slices of counted spans; a span without a count is one slice, and one of no events none."""
        #: Slices so far, including those that had to be divided.
        self.planned = 0
        #: Slices that were opened, and between them the ones that wait.
        self._order: deque[Slice | Iterator[Slice]] = deque()
        total: int | None = 0
        for span in spans:
            if span.before is None:
                total = None
                self._order.append(self._parts(span.window, span, 1))
            elif span.before and size is not None:
                total = None if total is None else total + span.before
                self._order.append(self._parts(span.window, span, -(-span.before // size.slice_rows)))
        self._one_page_each = bool(total and size and total / self.planned <= size.rows)

    @property
    def open(self) -> list[Slice]:
        """The slices that were opened, in order."""
        return [part for part in self._order if isinstance(part, Slice)]

    def current(self) -> Slice | None:
        """Return the slice whose turn it is to be read; ``None`` at the end."""
        return self._first(lambda part: True)

    def finish(self) -> None:
        """Take the current slice off the plan."""
        self._order.popleft()

    def divide(self, parts: int, total: int | None) -> None:
        """Put the current slice's parts in its place.

        :param total: events that the server counted in it.
        """
        part = self._order.popleft()
        assert isinstance(part, Slice)
        whole = Divided(part.window, total, part.whole)
        self._order.appendleft(self._parts(part.window, part.span, parts, whole))

    def next_request(self, limit: int) -> PageRequest | None:
        """Return the page to ask for next, in the order in which pages are wanted; it is then taken as asked for.

        :param limit: pages that may be in flight.
        """
        left = sum(part.pages.left for part in self.open if part.pages)
        unknown = any(part.begun and part.pages is None for part in self.open)
        # The next slice's first page is asked for while pages of this one are still to come, so that its size is
        # known when it is wanted; of slices that fit into one page, as many as may be in flight.
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
        """Return the first slice that is wanted; one that waits is opened, and all of those are wanted."""
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
