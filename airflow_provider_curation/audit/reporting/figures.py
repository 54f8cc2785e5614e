"""All contents of a report as data, for the page and for the JSON file.

``report.schema.json`` beside this module is the JSON Schema of the file. All times are in UTC, as
``2026-03-09T14:51:03Z``; days are ``2026-03-09``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

import msgspec

REPORT_VERSION: Final = 1

Word = Literal["complete", "complete but", "incomplete"]
People = Literal["off", "masked", "shown"]


class DayState(str, Enum):
    """What an archive has for one day of one series; if several states apply, the last one in this list counts."""

    NOT_EXPECTED = "not_expected"  # the series does not cover the day, and the verification does not expect it to
    EMPTY = "empty"  # the server counted zero events, before and after reading
    COMPLETE = "complete"
    FILTERED = "filtered"  # events were left out deliberately
    UNRECONCILED = "unreconciled"  # the server gave no count to compare with
    QUESTIONED = "questioned"  # kept, but a finding casts doubt on it, such as a signature that does not count
    PENDING = "pending"  # the export may still be running
    MISSING = "missing"  # not kept whole, and the server still has the events
    LOST = "lost"  # not kept whole, and the server has begun to forget the events

    __str__ = str.__str__


@dataclass(frozen=True)
class Day:
    """One day of a series, or the part of it within the period.

    :param exports: exports whose window overlaps the day.
    :param counted: events that the server counted in the windows that begin on this day; ``None`` if it returned no
        count for one of them.
    :param read: events that the server returned for those windows.
    :param kept: events of those windows that are in the archive.
    :param manifests: keys of their manifests, at most three.
    :param runs: the DAG runs that made them, at most three.
    :param absent: the times that no export covers or whose export is damaged, at most three, as ``[start, end)``.
    :param until: until when the server still has the missing events; ``None`` for other states.
    :param findings: kinds of the findings that concern the day.
    """

    day: str
    state: DayState
    exports: int = 0
    counted: int | None = 0
    read: int = 0
    kept: int = 0
    manifests: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    until: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesFigures:
    """A server, a stream and a format.

    :param counted: events that the server counted, in the windows for which it returned a count.
    :param uncounted: windows for which it returned none.
    :param bytes: of the objects.
    """

    server: str
    stream: str
    format: str
    exports: int
    counted: int
    uncounted: int
    read: int
    kept: int
    bytes: int
    days: tuple[Day, ...]


@dataclass(frozen=True)
class StreamTotal:
    """A server's stream, in the format with the most events, since formats hold the same events."""

    server: str
    stream: str
    format: str
    counted: int
    uncounted: int
    read: int
    kept: int


@dataclass(frozen=True)
class Key:
    """A public key that signatures were checked with.

    :param id: SHA-256 of its DER bytes, in hexadecimal.
    :param algorithm: ``Ed25519`` or ``ECDSA P-256``; empty if it is not known.
    """

    id: str
    name: str
    algorithm: str


@dataclass(frozen=True)
class Trust:
    """What signatures and seals prove.

    :param manifests: manifests of the period that were read.
    :param signed: those that have a signature, whoever made it.
    :param counting: those whose signature was checked and counts.
    :param seals: seals of the archive that were read and can be trusted.
    :param seal: the key of a seal whose signature can be checked by hand; ``None`` without one.
    :param seal_sha256: of the period's own seal, if the verification wrote it.
    """

    manifests: int
    signed: int
    counting: int
    keys: tuple[Key, ...]
    seals: int
    sealed_until: str | None
    seal: str | None
    seal_sha256: str | None


@dataclass(frozen=True)
class Verdict:
    """Whether the archive is complete: a word, and one sentence that says why."""

    word: Word
    sentence: str


@dataclass(frozen=True)
class FindingFigures:
    """A finding of the verification.

    :param ignored: whether the verification ignored findings of this kind.
    """

    kind: str
    title: str
    detail: str
    action: str
    key: str | None
    start: str | None
    end: str | None
    server: str | None
    stream: str | None
    format: str | None
    ignored: bool


@dataclass(frozen=True)
class Value:
    """A value in manifests, and the number of manifests that have it."""

    value: str
    exports: int


@dataclass(frozen=True)
class Replacement:
    """An export that replaced another one.

    :param replaces: SHA-256 of the manifest that it replaced.
    """

    manifest: str
    replaces: str
    at: str | None
    run: str
    events: int


