"""What a verification can find: a closed set of kinds, and each finding as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from airflow_provider_curation.audit.window import Window, format_utc


class FindingKind(str, Enum):
    """Everything that can be wrong with an archive."""

    GAP = "gap"  # a time that no export covers
    OVERLAP = "overlap"  # a time that two exports of a series cover
    UNRECONCILED = "unreconciled"  # the server gave no count to compare the events with
    FILTERED = "filtered"  # events were left out on purpose
    OBJECT_MISSING = "object_missing"  # a manifest without its object
    SIZE_DIFFERS = "size_differs"
    SHA256_DIFFERS = "sha256_differs"
    MANIFEST_MISSING = "manifest_missing"  # an object without its manifest
    MANIFEST_UNREADABLE = "manifest_unreadable"
    BAD_SIGNATURE = "bad_signature"  # also none, where a key was given
    LATE_EVENTS = "late_events"  # the server counts more now than were exported
    SEALED_MISSING = "sealed_missing"  # a sealed manifest is gone
    SEALED_CHANGED = "sealed_changed"  # a sealed manifest differs, and does not name the one it replaced
    NOT_SEALED = "not_sealed"  # the period was to be sealed, and its seal is older than the manifest
    SEAL_BROKEN = "seal_broken"  # a seal that cannot be read or trusted, or does not chain to the one before

    __str__ = str.__str__


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

    :param key: of the object, manifest or seal; ``None`` for a gap.
    :param window: the time that it concerns, as far as it is known.
    """

    kind: FindingKind
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
