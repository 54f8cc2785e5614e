"""What is new since the last poll: a cursor over a window that is still open, and the batch of wanted events behind it.

Events are read in ascending id. How many events each second of the overlap holds is remembered, and its highest id: one
request for the page that begins with the last known event then says whether anything is new (the server's total), and
whether it lies behind that event or, having become visible late, before it. Only what is new is read.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import msgspec

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.endpoint import JSON_ROWS, PERSONAL_FIELDS, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.pages.page import EventMark, Page, second_of
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.reading.counts import check_entitled
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.window import Window, format_utc, to_utc

log = logging.getLogger(__name__)

#: A poll is itself tried again soon, so its requests give up early.
POLL_RETRY = RetryPolicy(attempts=3, longest_wait=5.0, longest_retry_after=5.0)
#: By how much the server's clock may differ from this machine's without an event being missed.
CLOCKS_APART = timedelta(hours=1)
#: How often a server that shows no events at all is asked whether it is entitled to Curation.
_ENTITLEMENT_EVERY = timedelta(hours=1)
#: Pages of new events that are read one by one; more are read in slices, several pages in flight.
_PAGES_ONE_BY_ONE = 3
#: Requests for new events in a poll, if the server goes on finding more; the next poll goes on from there.
_ROUNDS = 20
#: Polls in a row that may read other events than the server counts before that is an error.
_DISAGREEMENTS = 3
#: How far behind a poller reads part after part, and how many events a part has: what bounds its memory.
_BEHIND = timedelta(hours=1)
_PART_EVENTS = 20_000
_SECOND = timedelta(seconds=1)
_VERSION = 1

_decode_event = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class Batch:
    """Wanted events that were found.

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


class _Reading(Enum):
    """How far the reading of a window came, if it came to anything."""

    WHOLE = "whole"  # as many events are known as the server counts
    MOVING = "moving"  # events come while they are read: the window has not settled
    UNFINISHED = "unfinished"  # more than one poll reads


