"""An answer's bytes, made into a page of checked events or a named error.

A page keeps its events as the server's own bytes, in a spooled file, and beside them only what the checks need. No
event becomes a dict.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import repeat, takewhile
from typing import IO, Final, NamedTuple, TypeVar, cast

import msgspec
import pendulum

from airflow_provider_curation.audit.api.messages import looks_like_html, server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    Asked,
    CutAnswerError,
    NotTheApiError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import format_utc

_T = TypeVar("_T")

#: Bytes of a page that are kept in memory; larger ones go to the worker's temporary directory.
SPOOL_BYTES = 256 * 1024

#: Stands in counts for a name that an event does not have.
UNKNOWN: Final = "unknown"

EventKey = tuple[int, tuple[str, ...]]


class EndInclusiveError(UnexpectedAnswerError):
    """The server gave an event of the very second at which the window ends: its end is inclusive."""

    retry_task = False


class EventMark(NamedTuple):
    """Where an event stands: its id, and its ``created_at`` as the server wrote it."""

    id: int
    created_at: str


@dataclass
class Tally:
    """What a run of events holds: events read, events and rows kept, and what the kept events are.

    :param policies: events by the name of each policy that affected them, so that their sum is not the events'.
    """

    read: int = 0
    kept: int = 0
    rows: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    package_types: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    first: EventMark | None = None
    last: EventMark | None = None

    def add(self, other: Tally) -> None:
        """Count in a run of events that follows this one."""
        self.read += other.read
        self.kept += other.kept
        self.rows += other.rows
        self.actions.update(other.actions)
        self.package_types.update(other.package_types)
        self.policies.update(other.policies)
        self.first = self.first or other.first
        self.last = other.last or self.last


@dataclass(frozen=True)
class Page:
    """One verified answer.

    :param count: events in the answer that are whole, the one that overlaps the page before included.
    :param first: the key of the first event; ``None`` on an empty page.
    :param last: the key of the last event.
    :param head: the keys that share the first one's id: several only in the dry-run stream.
    :param tail: the keys that share the last one's id.
    :param total: the server's ``total_count``, if it gave one.
    :param tally: what ``body`` holds.
    :param body: the wanted events' own bytes, one event (JSON) or row (CSV) a line, the overlapping event left out.
    :param read: every event of the answer but the overlapping one; only where it was asked for.
    :param kept: the events of ``body``, in its order; only where it was asked for.
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
        """Give the body's lines, each with its line break."""
        self.body.seek(0)
        yield from self.body

    def chunks(self, size: int = 128 * 1024) -> Iterator[bytes]:
        """Give the body's bytes in pieces of at most ``size``."""
        self.body.seek(0)
        while chunk := self.body.read(size):
            yield chunk


class _Meta(msgspec.Struct, gc=False):
    total_count: int | None = None
    num_of_rows: int | None = None


class _RawEnvelope(msgspec.Struct, gc=False):
    data: list[msgspec.Raw] | None
    meta: _Meta


class _PolicyName(msgspec.Struct, gc=False):
    policy_name: str | None = None


class _Policy(_PolicyName, gc=False):
    policy_id: int | str | None = None


class _EventKey(msgspec.Struct, gc=False):
    """What the checks and counts of an unfiltered page need."""

    id: int
    created_at: str
    action: str
    package_type: str | None = None
    policies: Sequence[_PolicyName] | None = None


class _FullKey(_EventKey, gc=False):
    """What filters, and the checks of the dry-run stream, need as well."""

    curated_repository_name: str | None = None
    policies: list[_Policy] | None = None


class _Keys(msgspec.Struct, gc=False):
    data: list[_EventKey] | None


class _FullKeys(msgspec.Struct, gc=False):
    data: list[_FullKey] | None


_raw_decoder = msgspec.json.Decoder(_RawEnvelope)
_key_decoder: msgspec.json.Decoder[_Keys] = msgspec.json.Decoder(_Keys)
_full_decoder: msgspec.json.Decoder[_FullKeys] = msgspec.json.Decoder(_FullKeys)


