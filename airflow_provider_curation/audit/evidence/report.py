"""The result of a verification: what was checked and found, for people and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_curation.audit.evidence.findings import Finding, Series
from airflow_provider_curation.audit.evidence.inspection import Inspected
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.evidence.repair import REPAIRED_BY_EXPORT, Repair
from airflow_provider_curation.audit.retention import days_left
from airflow_provider_curation.audit.window import Window, format_utc


@dataclass
class Totals:
    """How much was verified.

    :param manifests: manifests of the period that were read.
    :param objects_read: objects that were read to their end, with ``bytes_read`` in total.
    :param contents_unread: those whose content has a format that cannot be compared with the manifest.
    :param checksums_compared: objects whose SHA-256 the store itself returned, so that they were not read.
    :param recounted: windows that the server counted again.
    """

    manifests: int = 0
    objects_read: int = 0
    bytes_read: int = 0
    contents_unread: int = 0
    checksums_compared: int = 0
    recounted: int = 0
    _events: Counter[Series] = field(default_factory=Counter)

    def add_reading(self, inspected: Inspected) -> None:
        """Count an object, if it was read or its checksum was compared."""
        self.checksums_compared += inspected.checksum_compared
        if inspected.bytes_read is not None:
            self.objects_read += 1
            self.bytes_read += inspected.bytes_read
            self.contents_unread += not inspected.content_read

    def add_manifest(self, stored: StoredManifest, series: Series) -> None:
        """Count a manifest."""
        self.manifests += 1
        self._events[series] += stored.facts["events"]

    def events(self) -> dict[str, int]:
        """Return the events of each stream; of several formats, only the one with the most events counts."""
        fullest: Counter[tuple[str, str]] = Counter()
        for series, events in self._events.items():
            place = (series.stream, series.instance)
            fullest[place] = max(fullest[place], events)
        streams: Counter[str] = Counter()
        for (stream, _), events in sorted(fullest.items()):
            streams[stream] += events
        return dict(streams)


@dataclass(frozen=True)
class Report:
    """The result of a verification.

    :param period: the period that was verified.
    :param clock: the verifier's clock at the start, in UTC.
    :param ignored: findings of ignored kinds.
    :param pending: times that no export covers yet, but whose export may still be running.
    :param server: the server whose exports are counted again and repaired; ``None`` if it is not known which of
        several.
    :param other_servers: the servers whose exports are not, but are verified in every other respect.
    :param repairs: exports that can still repair findings.
    :param seals: seals of the archive that were read and can be trusted.
    :param sealed_until: the end of the last sealed period.
    :param signed: manifests that have a signature, whoever made it.
    :param signatures_checked: manifests whose signature was checked and counts.
    :param keys: ids of the keys that signatures were checked with.
    :param seal: the key of the period's seal, if sealing was requested and nothing was found.
    :param seal_sha256: of that seal; note it elsewhere, to show later that the chain was not cut short.
    """

    prefix: str
    period: Window
    clock: datetime
    findings: Sequence[Finding]
    totals: Totals = field(default_factory=Totals)
    ignored: Sequence[Finding] = ()
    pending: Sequence[Finding] = ()
    server: str | None = None
    other_servers: Sequence[str] = ()
    repairs: Sequence[Repair] = ()
    seals: int = 0
    sealed_until: datetime | None = None
    signed: int = 0
    signatures_checked: int = 0
    keys: Sequence[str] = ()
    seal: str | None = None
    seal_sha256: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind."""
        return _counts(self.findings)

    def days_left(self, retention: timedelta) -> float:
        """Return how many days are left until the server forgets the oldest of the missing events.

        Pending exports and everything after the period count as missing.

        :param retention: how long the server remembers events.
        """
        found = (*self.findings, *self.pending)
        missing = [each.window for each in found if each.window and each.kind in REPAIRED_BY_EXPORT]
        return days_left(missing, self.period.end, retention, self.clock)

    def summary(self, most: int = 50) -> str:
        """Return the report for people: what was checked, what was found, and what can still be repaired.

        It has no control characters from stored text.

        :param most: how many findings are listed.
        """
        lines = [self._checked(), self._trust()]
        if self.other_servers:
            why = (
                "no connection tells which server to ask"
                if self.server is None
                else f"they belong to another server than {printable(self.server)}"
            )
            others = printable(", ".join(self.other_servers))
            lines.append(f"Not counted again or repaired, since {why}: the exports of {others}.")
        if self.pending:
            windows = ", ".join(f"{each.window} ({printable(str(each.series))})" for each in self.pending[:most])
            lines.append(f"Pending, since their exports may still be running: {windows}.")
        if self.ignored:
            lines.append(f"Ignored, as asked: {_listed(_counts(self.ignored))}.")
        if not self.findings:
            lines.append("Nothing else is missing." if self.ignored or self.pending else "Nothing is missing.")
            return "\n".join(lines)
        lines.append(f"Findings: {_listed(self.counts)}. Exports that can still repair some: {len(self.repairs)}.")
        lines += [f"- {finding}" for finding in self.findings[:most]]
        if len(self.findings) > most:
            lines.append(f"- and {len(self.findings) - most} more")
        return "\n".join(lines)

    def _checked(self) -> str:
        totals = self.totals
        streams = [f"{events:,} {_STREAMS.get(name, name)}" for name, events in totals.events().items()]
        what = ", ".join([f"{totals.manifests:,} manifests", *map(printable, streams)])
        if totals.objects_read:
            what += f", {totals.objects_read:,} objects read ({totals.bytes_read:,} bytes)"
        if totals.contents_unread:
            what += f", of {totals.contents_unread:,} of them only size and SHA-256"
        if totals.checksums_compared:
            what += f", {totals.checksums_compared:,} compared by the store's own SHA-256"
        if totals.recounted:
            what += f", {totals.recounted:,} windows counted again"
        where = printable(self.prefix) or "The whole archive"
        return f"{where}, {self.period}, by the clock at {format_utc(self.clock)}: {what}."

    def _trust(self) -> str:
        seals = "No seals were read"
        if self.sealed_until is not None:
            seals = f"{self.seals} {'seal was' if self.seals == 1 else 'seals were'} read, and the archive is sealed up"
            seals += f" to {format_utc(self.sealed_until)}"
        if self.keys:
            checked = f"{self.signatures_checked:,} signatures count, checked with {', '.join(self.keys)}"
        elif self.signed:
            checked = f"NO SIGNATURE WAS CHECKED, though {self.signed:,} manifests are signed: give a key"
        else:
            checked = "no signature was checked"
        return f"{seals}; {checked}."

    def as_dict(self, most: int = 200) -> dict[str, Any]:
        """Return the report as JSON values; it lists the first findings, and counts all of them."""
        return {
            "prefix": self.prefix,
            "start": format_utc(self.period.start),
            "end": format_utc(self.period.end),
            "clock": format_utc(self.clock),
            "manifests": self.totals.manifests,
            "events": self.totals.events(),
            "objects_read": self.totals.objects_read,
            "checksums_compared": self.totals.checksums_compared,
            "recounted": self.totals.recounted,
            "server": self.server,
            "other_servers": list(self.other_servers),
            "counts": self.counts,
            "findings": [finding.as_dict() for finding in self.findings[:most]],
            "ignored": _counts(self.ignored),
            "pending": [finding.as_dict() for finding in self.pending[:most]],
            "repair": [repair.as_kwargs() for repair in self.repairs],
            "seals": self.seals,
            "sealed_until": format_utc(self.sealed_until) if self.sealed_until else None,
            "signed": self.signed,
            "signatures_checked": self.signatures_checked,
            "keys": list(self.keys),
            "seal": self.seal,
            "seal_sha256": self.seal_sha256,
            "summary": self.summary(),
        }


_STREAMS = {"events": "events", "dry_run": "dry-run events"}


def _counts(findings: Iterable[Finding]) -> dict[str, int]:
    return dict(sorted(Counter(finding.kind.value for finding in findings).items()))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())
