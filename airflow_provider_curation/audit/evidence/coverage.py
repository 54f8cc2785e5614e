"""Records which time exports cover; adjacent windows become one, so a whole series takes only a few numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.listing import key_shape
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.window import Window

_RECENT: Final = 64


class Coverage:
    """A set of times, made of windows that are added in any order."""

    def __init__(self) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []

    def add(self, window: Window) -> list[Window]:
        """Add a window, and return the parts of it that were already covered."""
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
    """The time that a series covers, and the widths and compressions of its exports.

    :ivar expected: whether its unfiltered exports must exist.
    """

    everything: Coverage = field(default_factory=Coverage)
    unfiltered: Coverage = field(default_factory=Coverage)
    only_filtered: bool = True
    expected: bool = False
    last_end: datetime | None = None
    widths: Counter[timedelta] = field(default_factory=Counter)
    compressions: Counter[str] = field(default_factory=Counter)

    def add(self, stored: StoredManifest) -> None:
        """Add an export."""
        window = stored.window
        self.everything.add(window)
        if not stored.facts["filters"]:
            self.unfiltered.add(window)
            self.only_filtered = False
        self.last_end = max(self.last_end or window.end, window.end)
        self.add_form(stored)

    def add_form(self, stored: StoredManifest) -> None:
        """Count an export's width and compression."""
        self.widths[stored.window.width] += 1
        self.compressions[str(stored.facts.get("compression"))] += 1

    def covered(self, filtered_is_a_finding: bool) -> Coverage:
        """Return the time that is covered.

        If unfiltered exports are expected, filtered ones cover nothing. Otherwise they cover their time if each of them
        is a finding anyway, or if the series has no others.
        """
        if self.expected or not (filtered_is_a_finding or self.only_filtered):
            return self.unfiltered
        return self.everything

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

    def __init__(self, check: Check) -> None:
        self._check = check
        self._series: dict[Series, SeriesCoverage] = {}
        self._same: dict[tuple[Series, str], _SameTreatment] = {}
        # The series of keys that differ only in numbers: it shows where an object without a manifest belongs.
        self._shapes: dict[str, Series | None] = {}

    def add(self, key: str, stored: StoredManifest) -> Iterator[Finding]:
        """Add an export, and yield a finding for each time that was already covered.

        :param key: the manifest's key.
        """
        window, series = stored.window, self._check.series_of(stored)
        shape = key_shape(key, stored.facts["instance"])
        self._shapes[shape] = series if self._shapes.get(shape, series) == series else None
        self._series.setdefault(series, SeriesCoverage()).add(stored)
        kept = f"{stored.facts.get('compression')} {stored.treatment[0]}"
        same = self._same.setdefault((series, kept), _SameTreatment())
        for part in same.covered.add(window):
            others = [other for known, other in same.recent if known.start < part.end and known.end > part.start]
            detail = f"it is covered by {', '.join(others) or 'an export that was read earlier'} too"
            yield Finding(FindingKind.OVERLAP, detail, key, part, series)
        same.recent.append((window, key))

    def add_broken(self, manifest_key: str, window: Window | None) -> Series | None:
        """Add an export with an unreadable manifest by the window in its key, so that its time is not also a gap.

        :return: the series whose keys look like this one, if there is exactly one.
        """
        # Keys can also contain the earlier names of servers.
        instances = {series.instance for series in self._series} | set(self._check.aliases)
        shapes = {key_shape(manifest_key, instance) for instance in instances}
        alike = {self._shapes[shape] for shape in shapes if shape in self._shapes}
        series = alike.pop() if len(alike) == 1 else None
        if window and series:
            self._series[series].everything.add(window)
            self._series[series].unfiltered.add(window)
        return series

    def expect(self, series: Series, like: StoredManifest | None = None) -> None:
        """Expect a series that was exported or sealed once, even if nothing of it is in the period.

        :param like: one of its exports.
        """
        if series not in self._check.retired and series not in self._series:
            seen = self._series[series] = SeriesCoverage()
            if like is not None:
                seen.add_form(like)

    def expect_unfiltered(self, instances: Iterable[str]) -> None:
        """Expect the series that the check names, for these servers."""
        for instance in instances:
            for stream, form in self._check.expected:
                self._series.setdefault(Series(instance, stream, form), SeriesCoverage()).expected = True

    def gaps(self, now: datetime) -> Iterator[tuple[Finding, bool]]:
        """Yield the times that no export covers, each with whether its export may still be running."""
        check = self._check
        for series, seen in self._series.items():
            period = check.period
            if series in check.retired:
                if seen.last_end is None or seen.last_end <= period.start:
                    continue
                period = Window(period.start, min(period.end, seen.last_end))
            detail = "no unfiltered export covers it" if seen.expected else "no export covers it"
            for gap in seen.covered(FindingKind.FILTERED not in check.ignored).gaps(period):
                for part, pending in _pending(gap, seen.usual_width or gap.width, now - check.export_time):
                    yield Finding(FindingKind.GAP, detail, None, part, series, seen.usual_compression), pending

    def instances(self) -> set[str]:
        """Return the servers that have exports here, or should have."""
        return {series.instance for series in self._series}

    def __getitem__(self, series: Series) -> SeriesCoverage:
        return self._series[series]


def _pending(gap: Window, width: timedelta, due: datetime) -> Iterator[tuple[Window, bool]]:
    """Split a gap into what is missing and what is pending: windows of this width that ended after ``due``."""
    if gap.end <= due:
        yield gap, False
        return
    late = max(0, -((gap.start - due) // width))
    first = max(gap.start, gap.start + (late - 1) * width) if late else gap.start
    while first + width <= due:
        first += width
    if first > gap.start:
        yield Window(gap.start, first), False
    yield Window(first, gap.end), True
