"""What a poller remembers: where to read next, and the known events of each second that can still get more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_curation.audit.pages.page import EventMark, second_of
from airflow_provider_curation.audit.window import Window, format_utc, to_utc

_VERSION = 1


class Cursor:
    """The known events inside the overlap of two polls, by the second of their ``created_at``.

    :param since: no new event can have been created before this moment.
    """

    def __init__(self, since: datetime) -> None:
        self.since = since
        #: The latest second with a known event, in the server's own time.
        self.newest: str | None = None
        #: For each second inside the overlap: the number of events, and the highest id.
        self._seconds: dict[str, tuple[int, int]] = {}
        #: Wanted events inside the overlap that were put into a batch, with their seconds.
        self._given: dict[int, str] = {}

    @property
    def empty(self) -> bool:
        """Whether no event is known inside the overlap."""
        return not self._seconds

    def state(self) -> dict[str, Any]:
        """Return the cursor as JSON values."""
        newest = to_utc(self.newest) if self.newest else None
        given: dict[str, list[int]] = {}
        for number, second in sorted(self._given.items()):
            given.setdefault(second, []).append(number)
        return {
            "version": _VERSION,
            "since": format_utc(self.since),
            "newest": self.newest,
            # Seconds are stored relative to the newest, and ids as differences, since a burst has thousands of them.
            "seconds": [[_ago(newest, second), *known] for second, known in sorted(self._seconds.items())],
            "given": [[_ago(newest, second), *_differences(ids)] for second, ids in sorted(given.items())],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Cursor:
        """Return the cursor that :meth:`state` described.

        :raises ValueError: if the cursor has another version; KeyError or TypeError if it is damaged.
        """
        if state.get("version") != _VERSION:
            raise ValueError(f"a cursor of version {state.get('version')}, not {_VERSION}")
        cursor = cls(to_utc(state["since"]))
        if newest := state["newest"]:
            moment = to_utc(newest)
            cursor.newest = newest
            for ago, count, highest in state["seconds"]:
                cursor._seconds[format_utc(moment - timedelta(seconds=ago))] = (count, highest)
            for ago, *differences in state["given"]:
                second = format_utc(moment - timedelta(seconds=ago))
                cursor._given.update(dict.fromkeys(_sums(differences), second))
        return cursor

    def note(self, marks: Sequence[EventMark]) -> None:
        """Count events that were read."""
        for second, count in Counter(second_of(mark.created_at) for mark in marks).items():
            known, highest = self._seconds.get(second, (0, 0))
            self._seconds[second] = (known + count, highest)
            self.newest = second if self.newest is None else max(self.newest, second)
        for mark in marks:
            second = second_of(mark.created_at)
            count, highest = self._seconds[second]
            if mark.id > highest:
                self._seconds[second] = (count, mark.id)

    def give(self, mark: EventMark) -> bool:
        """Note that a wanted event is put into a batch; return whether it was not in one before."""
        if mark.id in self._given:
            return False
        self._given[mark.id] = second_of(mark.created_at)
        return True

    def forget(self, window: Window) -> None:
        """Forget the known events of a window before it is read again; events already in a batch stay marked."""
        for second in self._inside(window):
            del self._seconds[second]

    def advance(self, since: datetime) -> None:
        """Move on to a later moment, before which no new event can have been created."""
        if since > self.since:
            self.since = since
            before = format_utc(since)
            self._seconds = {second: known for second, known in self._seconds.items() if second >= before}
            self._given = {number: second for number, second in self._given.items() if second >= before}

    def known(self, window: Window) -> int:
        """Return the number of known events in a window."""
        return sum(count for count, _ in self._inside(window).values())

    def last_id(self, window: Window) -> int:
        """Return the highest known id in a window, which must contain a known event."""
        return max(highest for _, highest in self._inside(window).values())

    def last_second(self, window: Window) -> str | None:
        """Return the latest second of a window that has a known event."""
        return max(self._inside(window), default=None)

    def _inside(self, window: Window) -> dict[str, tuple[int, int]]:
        low, high = format_utc(window.start), format_utc(window.end)
        return {second: known for second, known in self._seconds.items() if low <= second < high}


def _ago(newest: datetime | None, second: str) -> int:
    assert newest is not None
    return int((newest - to_utc(second)).total_seconds())


def _differences(ids: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip([0, *ids], ids, strict=False)]


def _sums(differences: Sequence[int]) -> list[int]:
    ids: list[int] = []
    for difference in differences:
        ids.append(difference + (ids[-1] if ids else 0))
    return ids