def new_body(size: int = 0) -> IO[bytes]:
    """Return a file for a page's events: in memory while small, else on the worker's disk, and gone when closed.

    :param size: bytes that it will hold at least; many are not held in memory first.
    """
    if size > SPOOL_BYTES:
        return cast("IO[bytes]", tempfile.TemporaryFile())
    return cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


def json_page(
    query: Query,
    answer: bytes,
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    treatment: Treatment | None = None,
    marked: bool = False,
) -> Page:
    """Check a JSON answer and return its page.

    :param query: what was asked, in ascending order of id.
    :param answer: the body, decompressed.
    :param wanted: which events to keep; ``None`` keeps every one.
    :param overlaps: the first event is the last one of the page before, and left out of the body.
    :param treatment: what alters the events' bytes; ``None`` keeps them as they are.
    :param marked: note the marks of the events that were read and kept.
    :raises UnexpectedAnswerError: for a body that is JSON, but not the envelope.
    :raises CutAnswerError: for a body that ends early.
    :raises NotTheApiError: for a page of HTML.
    :raises RowsShiftedError: for ids that do not ascend.
    :raises EndInclusiveError: for an event at the window's end.
    """
    # One event a line: a pretty-printed answer is compacted, which changes no token.
    if b"\n" in answer or b"\r" in answer:
        answer = _decode(query.asked, answer, lambda body: msgspec.json.format(body, indent=-1))
    envelope = _decode(query.asked, answer, _raw_decoder.decode)
    full = bool(wanted) or query.dry_run
    # Each kind of key is decoded only where checks or filters need its fields.
    keys: Sequence[_EventKey]
    if full:
        keys = _decode(query.asked, answer, _full_decoder.decode).data or []
    else:
        keys = _decode(query.asked, answer, _key_decoder.decode).data or []
    raws = envelope.data or []
    if len(keys) > query.num_of_rows:
        raise UnexpectedAnswerError(query.asked, f"{len(keys)} events, more than were asked for")
    event_keys = _check_keys(query, keys)
    check_times(query, [key.created_at for key in keys])

    count = len(keys)
    skip = 1 if overlaps and keys else 0
    tally = Tally(read=count - skip)
    read = _marks(keys[skip:]) if marked else ()
    if wanted:
        chosen = [place for place in range(skip, len(keys)) if _wants(wanted, cast("_FullKey", keys[place]))]
        raws = [raws[place] for place in chosen]
        keys = [keys[place] for place in chosen]
    elif skip:
        raws, keys = raws[skip:], keys[skip:]
    tally.kept = tally.rows = len(keys)
    tally.actions.update([key.action for key in keys])
    _count(tally.package_types, [key.package_type for key in keys])
    _count(tally.policies, _policy_names(keys))
    if keys:
        tally.first = EventMark(keys[0].id, keys[0].created_at)
        tally.last = EventMark(keys[-1].id, keys[-1].created_at)
    content = b"\n".join([treatment.event(bytes(raw)) for raw in raws] if treatment else raws)
    body = new_body(len(content))
    if raws:
        body.write(content)
        body.write(b"\n")
    page = make_page(event_keys, envelope.meta.total_count, tally, body, count)
    return replace(page, read=read, kept=_marks(keys)) if marked else page


def _marks(keys: Sequence[_EventKey]) -> Sequence[EventMark]:
    return [EventMark(key.id, key.created_at) for key in keys]


