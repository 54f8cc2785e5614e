"""A page: one verified answer, with its events as the server's own bytes in a spooled file, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import takewhile
from typing import IO, Annotated, Final, NamedTuple

import msgspec

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import Asked, RowsShiftedError, UnexpectedAnswerError, WorkerResourceError
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import format_utc

#: Stands in counts for a name that an event does not have.
UNKNOWN: Final = "unknown"

#: Different actions, package types or policies, and characters of their names together: more are not counted.
_MOST_NAMES: Final = 20_000
_MOST_CHARACTERS: Final = 2_000_000

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_SECOND: Final = timedelta(seconds=1)

EventKey = tuple[int, tuple[str, ...]]


class EndInclusiveError(UnexpectedAnswerError):
    """The server returned an event of the second at which the window ends: it treats the end as inclusive."""

    retry_task = False


class EventMark(NamedTuple):
    """An event's id, and its ``created_at`` as the server wrote it."""

    id: int
    created_at: str


@dataclass
class Tally:
    """The counts of some consecutive events: events read, and the kept events and their rows.

    :param policies: events by the name of each policy that affected them, so the sum can exceed the number of events.
    :param ids: digest of the kept events' ids; in the dry-run stream, of their ids and policies.
    """

    read: int = 0
    kept: int = 0
    rows: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    package_types: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    first: EventMark | None = None
    last: EventMark | None = None
    ids: IdsDigest = field(default_factory=IdsDigest)

    def add(self, other: Tally) -> None:
        """Add the counts of the events that follow these.

        :raises UnexpectedAnswerError: for more different names than memory should hold.
        """
        self.read += other.read
        self.kept += other.kept
        self.rows += other.rows
        self.actions.update(other.actions)
        self.package_types.update(other.package_types)
        self.policies.update(other.policies)
        self.first = self.first or other.first
        self.last = other.last or self.last
        self.ids.add(other.ids)
        for name in ("actions", "package_types", "policies"):
            counts = getattr(self, name)
            if len(counts) > _MOST_NAMES or sum(map(len, counts)) > _MOST_CHARACTERS:
                raise UnexpectedAnswerError(
                    Asked(AUDIT_PATH),
                    f"{len(counts)} different {name.replace('_', ' ')} of {sum(map(len, counts))} characters, more "
                    "than a server has",
                )


@dataclass(frozen=True)
class Page:
    """One verified answer.

    :param count: complete events in the answer, including the one that overlaps the page before.
    :param first: the key of the first event; ``None`` on an empty page.
    :param last: the key of the last event.
    :param head: the keys with the first one's id; several only in the dry-run stream.
    :param tail: the keys with the last one's id.
    :param total: the server's ``total_count``, if it returned one.
    :param tally: the counts of ``body``.
    :param body: the wanted events' own bytes, one event (JSON) or row (CSV) per line, without the overlapping event.
    :param read: every event of the answer except the overlapping one; empty unless requested.
    :param kept: the events of ``body``, in its order; empty unless requested.
    """

    count: int
    first: EventKey | None
    last: EventKey | None
    head: frozenset[EventKey]
    tail: frozenset[EventKey]
    total: int | None
    tally: Tally
    body: IO[bytes]
    read: Sequence[EventMark] = ()
    kept: Sequence[EventMark] = ()

    def lines(self) -> Iterator[bytes]:
        """Yield the body's lines, each with its line break."""
        self.body.seek(0)
        yield from self.body

    def chunks(self, size: int = 128 * 1024) -> Iterator[bytes]:
        """Yield the body's bytes in pieces of at most ``size``."""
        self.body.seek(0)
        while chunk := self.body.read(size):
            yield chunk


def make_page(
    keys: Sequence[EventKey], total: int | None, tally: Tally, body: IO[bytes], count: int | None = None
) -> Page:
    """Return the page of these keys, in order; if not all ``count`` are given, then at least the first and the last."""
    if not keys:
        return Page(0, None, None, frozenset(), frozenset(), total, tally, body)
    first, last = keys[0], keys[-1]
    return Page(
        count=len(keys) if count is None else count,
        first=first,
        last=last,
        head=_ties(keys, first[0]),
        tail=_ties(reversed(keys), last[0]),
        total=total,
        tally=tally,
        body=body,
    )


def check_times(query: Query, times: Sequence[str]) -> None:
    """Check that the events' ``created_at`` are RFC 3339 times inside the window.

    :raises EndInclusiveError: for an event at the window's end.
    :raises UnexpectedAnswerError: for an event outside the window: the server ignored the bounds.
    """
    if not times:
        return
    try:
        # Many events share a second.
        moments = msgspec.convert(list(set(times)), list[_Moment])
    except msgspec.ValidationError as error:
        raise UnexpectedAnswerError(query.asked, "an event whose created_at is not an RFC 3339 time") from error
    window = query.window
    first, last = min(moments), max(moments)
    if window.start <= first and last < window.end:
        return
    if window.start <= first and last - window.end < _SECOND:
        raise EndInclusiveError(query.asked, "an event created at the window's end, which is exclusive")
    raise UnexpectedAnswerError(query.asked, "events that were created outside the window")


def check_overlap(asked: Asked, page: Page, following: Page) -> None:
    """Check that a page begins with the last event of the page before.

    :raises RowsShiftedError: if it does not: rows shifted, and following the offset would lose or repeat events.
    """
    if following.first != page.last or following.head & page.tail != {page.last}:
        raise RowsShiftedError(asked, "a page that does not begin with the last event of the page before")


def second_of(created_at: str) -> str:
    """Return an event's time as ``2026-03-09T14:51:03Z``, the way servers usually write it, which sorts by time.

    :param created_at: a time that :func:`check_times` has checked.
    """
    if len(created_at) == 20 and created_at[-1] == "Z":
        return created_at
    return format_utc(msgspec.convert(created_at, _Moment).astimezone(timezone.utc))


@contextmanager
def worker_faults_named(asked: Asked) -> Iterator[None]:
    """Turn a lack of memory or temporary disk space into a named error.

    :raises WorkerResourceError: if one of them runs out inside.
    """
    try:
        yield
    except (MemoryError, OSError) as error:
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise WorkerResourceError(
            f"{asked}: the worker could not hold the answer ({why}). Give the worker more memory "
            "or more space in its temporary directory, or ask for fewer events at a time (the connection's page_size)."
        ) from error


def _ties(keys: Iterable[EventKey], number: int) -> frozenset[EventKey]:
    return frozenset(takewhile(lambda key: key[0] == number, keys))
