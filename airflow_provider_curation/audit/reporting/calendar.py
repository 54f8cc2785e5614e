"""Assigns exports and findings to the days of a period, and so shows what an archive has for each day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airflow_provider_curation.audit.evidence.findings import DAMAGED, Finding, FindingKind, Series
from airflow_provider_curation.audit.reporting.exports import Export
from airflow_provider_curation.audit.reporting.figures import Day, DayState, SeriesFigures
from airflow_provider_curation.audit.window import Window, format_utc

_DAY: Final = timedelta(days=1)
_MOST_NAMED: Final = 3
#: Events of the time are not all kept: it is missing, or lost.
NOT_KEPT: Final = DAMAGED | {FindingKind.SEALED_MISSING, FindingKind.LATE_EVENTS}
#: Findings with a state of their own.
_OWN_STATE: Final = {
    FindingKind.UNRECONCILED: DayState.UNRECONCILED,
    FindingKind.FILTERED: DayState.FILTERED,
}
_ORDER: Final = list(DayState)


@dataclass
class _Cell:
    """A day while it is filled in."""

    window: Window
    state: DayState = DayState.NOT_EXPECTED
    exports: int = 0
    counted: int | None = 0
    read: int = 0
    kept: int = 0
    manifests: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    until: datetime | None = None
    kinds: set[str] = field(default_factory=set)

    def worsen(self, state: DayState) -> None:
        if _ORDER.index(state) > _ORDER.index(self.state):
            self.state = state

    def as_day(self) -> Day:
        until = format_utc(self.until) if self.until and self.state is DayState.MISSING else None
        return Day(
            day=f"{self.window.start:%Y-%m-%d}",
            state=self.state,
            exports=self.exports,
            counted=self.counted,
            read=self.read,
            kept=self.kept,
            manifests=tuple(self.manifests),
            runs=tuple(self.runs),
            absent=tuple(self.absent),
            until=until,
            findings=tuple(sorted(self.kinds)),
        )


@dataclass
class _Row:
    cells: list[_Cell]
    exports: int = 0
    counted: int = 0
    uncounted: int = 0
    read: int = 0
    kept: int = 0
    bytes: int = 0


class Calendar:
    """The days of a period, for each series.

    :param retention: how long a server remembers events.
    :param now: the verifier's clock, in UTC.
    """

    def __init__(self, period: Window, retention: timedelta, now: datetime) -> None:
        self._period = period
        self._retention = retention
        self._now = now
        self._first = _midnight(period.start)
        self._rows: dict[Series, _Row] = {}

    def add_exports(self, exports: Iterable[Export]) -> None:
        """Add exports to their days."""
        for export in exports:
            self._add_export(export)

    def _add_export(self, export: Export) -> None:
        row, facts = self._row(export.series), export.facts
        total = facts["total_after"]
        row.exports += 1
        row.counted += total or 0
        row.uncounted += total is None
        row.read += facts["events_read"]
        row.kept += facts["events"]
        row.bytes += facts["size"]
        cells = list(self._cells(row, export.window))
        for cell in cells:
            cell.exports += 1
            cell.worsen(_state(export))
            _name(cell.manifests, export.manifest)
            if export.run:
                _name(cell.runs, export.run)
        first = cells[0]
        first.counted = None if total is None or first.counted is None else first.counted + total
        first.read += facts["events_read"]
        first.kept += facts["events"]

    def add_findings(self, findings: Iterable[Finding], pending: Iterable[Finding]) -> None:
        """Add findings to the days that they concern."""
        for finding in findings:
            for cell in self._concerned(finding):
                cell.kinds.add(finding.kind.value)
                self._judge(cell, finding)
        for finding in pending:
            for cell in self._concerned(finding):
                cell.worsen(DayState.PENDING)
                _name(cell.absent, str(finding.window))

    def _concerned(self, finding: Finding) -> Iterator[_Cell]:
        if finding.window is None:
            return
        known = finding.series in self._rows
        if finding.series is not None and not (finding.series.instance or known):
            return
        rows = self._rows.values() if finding.series is None else [self._row(finding.series)]
        for row in rows:
            yield from self._cells(row, finding.window)

    def _judge(self, cell: _Cell, finding: Finding) -> None:
        """Worsen a day's state by a finding."""
        assert finding.window is not None
        kind = finding.kind
        is_gap = kind in (FindingKind.GAP, FindingKind.NO_EXPORTS)
        if is_gap and cell.state is DayState.FILTERED:
            # No unfiltered export covers it, but a filtered one does.
            return
        if is_gap or kind in NOT_KEPT or finding.lost_events:
            missing = Window(max(finding.window.start, cell.window.start), min(finding.window.end, cell.window.end))
            until = missing.start + self._retention
            cell.worsen(DayState.MISSING if self._now < until else DayState.LOST)
            cell.until = min(cell.until or until, until)
            _name(cell.absent, str(missing))
        else:
            cell.worsen(_OWN_STATE.get(kind, DayState.QUESTIONED))

    def series(self) -> tuple[SeriesFigures, ...]:
        """Return the rows, in order of series."""
        return tuple(
            SeriesFigures(
                server=series.instance,
                stream=series.stream,
                format=series.format,
                exports=row.exports,
                counted=row.counted,
                uncounted=row.uncounted,
                read=row.read,
                kept=row.kept,
                bytes=row.bytes,
                days=tuple(cell.as_day() for cell in row.cells),
            )
            for series, row in sorted(self._rows.items())
        )

    def _row(self, series: Series) -> _Row:
        row = self._rows.get(series)
        if row is None:
            row = self._rows[series] = _Row([_Cell(day) for day in days(self._period)])
        return row

    def _cells(self, row: _Row, window: Window) -> Iterator[_Cell]:
        """Yield the days of a row that a window overlaps."""
        start, end = max(window.start, self._period.start), min(window.end, self._period.end)
        if start >= end:
            return
        first = (start - self._first) // _DAY
        last = (end - timedelta(seconds=1) - self._first) // _DAY
        yield from row.cells[first : last + 1]


def days(period: Window) -> Iterator[Window]:
    """Yield the days of a period in UTC; the first and the last may be partial."""
    start = period.start
    while start < period.end:
        end = min(_midnight(start) + _DAY, period.end)
        yield Window(start, end)
        start = end


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _state(export: Export) -> DayState:
    facts = export.facts
    if not facts["reconciled"]:
        return DayState.UNRECONCILED
    if facts["filters"]:
        return DayState.FILTERED
    return DayState.COMPLETE if facts["events_read"] else DayState.EMPTY


def _name(named: list[str], name: str) -> None:
    if name not in named and len(named) < _MOST_NAMED:
        named.append(name)


def totals(series: Sequence[SeriesFigures]) -> dict[tuple[str, str], SeriesFigures]:
    """Return for each server and stream the format with the most events, since formats hold the same events."""
    fullest: dict[tuple[str, str], SeriesFigures] = {}
    for each in series:
        known = fullest.get((each.server, each.stream))
        if known is None or each.kept > known.kept:
            fullest[each.server, each.stream] = each
    return fullest
