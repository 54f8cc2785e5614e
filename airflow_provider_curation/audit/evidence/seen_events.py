"""What the events of an object add up to when it is read again, and what is wrong with their order."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any, Final

import pendulum

from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window, format_utc

#: How many ids are added to the digest at a time.
IDS_AT_ONCE: Final = 10_000
_PLAIN_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
#: Stands for the action of an event that has none, as in manifests.
UNKNOWN: Final = "unknown"


class SeenEvents:
    """The events that were read from an object, and what is wrong with their order.

    Ids must ascend, each once. They may descend only between two parts of the window, since a window is read in parts:
    all later events must then be later in time than all earlier ones.

    :param lines_are_events: each line is an event; otherwise consecutive rows with the same id, one for each policy,
        are one event.
    :param ids_repeat: consecutive lines may have the same id, like dry-run events that differ in their policy.
    """

    def __init__(self, window: Window, lines_are_events: bool, ids_repeat: bool) -> None:
        self._start, self._end = format_utc(window.start), format_utc(window.end)
        self._window = window
        self._lines_are_events = lines_are_events
        self._ids_repeat = ids_repeat
        self.rows = self.events = 0
        self.actions: Counter[str] = Counter()
        self.first_id: int | None = None
        self.last_id: int | None = None
        self.faults: list[str] = []
        self._ids_digest = IdsDigest()
        self._ids: list[int] = []
        self._latest = ""
        self._later_than = ""

    def add(self, event_id: int, created_at: str | None, action: str) -> None:
        """Add a line or row."""
        self.rows += 1
        again = event_id == self.last_id
        if again and self._lines_are_events and not self._ids_repeat:
            self.find(f"event {event_id} is in it more than once")
        if self._lines_are_events or not again:
            self.events += 1
            self._ids.append(event_id)
            if len(self._ids) == IDS_AT_ONCE:
                self._digest_ids()
            self.actions[action] += 1
        time = None if created_at is None else self._text_of(created_at)
        if self.last_id is not None and event_id < self.last_id:
            self._later_than = self._latest
        if time is not None:
            if not self._start <= time < self._end:
                self.find(f"event {event_id} is of {created_at}, outside of the manifest's window")
            if self._later_than and time <= self._later_than:
                self.find(f"event {event_id} is not in ascending order of id")
            self._latest = max(self._latest, time)
        elif self.last_id is not None and event_id < self.last_id:
            self.find(f"event {event_id} is not in ascending order of id")
        self.first_id = event_id if self.first_id is None else self.first_id
        self.last_id = event_id

    def begin_part(self) -> None:
        """Start a new part, whose ids are in an order of their own."""
        self.last_id = None
        self._latest = self._later_than = ""

    def claims(self) -> dict[str, Any]:
        """Return the manifest members that do not depend on the order of events."""
        claims: dict[str, Any] = {"events": self.events, "rows": self.rows, "actions": dict(self.actions)}
        digest = self.ids_digest
        return claims if digest is None else {**claims, "ids_digest": digest}

    @property
    def ids_digest(self) -> str | None:
        """The digest of the ids; ``None`` for dry-run events, whose digest also depends on their policies."""
        self._digest_ids()
        return None if self._ids_repeat else str(self._ids_digest)

    def _digest_ids(self) -> None:
        self._ids_digest.add(IdsDigest.of(self._ids))
        self._ids = []

    def _text_of(self, created_at: str) -> str:
        """Return a time as text that sorts by time."""
        if _PLAIN_TIME.fullmatch(created_at):
            return created_at
        moment: object = pendulum.parse(created_at)
        if not isinstance(moment, datetime):
            raise ValueError(f"{created_at!r} is not a time")
        utc = moment.astimezone(self._window.start.tzinfo)
        # "." sorts before "Z": a fraction must not be earlier than its second.
        return f"{utc:%Y-%m-%dT%H:%M:%S}Z{utc.microsecond:06}" if utc.microsecond else format_utc(utc)

    def find(self, fault: str) -> None:
        """Keep a fault, if it is one of the first three."""
        if fault not in self.faults and len(self.faults) < 3:
            self.faults.append(fault)
