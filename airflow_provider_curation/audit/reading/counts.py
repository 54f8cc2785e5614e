"""The server's counts of a window before and after reading, span by span, compared with the events that were read.

A span is what the server answers in one count: at most 144 hours of the window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import (
    Asked,
    IncompleteExportError,
    NotEntitledError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.reading.source import Counted, PageSource, check_plausible, counted_with
from airflow_provider_curation.audit.retention import check_remembered
from airflow_provider_curation.audit.window import Window, format_utc

log = logging.getLogger(__name__)

_SECOND = timedelta(seconds=1)
#: Slices of a span after which its count is checked, if far fewer events were found than it promised.
_SLICES_UNCHECKED: Final = 256

#: Counts several windows; returns the server's answers in the same order.
CountAll = Callable[[Sequence[Window]], list[Counted]]


@dataclass
class Span:
    """A part of the window that the server answers in one count.

    :param before: the server's count of events before reading; ``None`` if it gave none.
    :param after: its count after reading.
    :param read: events read.
    :param newest: the highest event id that the server showed with its counts; ``None`` if it showed none.
    :param highest: the highest id that was read.
    :param slices: slices read.
    """

    window: Window
    before: int | None = None
    after: int | None = None
    read: int = 0
    newest: int | None = None
    highest: int | None = None
    slices: int = 0

    @property
    def reconciled(self) -> bool:
        """Whether as many events were read as the server counted before and after."""
        return self.before is not None and self.before == self.read == self.after


class WindowCounts:
    """The counts of one window's spans.

    :param retention: how long the server remembers events; ``None`` skips that check.
    """

    def __init__(self, source: PageSource, window: Window, retention: timedelta | None) -> None:
        self.window = window
        self.spans = [Span(part) for part in window.split(REQUEST_WIDTH)]
        #: Events that the server counted in an earlier reading of the window; it must not count fewer.
        self.earlier: int | None = None
        self._source = source
        self._retention = retention

    @property
    def before(self) -> int | None:
        """The server's count of the window's events before reading."""
        return _sum(span.before for span in self.spans)

    @property
    def after(self) -> int | None:
        """The server's count of the window's events after reading."""
        return _sum(span.after for span in self.spans)

    @property
    def reconciled(self) -> bool:
        """Whether, in every span, the events read are as many as the server counted before and after."""
        return all(span.reconciled for span in self.spans)

    def count_before(self, count_all: CountAll, first: Page | None = None) -> None:
        """Count every span before it is read.

        :param first: the first page of a window of one span, whose total is the count, if it has one.
        :raises ExpiredWindowError: if the server may have forgotten a part of the window when it counted.
        :raises IncompleteExportError: if it counted more events in an earlier reading.
        :raises NotEntitledError: if it counts no events because it is not entitled to Curation.
        :raises UnexpectedAnswerError: if it counts events that no window can address.
        :raises ContradictoryAnswerError: if it counts more events than are plausible.
        """
        counts = self._count(count_all) if first is None or first.total is None else [counted_with(first)]
        for span, counted in zip(self.spans, counts, strict=True):
            check_plausible(Asked(AUDIT_PATH, span.window), span.window, counted.total)
            span.before, span.newest = counted.total, counted.newest
        if self._source.end_inclusive:
            self._check_last_seconds(count_all)
        self._check_forgotten()
        if self.before == 0:
            check_entitled(self._source.entitled, self.window)
        if self.before is None:
            log.warning("The server gives no total_count for %s: the export cannot be reconciled with it.", self.window)

    def count_after(self, count_all: CountAll) -> None:
        """Count every span again, and compare the events read with both counts and with the newest event shown.

        :raises IncompleteExportError: if they differ.
        :raises NotEntitledError: as :meth:`count_before`.
        """
        for span, counted in zip(self.spans, self._count(count_all), strict=True):
            span.after = counted.total
            shown = [number for number in (span.newest, counted.newest) if number is not None]
            span.newest = max(shown, default=None)
        if self.before is None and not any(span.read for span in self.spans):
            check_entitled(self._source.entitled, self.window)
        for span in self.spans:
            has_count = span.before is not None or span.after is not None
            if has_count and not span.reconciled:
                raise IncompleteExportError(
                    f"{span.window}: {span.read} events were read, but the server counted {span.before} before and "
                    f"{span.after} after reading. Events arrived or disappeared meanwhile: export the window again "
                    "once it has settled (a longer settle_time), and before the server's retention reaches it."
                )
            if span.newest is not None and (span.highest is None or span.highest < span.newest):
                raise IncompleteExportError(
                    f"{span.window}: the server showed event {span.newest} when it was asked to count, but "
                    f"{'no event' if span.highest is None else f'none above {span.highest}'} was read. Export the "
                    "window again; if this lasts, compare it with the server's own audit page."
                )

    def finish_slice(self, span: Span, end: datetime, count_all: CountAll) -> None:
        """Note that a span was read up to ``end``, and check that its count is not far off.

        Without this check, a count that is far too high would keep the reader busy for as many slices as it promises.

        :raises IncompleteExportError: if the events read and the count of the rest do not add up to the span's count.
        """
        span.slices += 1
        if span.before is None or span.slices < _SLICES_UNCHECKED or span.slices & (span.slices - 1):
            return
        promised = span.before * ((end - span.window.start) / span.window.width)
        if end >= span.window.end or 2 * span.read >= promised:
            return
        [rest] = count_all([Window(end, span.window.end)])
        if rest.total is not None and span.read + rest.total != span.before:
            raise IncompleteExportError(
                f"{span.window}: the server counted {span.before} events, but {span.read} were read up to "
                f"{format_utc(end)}, and it counts {rest.total} from there on. Export the window again once it has "
                "settled; if this lasts, compare the numbers with the server's own audit page."
            )

    def _count(self, count_all: CountAll) -> list[Counted]:
        inclusive = self._source.end_inclusive
        counts = count_all([span.window for span in self.spans])
        # One of the counts may show that the end is inclusive, after others were asked.
        return counts if self._source.end_inclusive == inclusive else self._count(count_all)

    def _check_forgotten(self) -> None:
        """Check that the server still remembered the whole window when it counted.

        If it did not, the counts before and after reading agree, and both miss the same events.
        """
        if self._retention is not None:
            check_remembered(self.window, self._retention, datetime.now(timezone.utc))
        total, earlier = self.before, self.earlier
        if total is not None and earlier is not None and total < earlier:
            raise IncompleteExportError(
                f"{self.window}: the server counts {total} events, and counted {earlier} when the window was read "
                "before. It has forgotten or removed some, which can no longer be exported. If the window is as old "
                "as the server's retention, export what is left of it with a later start."
            )

    def _check_last_seconds(self, count_all: CountAll) -> None:
        """Where ends are inclusive, check that no event lies between the last second that is asked for and the end.

        If one does, the server keeps fractions of seconds that it does not show.
        """
        for span in self.spans:
            end = span.window.end
            windows = [Window(end - _SECOND, end + _SECOND), Window(end - _SECOND, end), Window(end, end + _SECOND)]
            both, last, following = (counted.total for counted in count_all(windows))
            if both is not None and last is not None and following is not None and both != last + following:
                raise UnexpectedAnswerError(
                    Asked(AUDIT_PATH, span.window),
                    f"{both} events from the last second to the end, but {last} and {following} in the one and the "
                    "other: the server includes events at the end, and some lie between two seconds, where they "
                    "cannot be asked for",
                )


def check_entitled(entitled: Callable[[], bool | None], window: Window) -> None:
    """Distinguish an empty window from a missing entitlement.

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


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
