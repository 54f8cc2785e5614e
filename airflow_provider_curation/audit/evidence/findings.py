"""What a verification can find: a closed set of kinds, and each finding as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_provider_curation.audit.window import Window, format_utc


class Kind(str, Enum):
    """Everything that can be wrong with an archive."""

    GAP = "gap"  # a time that no export covers
    OVERLAP = "overlap"  # a time that two exports of a series cover
    UNRECONCILED = "unreconciled"  # the server gave no count to hold the events against
    FILTERED = "filtered"  # events were left out on purpose
    OBJECT_MISSING = "object_missing"  # a manifest without its object
    SIZE_DIFFERS = "size_differs"
    SHA256_DIFFERS = "sha256_differs"
    MANIFEST_MISSING = "manifest_missing"  # an object without its manifest
    MANIFEST_UNREADABLE = "manifest_unreadable"
    BAD_SIGNATURE = "bad_signature"  # also none, where a key was given
    LATE_EVENTS = "late_events"  # the server counts more now than were exported
    SEALED_MISSING = "sealed_missing"  # a sealed manifest is gone
    SEALED_CHANGED = "sealed_changed"  # a sealed manifest is another one, and does not name the one it replaced
    NOT_SEALED = "not_sealed"  # the period was to be sealed, and its digest is older than the manifest
    DIGEST_BROKEN = "digest_broken"  # a digest that cannot be read or trusted, or does not chain to the one before

    __str__ = str.__str__


#: What exporting the window again mends, while the server remembers it.
MENDED_BY_EXPORT = frozenset(
    {
        Kind.GAP,
        Kind.UNRECONCILED,
        Kind.OBJECT_MISSING,
        Kind.SIZE_DIFFERS,
        Kind.SHA256_DIFFERS,
        Kind.MANIFEST_MISSING,
        Kind.MANIFEST_UNREADABLE,
        Kind.BAD_SIGNATURE,
        Kind.LATE_EVENTS,
    }
)


@dataclass(frozen=True)
class Series:
    """Exports that belong together: those of one stream of one instance in one format."""

    instance: str
    stream: str
    format: str

    def __str__(self) -> str:
        return f"{self.instance or 'any instance'}, {self.stream}, {self.format}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :param key: of the object, manifest or digest; ``None`` for a gap.
    :param window: the time that it concerns, as far as it is known.
    """

    kind: Kind
    detail: str
    key: str | None = None
    window: Window | None = None
    series: Series | None = None
    compression: str | None = None

    def __str__(self) -> str:
        where = " ".join(str(part) for part in (self.series and f"({self.series})", self.key, self.window) if part)
        return f"{self.kind}: {where}: {self.detail}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "detail": self.detail,
            "key": self.key,
            "start": format_utc(self.window.start) if self.window else None,
            "end": format_utc(self.window.end) if self.window else None,
            "instance": self.series.instance if self.series else None,
            "stream": self.series.stream if self.series else None,
            "format": self.series.format if self.series else None,
        }


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
    :param digest: the key of the digest that seals what was verified, if that was asked for and nothing was found.
    :param digest_sha256: of that digest; note it elsewhere, to show later that the chain was not cut short.
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
    digest: str | None = None
    digest_sha256: str | None = None
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
            "digest": self.digest,
            "digest_sha256": self.digest_sha256,
            "summary": self.summary(),
        }
