"""The texts of a report: what each kind of finding means and what to do, the days' states, and the controls."""

from __future__ import annotations

from typing import Final, NamedTuple

from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.reporting.figures import DayState


class Advice(NamedTuple):
    """What a kind of finding means, and what to do about it."""

    title: str
    action: str


_EXPORT_AGAIN: Final = "Export the window again while the server still has it; verify, and find out what altered it."

ADVICE: Final[dict[FindingKind, Advice]] = {
    FindingKind.NO_EXPORTS: Advice(
        "The period has no exports", "Check the location and the period, then export the period."
    ),
    FindingKind.GAP: Advice(
        "No export covers this time", "Export the window while the server still has it; after that it is lost."
    ),
    FindingKind.OVERLAP: Advice(
        "Two exports cover the same time",
        "Keep exports of different widths in separate archives; totals count these events twice.",
    ),
    FindingKind.UNRECONCILED: Advice(
        "The server gave no count to compare with", "Export the window again if the server gives counts by now."
    ),
    FindingKind.FILTERED: Advice(
        "Events were left out deliberately", "Check that the filter is intended, and that an unfiltered export exists."
    ),
    FindingKind.OBJECT_MISSING: Advice("A manifest has no object", _EXPORT_AGAIN),
    FindingKind.SIZE_DIFFERS: Advice("An object's size is not the one in its manifest", _EXPORT_AGAIN),
    FindingKind.SHA256_DIFFERS: Advice("An object's bytes are not those of its manifest", _EXPORT_AGAIN),
    FindingKind.CONTENT_DIFFERS: Advice("An object's content is not what its manifest says", _EXPORT_AGAIN),
    FindingKind.MANIFEST_MISSING: Advice("An object has no manifest", _EXPORT_AGAIN),
    FindingKind.MANIFEST_UNREADABLE: Advice("A manifest cannot be read", _EXPORT_AGAIN),
    FindingKind.BAD_SIGNATURE: Advice(
        "A manifest's signature does not count",
        "Find out who wrote the manifest. If the key was renewed, add its public key to the key ring.",
    ),
    FindingKind.UNSIGNED: Advice(
        "A manifest is not signed, although others are", "Find out who wrote it, and verify with the public key."
    ),
    FindingKind.SIGNATURES_UNCHECKED: Advice(
        "There are signatures, but no key was given to check them with", "Make the report again with the public key."
    ),
    FindingKind.LATE_EVENTS: Advice(
        "The server now counts more events than were exported", "Export the window again, and raise settle_time."
    ),
    FindingKind.SEALED_MISSING: Advice(
        "A sealed manifest is gone", "Restore the manifest and its object from a version or a copy."
    ),
    FindingKind.REPLACED_AFTER_SEALING: Advice(
        "An export was replaced after it had been sealed", "Compare the numbers of events, and record why."
    ),
    FindingKind.NOT_SEALED: Advice("An export is newer than the seal of its period", "Record why it was added later."),
    FindingKind.NO_SEALS: Advice(
        "Manifests are signed, but nothing is sealed", "Seal the period; if it was sealed before, restore the seals."
    ),
    FindingKind.SEAL_BROKEN: Advice(
        "A seal cannot be read or trusted, or does not chain to the one before",
        "Restore the seal from a version or a copy, and find out who altered it.",
    ),
    FindingKind.OTHER_ARCHIVE: Advice(
        "Another archive is below this one's root", "Make a report of that archive from its own root."
    ),
}


class StateWords(NamedTuple):
    """How a day's state is shown: a word, a sign in its cell, and a meaning."""

    word: str
    sign: str
    meaning: str


STATES: Final[dict[DayState, StateWords]] = {
    DayState.COMPLETE: StateWords("complete", "✓", "every event that the server counted is kept"),
    DayState.EMPTY: StateWords("empty", "0", "the server counted zero events, before and after reading"),
    DayState.FILTERED: StateWords("filtered", "F", "events were left out deliberately"),
    DayState.UNRECONCILED: StateWords("unreconciled", "?", "the server gave no count to compare with"),
    DayState.QUESTIONED: StateWords("questioned", "!", "kept, but a finding casts doubt on it"),
    DayState.PENDING: StateWords("pending", "…", "the export may still be running"),
    DayState.MISSING: StateWords("missing", "↻", "not kept whole; the server still has the events"),
    DayState.LOST: StateWords("lost", "✕", "not kept whole; the server has begun to forget the events"),
    DayState.NOT_EXPECTED: StateWords("not expected", "-", "not covered, and not expected"),
}


class Control(NamedTuple):
    """A part of the page, what it shows, and the controls whose evidence auditors look for there."""

    part: str
    shows: str
    controls: str


#: Worded as what the page shows: whether a control is met is the auditor's judgement.
CONTROLS: Final = (
    Control(
        "Coverage calendar",
        "for each day, whether events were logged and kept, and where a gap is",
        "SOC 2 CC7.2 · ISO 27001 A.8.15 · PCI DSS 10.5 · DORA RTS 2024/1774 art. 12 · NIS2 2024/2690 3.2",
    ),
    Control(
        "Requests and counts",
        "what was requested from the source, what it counted before and after reading, and what was kept",
        "SOC 2 CC7.2 · ISO 27001 A.8.15 · DORA RTS 2024/1774 art. 12",
    ),
    Control(
        "Findings",
        "what a verification found, and what to do about it",
        "SOC 2 CC7.3 · NIS2 2024/2690 3.2",
    ),
    Control(
        "Signatures, seals and Object Lock",
        "how stored events are protected from alteration and deletion, and how to check that",
        "PCI DSS 10.5 · ISO 27001 A.8.15 · DORA RTS 2024/1774 art. 12",
    ),
    Control(
        "Replacements",
        "which stored exports were replaced, when, and by which run",
        "ISO 27001 A.8.15 · PCI DSS 10.5",
    ),
    Control(
        "Clock and retention",
        "by which clock windows were closed and exports were made, and how long the source keeps events",
        "DORA RTS 2024/1774 art. 12 · NIS2 2024/2690 3.2 · PCI DSS 10.5",
    ),
    Control(
        "What happened",
        "which packages were blocked, approved or not inspected, and by which policies",
        "SOC 2 CC7.2 · SOC 2 CC7.3",
    ),
)

STREAMS: Final = {"events": "events", "dry_run": "dry-run events"}
