"""Repairs, while the server still has the events: windows that it counts differently now, and exports that help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_curation.audit.evidence.check import Check, Count
from airflow_provider_curation.audit.evidence.coverage import ArchiveCoverage
from airflow_provider_curation.audit.evidence.findings import DAMAGED, Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.window import Window, format_utc

#: The findings that another export of the window can repair, as long as the server still has its events.
REPAIRED_BY_EXPORT: Final = DAMAGED | {
    FindingKind.GAP,
    FindingKind.UNRECONCILED,
    FindingKind.BAD_SIGNATURE,
    FindingKind.LATE_EVENTS,
}
#: The time that an export needs to run before the server forgets the start of the window.
_TO_REPAIR: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Repair:
    """An export that repairs a finding, as long as the server still has the window's events."""

    window: Window
    stream: str
    format: str
    compression: str | None = None

    def as_kwargs(self) -> dict[str, Any]:
        """Return it as arguments of ``CurationAuditToS3Operator``."""
        arguments: dict[str, Any] = {
            "start": format_utc(self.window.start),
            "end": format_utc(self.window.end),
            "dry_run": self.stream == "dry_run",
            "file_format": self.format,
        }
        return {**arguments, "compression": self.compression} if self.compression else arguments


class Recounts:
    """The windows that the server counts again, since events can have appeared after their export."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._exports: dict[tuple[bool, Window], list[tuple[str, Series, int, str | None]]] = {}

    def add(self, key: str, stored: StoredManifest) -> None:
        """Add an export, unless another server made it or the server has begun to forget its window."""
        check, series, facts = self._check, self._check.series_of(stored), stored.facts
        own = check.instance in (None, series.instance)
        if not own or check.remembered is None or stored.window.start < check.remembered:
            return
        asked = (facts["stream"] == "dry_run", stored.window)
        self._exports.setdefault(asked, []).append((key, series, facts["events_read"], facts.get("compression")))

    def ask(self, pool: ThreadPoolExecutor, count: Count) -> Iterator[Finding]:
        """Count each window once, and yield a finding for each export if the server now counts more events."""
        asked = list(self._exports)
        for (dry_run, window), now in zip(asked, pool.map(lambda each: count(each[1], each[0]), asked), strict=True):
            for key, series, read, compression in self._exports[dry_run, window]:
                if now > read:
                    detail = f"the server now counts {now} events, but the export read {read}"
                    yield Finding(FindingKind.LATE_EVENTS, detail, key, window, series, compression)

    def __len__(self) -> int:
        return len(self._exports)


def repairs(
    findings: Sequence[Finding], server: str | None, remembered: datetime | None, coverage: ArchiveCoverage
) -> list[Repair]:
    """Return the exports that can repair the findings, each once.

    :param server: whose findings can be repaired.
    :param remembered: since when that server still has all events; ``None`` repairs nothing.
    """
    if remembered is None:
        return []
    found: dict[Repair, None] = {}
    for finding in findings:
        window, series = finding.window, finding.series
        if finding.kind not in REPAIRED_BY_EXPORT or window is None or series is None or series.instance != server:
            continue
        is_gap = finding.kind is FindingKind.GAP
        parts = _pieces(window, coverage[series].usual_width, remembered) if is_gap else iter([window])
        for part in parts:
            if part.start >= remembered + _TO_REPAIR:
                found[Repair(part, series.stream, series.format, finding.compression)] = None
    return list(found)


def _pieces(gap: Window, width: timedelta | None, remembered: datetime) -> Iterator[Window]:
    """Yield a gap in pieces as wide as the series' other exports."""
    earliest = remembered + 2 * _TO_REPAIR
    for part in gap.split(width) if width else [gap]:
        # If the server has begun to forget a piece, the rest of it can still be exported.
        yield Window.parse(earliest, part.end) if part.start < earliest < part.end else part
