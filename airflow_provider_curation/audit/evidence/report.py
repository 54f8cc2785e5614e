"""The result of a verification: what was checked and found, for people and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_curation.audit.evidence.findings import Finding
from airflow_provider_curation.audit.evidence.mending import Mend
from airflow_provider_curation.audit.window import Window, format_utc


@dataclass(frozen=True)
class Report:
    """What a verification found.

    :param period: what was verified.
    :param manifests: that were read.
    :param objects_read: objects whose SHA-256 was computed.
    :param recounted: windows that the server was asked to count again.
    :param server: whose exports are counted again and mended; ``None`` if it is not known which of several.
    :param other_servers: whose exports are neither, but verified in every other respect.
    :param mends: exports that mend what can still be mended.
    :param seal: the key of the seal of what was verified, if that was asked for and nothing was found.
    :param seal_sha256: of that seal; note it elsewhere, to show later that the chain was not cut short.
    """

    prefix: str
    period: Window
    findings: Sequence[Finding]
    manifests: int = 0
    events: int = 0
    objects_read: int = 0
    bytes_read: int = 0
    recounted: int = 0
    server: str | None = None
    other_servers: Sequence[str] = ()
    mends: Sequence[Mend] = ()
    seal: str | None = None
    seal_sha256: str | None = None
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        counted = Counter(finding.kind.value for finding in self.findings)
        object.__setattr__(self, "counts", dict(sorted(counted.items())))

    def summary(self, most: int = 50) -> str:
        """Return the report for people: what was checked, what was found, and what can still be mended."""
        read = f", {self.objects_read} objects read ({self.bytes_read:,} bytes)" if self.objects_read else ""
        recounted = f", {self.recounted} windows counted again" if self.recounted else ""
        what = f"{self.manifests} manifests, {self.events:,} events"
        lines = [f"{self.prefix or 'The whole archive'}, {self.period}: {what}{read}{recounted}."]
        if self.other_servers:
            why = (
                "no connection tells which server to ask"
                if self.server is None
                else f"they belong to another server than {self.server}"
            )
            lines[0] += f" Not counted again or mended, since {why}: the exports of {', '.join(self.other_servers)}."
        if not self.findings:
            return f"{lines[0]} Nothing is missing."
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        lines.append(f"Findings: {kinds}. Exports that still mend some of them: {len(self.mends)}.")
        lines += [f"- {finding}" for finding in self.findings[:most]]
        if len(self.findings) > most:
            lines.append(f"- and {len(self.findings) - most} more")
        return "\n".join(lines)

    def as_dict(self, most: int = 200) -> dict[str, Any]:
        """Return the report as JSON values; of many findings the first ones, with all of them counted."""
        return {
            "prefix": self.prefix,
            "start": format_utc(self.period.start),
            "end": format_utc(self.period.end),
            "manifests": self.manifests,
            "events": self.events,
            "objects_read": self.objects_read,
            "recounted": self.recounted,
            "server": self.server,
            "other_servers": list(self.other_servers),
            "counts": self.counts,
            "findings": [finding.as_dict() for finding in self.findings[:most]],
            "mend": [mend.as_kwargs() for mend in self.mends],
            "seal": self.seal,
            "seal_sha256": self.seal_sha256,
            "summary": self.summary(),
        }