class Poller:
    """Finds what is new at each poll; its memory is bounded by the events of the settle time.

    :param source: pages with marks, of events that the search wants.
    :param state: what :meth:`state` of an earlier poller returned.
    """

    def __init__(self, source: JsonSource, search: Search, state: Mapping[str, Any] | None = None) -> None:
        self.search = search
        #: Whether the last poll left nothing unread, but what came meanwhile.
        self.caught_up = False
        self._source = source
        self._stop = threading.Event()
        self._entitlement_asked: datetime | None = None
        #: Nothing that is new can have been created before.
        self._since = search.start
        #: Of each second inside the overlap: events, and the highest id.
        self._seconds: dict[str, tuple[int, int]] = {}
        #: Wanted events inside the overlap that were put into a batch, with their seconds.
        self._given: dict[int, str] = {}
        self._newest: str | None = None
        #: Polls in a row that ended where the one before did, since the server counts other events than it gives.
        self._disagreements = 0
        self._pending = _Pending(search)
        if state:
            self._restore(state)

    @classmethod
    def of(
        cls,
        client: AuditClient,
        search: Search,
        *,
        page_size: int = JSON_ROWS,
        concurrency: int = 4,
        state: Mapping[str, Any] | None = None,
    ) -> Poller:
        """Make a poller that asks a client."""
        source = JsonSource(client, wanted=search.wanted, rows=page_size, concurrency=concurrency, marked=True)
        return cls(source, search, state)

    def poll(self, now: datetime | None = None) -> Batch | None:
        """Read what is new, and return a batch if enough wanted events have come together.

        After an error nothing is lost: the next poll goes on where this one failed.

        :raises IncompleteExportError: if several polls in a row read other events than the server counts.
        :raises CurationAuditError: its subclasses name the fault.
        """
        now = _floor((now or datetime.now(timezone.utc)).astimezone(timezone.utc))
        self.caught_up = False
        try:
            self.caught_up = self._read_on(now)
        except IncompleteExportError as error:
            self._disagreements += 1
            # What was found is true all the same: it is given first.
            if self._disagreements >= _DISAGREEMENTS and self._pending.count < self.search.min_events:
                raise
            log.warning("%s", error)
        if self._pending.count < self.search.min_events:
            return None
        batch = self._pending.batch()
        self._pending = _Pending(self.search)
        return batch

    def over(self, now: datetime) -> bool:
        """Say whether no event can be added any more, and the last poll read them all."""
        return self.caught_up and self.search.over(now)

    # The cursor

    def state(self) -> dict[str, Any]:
        """Return the cursor as JSON values: where reading goes on, and what is known of the overlap."""
        newest = to_utc(self._newest) if self._newest else None
        given: dict[str, list[int]] = {}
        for number, second in sorted(self._given.items()):
            given.setdefault(second, []).append(number)
        state: dict[str, Any] = {
            "version": _VERSION,
            "since": format_utc(self._since),
            "newest": self._newest,
            # Seconds are counted back from the newest, and ids as differences: a burst makes thousands of them.
            "seconds": [[_ago(newest, second), *known] for second, known in sorted(self._seconds.items())],
            "given": [[_ago(newest, second), *_differences(ids)] for second, ids in sorted(given.items())],
        }
        if self._disagreements:
            state["disagreements"] = self._disagreements
        if self._pending.count:
            state["pending"] = self._pending.state()
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state.get("version") != _VERSION:
            raise ValueError(f"a cursor of version {state.get('version')}, not {_VERSION}")
        self._since = to_utc(state["since"])
        if newest := state["newest"]:
            moment = to_utc(newest)
            self._newest = newest
            for ago, count, highest in state["seconds"]:
                self._seconds[format_utc(moment - timedelta(seconds=ago))] = (count, highest)
            for ago, *differences in state["given"]:
                second = format_utc(moment - timedelta(seconds=ago))
                self._given.update(dict.fromkeys(_sums(differences), second))
        self._disagreements = state.get("disagreements", 0)
        self._pending = _Pending(self.search, state.get("pending"))

    def _window(self, now: datetime) -> Window | None:
        """Return what is to be looked at."""
        end = now + _SECOND
        end = end if self.search.end is None else min(end, self.search.end)
        return Window(self._since, end) if self._since < end else None

    def _part(self, window: Window, now: datetime) -> Window:
        """Return the window, or a first part of it if the poller is far behind and there is much to read."""
        settled = now - self.search.settle_time - CLOCKS_APART
        if window.start >= settled - _BEHIND:
            return window
        behind = Window(window.start, min(settled, window.end, window.start + REQUEST_WIDTH))
        total = self._source.count(behind, self._stop)
        parts = 6 if total is None else -(-total // _PART_EVENTS)
        first = behind.divide(parts)[0]
        # Wider than the overlap of the next part, or reading would not get on.
        return Window(first.start, min(max(first.end, first.start + 2 * self.search.settle_time), window.end))

    def _advance(self, part: Window, window: Window, now: datetime) -> None:
        """Note that everything that is visible in a part was read, so that only late events can be new in it."""
        settle = self.search.settle_time
        if part != window:
            since = part.end - settle
        else:
            # Quiet that lasts: no further back than clocks can differ.
            since = min(now, window.end) - settle - CLOCKS_APART
            if self._newest is not None:
                # The server's own time: right whatever this machine's clock says.
                since = max(since, to_utc(self._newest) - settle)
        if since > self._since:
            self._since = since
            before = format_utc(since)
            self._seconds = {second: known for second, known in self._seconds.items() if second >= before}
            self._given = {number: second for number, second in self._given.items() if second >= before}

    # Reading

    def _read_on(self, now: datetime) -> bool:
        """Read part after part; say whether that came to the end of what there is.

        :raises IncompleteExportError: if the server counts other events in a part than it gives.
        """
        while window := self._window(now):
            part = self._part(window, now)
            reading = self._catch_up(part, now)
            self._disagreements = 0
            if reading is not _Reading.WHOLE:
                return reading is _Reading.MOVING
            self._advance(part, window, now)
            if part == window:
                break
        return True

    def _catch_up(self, window: Window, now: datetime) -> _Reading:
        """Read until the server counts no more events than are known.

        :raises IncompleteExportError: if it never does, though it gives no others.
        """
        tries = 3
        begun_with = self._known(window)
        for _ in range(_ROUNDS):
            known = self._known(window)
            page = self._source.tail(window, known, self._stop)
            try:
                if known and (page.first is None or page.first[0] != self._last_id(window)):
                    whole = self._find_late(window, page.total)
                else:
                    self._take(page)
                    whole = self._go_on(window, page)
            finally:
                page.body.close()
            if not self._seconds:
                self._check_entitled(window, now)
            if whole:
                return _Reading.WHOLE
            if self._known(window) <= known:
                tries -= 1
            if not tries:
                break
        known = self._known(window)
        if tries and known > begun_with:
            log.info("%s holds more events than one poll reads; the next poll goes on.", window)
            return _Reading.UNFINISHED
        if known > begun_with and now < window.end + self.search.settle_time:
            log.info("Events of %s come and go while they are read; the next poll goes on.", window)
            return _Reading.MOVING
        counts = "gives no count, and other events each time" if page.total is None else f"counts {page.total}"
        raise IncompleteExportError(
            f"Polling {window}: {known} events were read, but the server {counts}, and reading again did not mend it. "
            "The search goes no further until the two agree. If it lasts, compare the numbers with the server's own "
            "audit page; a search that begins after this window can go on meanwhile."
        )

    def _go_on(self, window: Window, page: Page) -> bool:
        """Say whether a page that was taken was the last; read many more pages in slices."""
        if page.total is None:
            return not page.tally.read
        inside = self._inside(window)
        left = page.total - self._known(window)
        if inside and left > _PAGES_ONE_BY_ONE * self._source.rows:
            self._read(Window(to_utc(max(inside)), window.end))
            return False
        return left == 0

    def _find_late(self, window: Window, total: int | None) -> bool:
        """Read the parts of the window that hold other events than are known; all of it if it is small."""
        if total is None or self._known(window) <= _PAGES_ONE_BY_ONE * self._source.rows:
            self._read(window)
            return False
        parts = self._differing(window)
        for part in parts or [window]:
            self._read(part)
        return False

    def _differing(self, window: Window) -> list[Window]:
        """Return small parts in which the server counts other events than are known."""
        known = self._known(window)
        total = self._source.count(window, self._stop)
        if total == known:
            return []
        if window.width <= _SECOND or max(known, total or 0) <= self._source.rows:
            return [window]
        return [part for half in window.divide(2) for part in self._differing(half)]

    def _read(self, window: Window) -> None:
        """Read a window anew. What is known of its seconds is replaced, and events that were given stay given."""
        for second in self._inside(window):
            del self._seconds[second]
        reader = WindowReader(self._source, window, self._stop)
        try:
            for page in reader.pages():
                self._take(page)
        except IncompleteExportError as error:
            # The window is open: events come while it is read. What was read is true, and the count shows the rest.
            log.debug("Read while events came: %s", error)

    def _take(self, page: Page) -> None:
        """Count a page's events, and put the wanted ones that were not given yet into the batch."""
        for second, count in Counter(map(_second, page.read)).items():
            self._seconds[second] = (self._seconds.get(second, (0, 0))[0] + count, self._seconds.get(second, (0, 0))[1])
        for mark in page.read:
            second = _second(mark)
            count, highest = self._seconds[second]
            if mark.id > highest:
                self._seconds[second] = (count, mark.id)
        if page.read:
            newest = max(map(_second, page.read))
            self._newest = newest if self._newest is None else max(self._newest, newest)
        for line, mark in zip(page.lines(), page.kept, strict=True):
            if mark.id not in self._given:
                self._given[mark.id] = _second(mark)
                self._pending.add(mark.id, self._given[mark.id], line)

    def _inside(self, window: Window) -> dict[str, tuple[int, int]]:
        """Return what is known of a window's seconds."""
        low, high = format_utc(window.start), format_utc(window.end)
        return {second: known for second, known in self._seconds.items() if low <= second < high}

    def _known(self, window: Window) -> int:
        return sum(count for count, _ in self._inside(window).values())

    def _last_id(self, window: Window) -> int:
        return max(highest for _, highest in self._inside(window).values())

    def _check_entitled(self, window: Window, now: datetime) -> None:
        asked = self._entitlement_asked
        if asked is None or now - asked >= _ENTITLEMENT_EVERY:
            check_entitled(self._source.entitled, window)
            self._entitlement_asked = now


class _Pending:
    """Wanted events that wait for others to make a batch: their number, their ends and a sample."""

    def __init__(self, search: Search, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.count: int = state.get("count", 0)
        self._ids: tuple[int, int] | None = tuple(state["ids"]) if state else None
        self._seconds: tuple[str, str] | None = tuple(state["seconds"]) if state else None
        self._size = search.sample_size
        self._hidden: Sequence[str] = () if search.personal_fields else PERSONAL_FIELDS
        # Stored when people were perhaps shown, which may have been switched off since.
        self._sample = {event["id"]: self._shown(event) for event in state.get("sample", ())}

    def state(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "ids": list(self._ids or ()),
            "seconds": list(self._seconds or ()),
            "sample": list(self._sample.values()),
        }

    def add(self, number: int, second: str, line: bytes) -> None:
        self.count += 1
        first, last = self._ids or (number, number)
        self._ids = min(first, number), max(last, number)
        earliest, latest = self._seconds or (second, second)
        self._seconds = min(earliest, second), max(latest, second)
        if len(self._sample) >= self._size:
            if not self._sample or number > (highest := max(self._sample)):
                return
            del self._sample[highest]
        self._sample[number] = self._shown(_decode_event(line))

    def _shown(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in event.items() if name not in self._hidden}

    def batch(self) -> Batch:
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


def _second(mark: EventMark) -> str:
    return second_of(mark.created_at)


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


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