@dataclass(frozen=True)
class Sheet:
    """The evidence: what was requested from the servers, and how the answers were kept.

    :param requests: the parameters as sent, derived from the manifests.
    :param retention_seconds: how long a server remembers events, as configured for the verification.
    :param settle: seconds that exports waited after their window's end.
    :param replaced: all replacements; ``replacements`` has the first ones.
    :param soonest_seconds: the shortest time from the end of a window to its export; ``None`` if no manifest has it.
    :param latest_seconds: the longest.
    """

    requests: tuple[Value, ...]
    retention_seconds: int
    settle: tuple[Value, ...]
    filters: tuple[Value, ...]
    personal_data: tuple[Value, ...]
    reconciled: tuple[Value, ...]
    encryption: tuple[Value, ...]
    object_lock: tuple[Value, ...]
    versions: tuple[Value, ...]
    replaced: int
    replacements: tuple[Replacement, ...]
    first_export: str | None
    last_export: str | None
    soonest_seconds: int | None
    latest_seconds: int | None


@dataclass(frozen=True)
class Moment:
    """Events of one day or hour, by action."""

    time: str
    actions: dict[str, int]


@dataclass(frozen=True)
class TypeRate:
    """Events of a package type; the rate is a share from 0 to 1 of all its events."""

    package_type: str
    events: int
    blocked: int
    passed: int
    block_rate: float


@dataclass(frozen=True)
class Rule:
    """A policy or condition.

    :param blocked: events that it blocked.
    :param would_block: dry-run events that it would have blocked.
    """

    name: str
    category: str
    blocked: int
    would_block: int


@dataclass(frozen=True)
class Named:
    """A name, and the number of its events."""

    name: str
    events: int


@dataclass(frozen=True)
class Let:
    """An event that was approved although a policy matched."""

    server: str
    id: int
    at: str
    package_type: str
    package: str
    version: str
    repository: str
    policy: str
    result: str


@dataclass(frozen=True)
class Activity:
    """What happened, from one pass over the exported objects.

    :param sources: the series that were read, as ``server, stream, format``.
    :param unread: objects that could not be read, at most twenty, each with the reason.
    :param bucket: the width of ``over_time``.
    :param not_inspected: events with the action ``passed``.
    :param let_through: approved although a policy matched; ``let`` has the first ones.
    :param at_most_too_low: the most that a count can be below the truth, since rare names are forgotten to limit
        memory.
    :param people: the users who were blocked most; empty unless requested.
    """

    sources: tuple[str, ...]
    objects: int
    events: int
    dry_run_events: int
    unread_objects: int
    unread: tuple[str, ...]
    bucket: Literal["day", "hour"]
    actions: dict[str, int]
    over_time: tuple[Moment, ...]
    package_types: tuple[TypeRate, ...]
    policies: tuple[Rule, ...]
    conditions: tuple[Rule, ...]
    packages: tuple[Named, ...]
    repositories: tuple[Named, ...]
    people: tuple[Named, ...]
    people_mode: People
    not_inspected: int
    let_through: int
    let: tuple[Let, ...]
    at_most_too_low: int


@dataclass(frozen=True)
class Figures:
    """A report.

    :param archive: the archive's location.
    :param made_at: the clock of the machine that verified.
    :param series: in order of server, stream (real events first) and format.
    :param findings: the first findings; ``findings_total`` is the number of all.
    :param beyond: exports whose window extends beyond the period; all of their events are counted.
    :param activity: ``None`` if the objects were not read.
    """

    archive: str
    start: str
    end: str
    made_at: str
    provider_version: str
    verdict: Verdict
    servers: tuple[str, ...]
    totals: tuple[StreamTotal, ...]
    trust: Trust
    series: tuple[SeriesFigures, ...]
    findings: tuple[FindingFigures, ...]
    findings_total: int
    beyond: int
    sheet: Sheet
    activity: Activity | None
    report_version: int = REPORT_VERSION

    def to_json(self) -> bytes:
        """Return the figures as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a report's JSON, as ``report.schema.json`` has it."""
    made: dict[str, Any] = _plain(msgspec.json.schema(Figures))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report on an archive of JFrog Curation audit events",
        **made,
    }


def _plain(value: Any) -> Any:
    """Return a schema as JSON values, without docstrings, whose form depends on Python's version."""
    if isinstance(value, dict):
        return {
            name: _plain(each) for name, each in value.items() if not (name == "description" and isinstance(each, str))
        }
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