def make_page(
    keys: Sequence[EventKey], total: int | None, tally: Tally, body: IO[bytes], count: int | None = None
) -> Page:
    """Return the page of these keys, in order: all of the answer's ``count``, or at least its first and last ones."""
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
    """Hold the events' ``created_at`` against the window.

    :raises EndInclusiveError: for an event at the window's end.
    :raises UnexpectedAnswerError: for an event outside it: the server did not follow the bounds.
    """
    if not times:
        return
    # Text order is time order while every time is in UTC with Z, so two of them need parsing, not two thousand.
    ends = (min(times), max(times)) if all(map(str.endswith, times, repeat("Z"))) else times
    try:
        moments = [_whole_second(time) for time in ends]
    except ValueError as error:
        raise UnexpectedAnswerError(query.asked, "an event whose created_at is not an RFC 3339 time") from error
    window = query.window
    if all(moment in window for moment in moments):
        return
    if min(moments) >= window.start and max(moments) == window.end:
        raise EndInclusiveError(query.asked, "an event created at the window's very end, which should not be in it")
    raise UnexpectedAnswerError(query.asked, "events that were created outside the window")


def second_of(created_at: str) -> str:
    """Return an event's time as ``2026-03-09T14:51:03Z``, as servers usually write it: text order is time order."""
    if len(created_at) == 20 and created_at[-1] == "Z":
        return created_at
    return format_utc(_whole_second(created_at))


def refuse_json(asked: Asked, body: bytes, error: Exception) -> Exception:
    """Return the named error for a body that does not decode as what was expected."""
    if not body.strip():
        return CutAnswerError(asked, "200 with an empty body")
    if looks_like_html(body):
        return NotTheApiError(asked, "200 with a page of HTML", server_message=server_message(body))
    if isinstance(error, msgspec.ValidationError):
        return UnexpectedAnswerError(asked, f"JSON of another form ({error})", server_message=server_message(body))
    return CutAnswerError(asked, f"a body of {len(body)} bytes that is not whole JSON ({error})")


def _decode(asked: Asked, body: bytes, decode: Callable[[bytes], _T]) -> _T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse_json(asked, body, error) from error


def _check_keys(query: Query, keys: Sequence[_EventKey]) -> list[EventKey]:
    """Return the keys of the events at a page's ends, or of all of them in the dry-run stream.

    They must ascend: by id, and in the dry-run stream once for each id and policy.
    """
    if not query.dry_run:
        ids = [key.id for key in keys]
        if ids != sorted(set(ids)):
            raise RowsShiftedError(query.asked, "events that are not in ascending order of id, each once")
        # Ids that ascend, each once, tie with none: the ends are all that a page needs of them.
        return [(number, ()) for number in ids[:1] + ids[1:][-1:]]
    full = cast("Sequence[_FullKey]", keys)
    event_keys = [(key.id, tuple(str(policy.policy_id) for policy in key.policies or ())) for key in full]
    ids = [number for number, _ in event_keys]
    if ids != sorted(ids) or len(set(event_keys)) != len(event_keys):
        raise RowsShiftedError(query.asked, "dry-run events that are not in ascending order of id, each policy once")
    return event_keys


def _policy_names(keys: Sequence[_EventKey]) -> list[str | None]:
    """Return the names of each event's policies, each once an event."""
    names: list[str | None] = []
    for policies in [key.policies for key in keys if key.policies]:
        if len(policies) == 1:
            names.append(policies[0].policy_name)
        else:
            names.extend({policy.policy_name for policy in policies})
    return names


def _count(counts: Counter[str], names: list[str | None]) -> None:
    for name, count in Counter(names).items():
        counts[name or UNKNOWN] += count


def _ties(keys: Iterable[EventKey], number: int) -> frozenset[EventKey]:
    return frozenset(takewhile(lambda key: key[0] == number, keys))


def _wants(wanted: EventFilter, key: _FullKey) -> bool:
    named = (value for policy in key.policies or () for value in (policy.policy_name, policy.policy_id))
    policies = [str(value) for value in named if value is not None]
    return wanted.wants(key.action, key.package_type or "", key.curated_repository_name or "", policies)


def _whole_second(time: str) -> datetime:
    moment: object = pendulum.parse(time)
    if not isinstance(moment, datetime):
        raise ValueError(time)
    utc = moment.astimezone(timezone.utc)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, tzinfo=timezone.utc)
