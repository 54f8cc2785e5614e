"""The wanted events that polls find: a finished batch, and those still waiting until a batch is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, PERSONAL_FIELDS
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.pages.event import event_of
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.window import format_utc, to_utc

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Batch:
    """The wanted events that one or more polls found.

    :param since: the second of the earliest one.
    :param until: the second after the latest one, so that ``[since, until)`` holds them all.
    :param sample: the events with the lowest ids, as dicts.
    """

    count: int
    first_id: int
    last_id: int
    since: datetime
    until: datetime
    sample: tuple[Mapping[str, Any], ...] = ()

    def as_dict(self, since: datetime | None = None) -> dict[str, Any]:
        """Return the batch as JSON values.

        :param since: when the search for it began; default: the second of its earliest event.
        """
        return {
            "count": self.count,
            "first_id": self.first_id,
            "last_id": self.last_id,
            "since": format_utc(since or self.since),
            "until": format_utc(self.until),
            "sample": [dict(event) for event in self.sample],
        }


class PendingBatch:
    """Wanted events that wait until there are enough for a batch: their number, first and last, and a sample.

    :param state: the :meth:`state` of an earlier instance, to go on from.
    """

    def __init__(self, search: Search, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.count: int = state.get("count", 0)
        self._ids: tuple[int, int] | None = tuple(state["ids"]) if state else None
        self._seconds: tuple[str, str] | None = tuple(state["seconds"]) if state else None
        self._size = search.sample_size
        self._hidden: Sequence[str] = () if search.personal_fields else PERSONAL_FIELDS
        # The state may contain personal fields that were shown when it was stored, but no longer are.
        self._sample = {event["id"]: self._shown(event) for event in state.get("sample", ())}

    def state(self) -> dict[str, Any]:
        """Return what is pending as JSON values."""
        return {
            "count": self.count,
            "ids": list(self._ids or ()),
            "seconds": list(self._seconds or ()),
            "sample": list(self._sample.values()),
        }

    def add(self, number: int, second: str, line: bytes) -> None:
        """Add an event: its id, the second of its ``created_at``, and its JSON."""
        self.count += 1
        first, last = self._ids or (number, number)
        self._ids = min(first, number), max(last, number)
        earliest, latest = self._seconds or (second, second)
        self._seconds = min(earliest, second), max(latest, second)
        if len(self._sample) >= self._size:
            if not self._sample or number > (highest := max(self._sample)):
                return
            del self._sample[highest]
        self._sample[number] = self._shown(event_of(Asked(AUDIT_PATH), line, f"event {number}"))

    def _shown(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in event.items() if name not in self._hidden}

    def batch(self) -> Batch:
        """Return what is pending as a batch; there must be at least one event."""
        assert self._ids is not None
        assert self._seconds is not None
        return Batch(
            count=self.count,
            first_id=self._ids[0],
            last_id=self._ids[1],
            since=to_utc(self._seconds[0]),
            until=to_utc(self._seconds[1]) + _SECOND,
            sample=tuple(event for _, event in sorted(self._sample.items())),
        )
