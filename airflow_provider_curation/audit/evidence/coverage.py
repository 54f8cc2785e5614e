"""Which time exports cover: parts that touch become one, so that a whole series is a few numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airflow_provider_curation.audit.evidence.findings import Series
from airflow_provider_curation.audit.evidence.listing import key_shape
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.window import Window

_RECENT: Final = 64


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
        """Yield the parts of a period that are not covered, in order of time."""
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


@dataclass
class SeriesCoverage:
    """The time that a series covers, and how wide and how compressed its exports are.

    :param filtered: the time that only filtered exports cover, if those are no findings. Beside unfiltered exports
        they cover nothing, so that they hide no gap.
    """

    unfiltered: Coverage = field(default_factory=Coverage)
    filtered: Coverage = field(default_factory=Coverage)
    only_filtered: bool = True
    widths: Counter[timedelta] = field(default_factory=Counter)
    compressions: Counter[str] = field(default_factory=Counter)

    @property
    def covered(self) -> Coverage:
        return self.filtered if self.only_filtered else self.unfiltered

    @property
    def usual_width(self) -> timedelta | None:
        """The width of most of its exports; ``None`` without any."""
        return next((width for width, _ in self.widths.most_common(1)), None)

    @property
    def usual_compression(self) -> str | None:
        """The compression of most of its exports; ``None`` without any."""
        return next((name for name, _ in self.compressions.most_common(1)), None)


@dataclass
class _SameTreatment:
    """Exports of a series with the same filters and compression: they must not overlap."""

    covered: Coverage = field(default_factory=Coverage)
    recent: deque[tuple[Window, str]] = field(default_factory=lambda: deque(maxlen=_RECENT))


class ArchiveCoverage:
    """The time that each series of an archive covers."""

    def __init__(self) -> None:
        self._series: dict[Series, SeriesCoverage] = {}
        self._same: dict[tuple[Series, str], _SameTreatment] = {}
        # The series of keys that differ only in numbers; it tells where an object without a manifest belongs.
        self._shapes: dict[str, Series | None] = {}

    def expect(self, series: Series) -> None:
        """Add a series that must be there, even if it has no exports."""
        self._series.setdefault(series, SeriesCoverage())

    def add(self, key: str, stored: StoredManifest, filtered: bool) -> Iterator[tuple[Window, str]]:
        """Add an export, and yield each time that is covered twice, with what covers it already.

        :param key: the manifest's.
        :param filtered: whether it is filtered and that is no finding.
        """
        window, series = stored.window, Series(*stored.series)
        shape = key_shape(key, series.instance)
        self._shapes[shape] = series if self._shapes.get(shape, series) == series else None
        seen = self._series.setdefault(series, SeriesCoverage())
        seen.only_filtered = seen.only_filtered and filtered
        (seen.filtered if filtered else seen.unfiltered).add(window)
        seen.widths[window.width] += 1
        seen.compressions[str(stored.facts.get("compression"))] += 1
        # Two compressions of one window are two formats of it, and do not overlap.
        treatment = f"{stored.facts.get('compression')} {stored.treatment[0]}"
        same = self._same.setdefault((series, treatment), _SameTreatment())
        for part in same.covered.add(window):
            others = [other for known, other in same.recent if known.start < part.end and known.end > part.start]
            yield part, ", ".join(others) or "an export that was read earlier"
        same.recent.append((window, key))

    def add_broken(self, manifest_key: str, window: Window | None) -> Series | None:
        """Add an export whose manifest cannot be read as far as its key tells, so that its time is no gap as well.

        :return: the series whose keys look like this one, if there is exactly one.
        """
        shapes = {key_shape(manifest_key, series.instance) for series in self._series}
        alike = {self._shapes[shape] for shape in shapes if shape in self._shapes}
        series = alike.pop() if len(alike) == 1 else None
        if window and series:
            self._series[series].covered.add(window)
        return series

    def instances(self) -> set[str]:
        """Return the servers that have exports here."""
        return {series.instance for series in self._series}

    def __iter__(self) -> Iterator[tuple[Series, SeriesCoverage]]:
        return iter(self._series.items())

    def __getitem__(self, series: Series) -> SeriesCoverage:
        return self._series[series]

    def __len__(self) -> int:
        return len(self._series)
