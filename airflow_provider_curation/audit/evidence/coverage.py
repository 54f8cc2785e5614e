"""Which time a series of exports covers: parts that touch become one, so that a whole series is a few numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime

from airflow_provider_curation.audit.window import Window


class Coverage:
    """A set of moments, made of windows that are added in any order."""

    def __init__(self) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []

    def add(self, window: Window) -> list[Window]:
        """Add a window, and return the parts of it that were covered before."""
        # The parts that overlap the window or touch it.
        first = bisect_left(self._ends, window.start)
        last = bisect_right(self._starts, window.end)
        covered = [
            Window(max(start, window.start), min(end, window.end))
            for start, end in zip(self._starts[first:last], self._ends[first:last], strict=True)
            if max(start, window.start) < min(end, window.end)
        ]
        start = min([window.start, *self._starts[first:last]])
        end = max([window.end, *self._ends[first:last]])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return covered

    def gaps(self, period: Window) -> Iterator[Window]:
        """Give the parts of a period that are not covered, in order of time."""
        reached = period.start
        for start, end in zip(self._starts, self._ends, strict=True):
            if start >= period.end:
                break
            if start > reached:
                yield Window(reached, start)
            reached = max(reached, end)
        if reached < period.end:
            yield Window(reached, period.end)

    def __len__(self) -> int:
        return len(self._starts)
