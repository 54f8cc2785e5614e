"""Puts a report's figures together: from a verification, the manifests, and one pass over the objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.findings import Finding, Series
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.seal import list_seals
from airflow_provider_curation.audit.reporting.activity import count_activity
from airflow_provider_curation.audit.reporting.calendar import Calendar, totals
from airflow_provider_curation.audit.reporting.exports import read_exports
from airflow_provider_curation.audit.reporting.figures import (
    Figures,
    FindingFigures,
    Key,
    People,
    SeriesFigures,
    StreamTotal,
    Trust,
)
from airflow_provider_curation.audit.reporting.sheet import evidence_sheet
from airflow_provider_curation.audit.reporting.verdict import judge
from airflow_provider_curation.audit.reporting.words import ADVICE
from airflow_provider_curation.audit.window import format_utc

_MOST_FINDINGS: Final = 200


@dataclass(frozen=True)
class Wanted:
    """What a report shows.

    :param streams: of ``events`` and ``dry_run``; empty for both.
    :param servers: names as in manifests; empty for all.
    :param activity: read the objects, and show what happened.
    :param people: whether to name the users who were blocked most: ``off``, ``masked`` or ``shown``.
    :param aliases: the earlier names of renamed servers, each with the server's current name.
    :param retention: how long a server remembers events.
    :param keys: the public keys that signatures were checked with.
    """

    streams: Collection[str] = ()
    servers: Collection[str] = ()
    activity: bool = True
    people: People = "off"
    aliases: Mapping[str, str] = field(default_factory=dict)
    retention: timedelta = RETENTION
    keys: Sequence[Key] = ()
    workers: int = 8

    def has(self, series: Series | None) -> bool:
        """Return whether a series is shown; findings without a series are always shown."""
        if series is None:
            return True
        of_server = not self.servers or not series.instance or series.instance in self.servers
        return of_server and (not self.streams or series.stream in self.streams)


def build_figures(archive: Archive, verified: Report, wanted: Wanted) -> Figures:
    """Return the figures of the verified period.

    :param verified: the verification of the same archive.
    :raises MissingPackageError: if a package is needed to unpack an object.
    """
    period, layout = verified.period, Layout(verified.prefix.rstrip("/"))
    found = read_exports(archive, layout, period, wanted.aliases, wanted.workers)
    exports = [export for export in found if wanted.has(export.series)]
    findings, ignored, pending = (
        [each for each in some if wanted.has(each.series)]
        for some in (verified.findings, verified.ignored, verified.pending)
    )
    calendar = Calendar(period, wanted.retention, verified.clock)
    calendar.add_exports(exports)
    calendar.add_findings([*findings, *ignored], pending)
    series = tuple(_by_stream(calendar.series()))
    shown = [_finding(each, False) for each in findings] + [_finding(each, True) for each in ignored]
    return Figures(
        archive=printable(archive.uri(layout.prefix)),
        start=format_utc(period.start),
        end=format_utc(period.end),
        made_at=format_utc(verified.clock),
        provider_version=__version__,
        verdict=judge([*findings, *ignored], pending, series),
        servers=tuple(sorted({each.server for each in series})),
        totals=tuple(
            StreamTotal(each.server, each.stream, each.format, each.counted, each.uncounted, each.read, each.kept)
            for each in _by_stream(totals(series).values())
        ),
        trust=_trust(archive, layout, verified, wanted.keys),
        series=series,
        findings=tuple(shown[:_MOST_FINDINGS]),
        findings_total=len(shown),
        beyond=sum(each.window.start < period.start or each.window.end > period.end for each in exports),
        sheet=evidence_sheet(exports, wanted.retention),
        activity=count_activity(archive, exports, period, wanted.people) if wanted.activity else None,
    )


def _by_stream(series: Iterable[SeriesFigures]) -> list[SeriesFigures]:
    """Return series by server, real events before dry-run events."""
    return sorted(series, key=lambda each: (each.server, each.stream == "dry_run", each.format))


def _trust(archive: Archive, layout: Layout, verified: Report, keys: Sequence[Key]) -> Trust:
    named = {key.id: key for key in keys}
    sealed, listed = list_seals(archive, layout)
    signed = [key for key in sealed if key + SIGNATURE_SUFFIX in listed]
    return Trust(
        manifests=verified.totals.manifests,
        signed=verified.signed,
        counting=verified.signatures_checked,
        keys=tuple(named.get(id_, Key(id_, "", "")) for id_ in verified.keys),
        seals=verified.seals,
        sealed_until=format_utc(verified.sealed_until) if verified.sealed_until else None,
        seal=signed[-1].removeprefix(layout.prefix) if signed else None,
        seal_sha256=verified.seal_sha256,
    )


def _finding(finding: Finding, ignored: bool) -> FindingFigures:
    advice, series, window = ADVICE[finding.kind], finding.series, finding.window
    return FindingFigures(
        kind=finding.kind.value,
        title=advice.title,
        detail=printable(finding.detail),
        action=advice.action,
        key=printable(finding.key) if finding.key else None,
        start=format_utc(window.start) if window else None,
        end=format_utc(window.end) if window else None,
        server=series.instance if series else None,
        stream=series.stream if series else None,
        format=series.format if series else None,
        ignored=ignored,
    )
