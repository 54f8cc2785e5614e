"""What the server still remembers: which windows it counts differently now, and which exports mend a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_curation.audit.evidence.check import Check, Count
from airflow_provider_curation.audit.evidence.coverage import ArchiveCoverage
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.window import Window, format_utc

#: The findings that exporting the window again mends, as long as the server remembers it.
MENDED_BY_EXPORT: Final = frozenset(
    {
        FindingKind.GAP,
        FindingKind.UNRECONCILED,
        FindingKind.OBJECT_MISSING,
        FindingKind.SIZE_DIFFERS,
        FindingKind.SHA256_DIFFERS,
        FindingKind.CONTENT_DIFFERS,
        FindingKind.MANIFEST_MISSING,
        FindingKind.MANIFEST_UNREADABLE,
        FindingKind.BAD_SIGNATURE,
        FindingKind.LATE_EVENTS,
    }
)
#: Time that an export has to run before the server forgets the window's beginning.
_TO_MEND: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Mend:
    """An export that mends a finding, as long as the server remembers the window."""

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
    """The windows that the server is asked to count again, since events may have come after their export."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._exports: dict[tuple[bool, Window], list[tuple[str, Series, int, str | None]]] = {}

    def add(self, key: str, stored: StoredManifest) -> None:
        """Add an export, unless it is another server's or the server has begun to forget it."""
        check, series, facts = self._check, self._check.series_of(stored), stored.facts
        own = check.instance in (None, series.instance)
        if not own or check.remembered is None or stored.window.start < check.remembered:
            return
        asked = (facts["stream"] == "dry_run", stored.window)
        self._exports.setdefault(asked, []).append((key, series, facts["events_read"], facts.get("compression")))

    def ask(self, pool: ThreadPoolExecutor, count: Count) -> Iterator[Finding]:
        """Ask for each window once, and yield the exports that the server counts more events for now."""
        asked = list(self._exports)
        for (dry_run, window), now in zip(asked, pool.map(lambda each: count(each[1], each[0]), asked), strict=True):
            for key, series, read, compression in self._exports[dry_run, window]:
                if now > read:
                    detail = f"the server counts {now} events now, {read} were read by the export"
                    yield Finding(FindingKind.LATE_EVENTS, detail, key, window, series, compression)

    def __len__(self) -> int:
        return len(self._exports)


def mends(
    findings: Sequence[Finding], server: str | None, remembered: datetime | None, coverage: ArchiveCoverage
) -> list[Mend]:
    """Return the exports that mend what the server still remembers, each once.

    :param server: whose findings can be mended.
    :param remembered: from when on it still has all events; ``None`` mends nothing.
    """
    if remembered is None:
        return []
    found: dict[Mend, None] = {}
    for finding in findings:
        window, series = finding.window, finding.series
        if finding.kind not in MENDED_BY_EXPORT or window is None or series is None or series.instance != server:
            continue
        is_gap = finding.kind is FindingKind.GAP
        parts = _pieces(window, coverage[series].usual_width, remembered) if is_gap else iter([window])
        for part in parts:
            if part.start >= remembered + _TO_MEND:
                found[Mend(part, series.stream, series.format, finding.compression)] = None
    return list(found)


def _pieces(gap: Window, width: timedelta | None, remembered: datetime) -> Iterator[Window]:
    """Yield a gap in pieces as wide as the series' other exports."""
    earliest = remembered + 2 * _TO_MEND
    for part in gap.split(width) if width else [gap]:
        # Of a piece that the server has begun to forget, the rest can still be exported.
        yield Window.parse(earliest, part.end) if part.start < earliest < part.end else part
