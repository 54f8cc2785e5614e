"""The findings of a verification: a closed set of kinds, and each finding as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.window import Window, format_utc


class FindingKind(str, Enum):
    """Everything that can be wrong with an archive."""

    NO_EXPORTS = "no_exports"  # the period has no export at all; it cannot be ignored
    GAP = "gap"  # a time that no export covers
    OVERLAP = "overlap"  # a time that two exports of a series cover
    UNRECONCILED = "unreconciled"  # the server gave no count to compare the events with
    FILTERED = "filtered"  # events were left out deliberately
    OBJECT_MISSING = "object_missing"  # a manifest has no object
    SIZE_DIFFERS = "size_differs"
    SHA256_DIFFERS = "sha256_differs"
    CONTENT_DIFFERS = "content_differs"  # the right bytes, but not the content that the manifest states
    MANIFEST_MISSING = "manifest_missing"  # an object has no manifest
    MANIFEST_UNREADABLE = "manifest_unreadable"
    BAD_SIGNATURE = "bad_signature"  # or no signature, although a key was given
    UNSIGNED = "unsigned"  # not signed although others are, and no key was given
    SIGNATURES_UNCHECKED = "signatures_unchecked"  # there are signatures, but no key was given
    LATE_EVENTS = "late_events"  # the server now counts more events than were exported
    SEALED_MISSING = "sealed_missing"  # a sealed manifest is gone
    REPLACED_AFTER_SEALING = "replaced_after_sealing"  # a manifest is not the one that was sealed
    NOT_SEALED = "not_sealed"  # with seal=True: the period's seal is older than this manifest
    NO_SEALS = "no_seals"  # manifests are signed, but nothing is sealed
    SEAL_BROKEN = "seal_broken"  # a seal that cannot be read or trusted, or does not chain to the one before
    OTHER_ARCHIVE = "other_archive"  # another archive's manifests or seals are below this one's root

    __str__ = str.__str__


#: An export whose object and manifest do not both exist as they were written.
DAMAGED: Final = frozenset(
    {
        FindingKind.OBJECT_MISSING,
        FindingKind.SIZE_DIFFERS,
        FindingKind.SHA256_DIFFERS,
        FindingKind.CONTENT_DIFFERS,
        FindingKind.MANIFEST_MISSING,
        FindingKind.MANIFEST_UNREADABLE,
    }
)
#: Something finished was altered or has vanished. This is an incident even if an export repairs it.
INCIDENTS: Final = DAMAGED | {
    FindingKind.BAD_SIGNATURE,
    FindingKind.UNSIGNED,
    FindingKind.SEALED_MISSING,
    FindingKind.REPLACED_AFTER_SEALING,
    FindingKind.NO_SEALS,
    FindingKind.SEAL_BROKEN,
}


@dataclass(frozen=True, order=True)
class Series:
    """Exports that belong together: one stream of one instance in one format."""

    instance: str
    stream: str
    format: str

    def __str__(self) -> str:
        return f"{self.instance or 'any instance'}, {self.stream}, {self.format}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :param key: of the object, manifest or seal; ``None`` for a gap.
    :param window: the time that it concerns, if known.
    :param events: the numbers of events that were sealed and that the manifest has now; ``None`` for other kinds.
    """

    kind: FindingKind
    detail: str
    key: str | None = None
    window: Window | None = None
    series: Series | None = None
    compression: str | None = None
    events: tuple[int, int] | None = None

    @property
    def lost_events(self) -> int:
        """How many sealed events a replacement lacks."""
        return max(0, self.events[0] - self.events[1]) if self.events else 0

    def __str__(self) -> str:
        """Return one line, without control characters from stored text."""
        where = " ".join(str(part) for part in (self.series and f"({self.series})", self.key, self.window) if part)
        return f"{self.kind}: {printable(where)}: {printable(self.detail)}"

    def as_dict(self) -> dict[str, Any]:
        found = {
            "kind": self.kind.value,
            "detail": printable(self.detail),
            "key": self.key,
            "start": format_utc(self.window.start) if self.window else None,
            "end": format_utc(self.window.end) if self.window else None,
            "instance": self.series.instance if self.series else None,
            "stream": self.series.stream if self.series else None,
            "format": self.series.format if self.series else None,
        }
        return {**found, "sealed_events": self.events[0], "events": self.events[1]} if self.events else found
