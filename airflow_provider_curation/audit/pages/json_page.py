"""Turns a JSON answer's bytes into a page of checked events, or raises a named error.

A page keeps its events as the server's own bytes, plus only what the checks need. No event becomes a dict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import lt
from typing import TypeVar, cast

import msgspec

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    ContradictoryAnswerError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages.json_answer import (
    check_events,
    check_members,
    compacted,
    decode,
    raw_decoder,
)
from airflow_provider_curation.audit.pages.page import (
    UNKNOWN,
    EventKey,
    EventMark,
    Page,
    Tally,
    check_times,
    make_page,
    worker_faults_named,
)
from airflow_provider_curation.audit.pages.page_body import body_of
from airflow_provider_curation.audit.treatment import Treatment

_T = TypeVar("_T")


class _Meta(msgspec.Struct, gc=False):
    total_count: int | None = None
    result_count: int | None = None


class _PolicyName(msgspec.Struct, frozen=True, gc=False):
    policy_name: str | None = None


class _Policy(_PolicyName, frozen=True, gc=False):
    policy_id: int | str | None = None


class _EventKey(msgspec.Struct, gc=False):
    """The fields that the checks and counts of an unfiltered page need."""

    id: int
    created_at: str
    action: str
    package_type: str | None = None
    policies: Collection[_PolicyName] | None = None


class _PlainKey(_EventKey, gc=False):
    #: A set, so that a policy name counts once per event.
    policies: set[_PolicyName] | None = None


class _FullKey(_EventKey, gc=False):
    """The additional fields that filters and the checks of the dry-run stream need."""

    curated_repository_name: str | None = None
    policies: list[_Policy] | None = None


class _Keys(msgspec.Struct, gc=False):
    data: list[_PlainKey] | None


class _FullKeys(msgspec.Struct, gc=False):
    data: list[_FullKey] | None


_meta_decoder = msgspec.json.Decoder(_Meta)
_key_decoder: msgspec.json.Decoder[_Keys] = msgspec.json.Decoder(_Keys)
_full_decoder: msgspec.json.Decoder[_FullKeys] = msgspec.json.Decoder(_FullKeys)


def json_page(
    query: Query,
    answer: bytes | memoryview,
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    treatment: Treatment | None = None,
    marked: bool = False,
    limits: Limits | None = None,
) -> Page:
    """Check a JSON answer and return its page.

    :param query: the request, in ascending order of id.
    :param answer: the decompressed body.
    :param wanted: which events to keep; ``None`` keeps all.
    :param overlaps: the first event is the last one of the page before, and is left out of the body.
    :param treatment: what alters the events' bytes; ``None`` keeps them as they are.
    :param marked: also list the marks of the events that were read and kept.
    :raises UnexpectedAnswerError: for JSON that is not the envelope, or bytes that are not UTF-8.
    :raises ContradictoryAnswerError: for counts in ``meta`` that the answer's own events contradict.
    :raises AnswerTooLargeError: for an answer that exceeds a limit.
    :raises CutAnswerError: for a body that ends early.
    :raises NotTheApiError: for a page of HTML.
    :raises RowsShiftedError: for ids that do not ascend.
    :raises EndInclusiveError: for an event at the window's end.
    :raises WorkerResourceError: if the worker runs out of memory or disk space.
    """
    with worker_faults_named(query.asked):
        keys, raws, meta = _checked(query, answer, bool(wanted) or query.dry_run, limits or Limits())
        event_keys = _check_keys(query, keys)
        check_times(query, [key.created_at for key in keys])

        count = len(keys)
        skip = 1 if overlaps and keys else 0
        read = _marks(keys[skip:]) if marked else ()
        if wanted:
            chosen = [place for place in range(skip, len(keys)) if _wants(wanted, cast("_FullKey", keys[place]))]
            raws = [raws[place] for place in chosen]
            keys = [keys[place] for place in chosen]
        elif skip:
            raws, keys = raws[skip:], keys[skip:]
        tally = _tally(query, keys)
        tally.read = count - skip
        events = [treatment.event(bytes(raw)) for raw in raws] if treatment else raws
        body = body_of(events)
    page = make_page(event_keys, meta.total_count, tally, body, count)
    return replace(page, read=read, kept=_marks(keys)) if marked else page


def _checked(
    query: Query, answer: bytes | memoryview, full: bool, limits: Limits
) -> tuple[Sequence[_EventKey], Sequence[msgspec.Raw], _Meta]:
    """Return the events' keys, the events' bytes and the meta of an answer that does not contradict itself.

    :param full: also decode the fields that filters and the checks of the dry-run stream need.
    """
    asked = query.asked
    answer, objects = compacted(asked, answer, limits)
    keys: Sequence[_EventKey]
    # Keys first: an answer without events ends here, before one object per element is created.
    if full:
        keys = decode(asked, answer, limits, _full_decoder.decode).data or []
    else:
        keys = decode(asked, answer, limits, _key_decoder.decode).data or []
    if len(keys) > query.num_of_rows:
        raise UnexpectedAnswerError(asked, f"{len(keys)} events, more than were asked for")
    envelope = decode(asked, answer, limits, raw_decoder.decode)
    meta = decode(asked, memoryview(envelope.meta), limits, _meta_decoder.decode)
    raws = envelope.data or []
    lengths = list(map(len, raws))
    check_members(asked, answer, envelope.data, envelope.meta, lengths)
    # Each event, its list of policies, and each policy.
    plain = len(keys) + sum([1 + len(key.policies) for key in keys if key.policies is not None])
    check_events(asked, raws, lengths, plain, answer, objects, limits)
    _check_counts(query, meta, len(keys))
    return keys, raws, meta


def _check_counts(query: Query, meta: _Meta, events: int) -> None:
    """Compare the answer's counts with its events.

    :raises ContradictoryAnswerError: if the window has fewer events than the answer, or the answer another number.
    """
    if meta.total_count is not None and meta.total_count < events:
        problem = f"total_count {meta.total_count} beside {events} events"
    elif meta.result_count is not None and meta.result_count != events:
        problem = f"result_count {meta.result_count} beside {events} events"
    else:
        return
    raise ContradictoryAnswerError(query.asked, problem)


def _tally(query: Query, keys: Sequence[_EventKey]) -> Tally:
    """Return the counts of the kept events."""
    tally = Tally(kept=len(keys), rows=len(keys))
    tally.actions.update([key.action for key in keys])
    _count(tally.package_types, [key.package_type for key in keys])
    _count(tally.policies, _policy_names(keys))
    if keys:
        tally.first = EventMark(keys[0].id, keys[0].created_at)
        tally.last = EventMark(keys[-1].id, keys[-1].created_at)
    tally.ids = IdsDigest.of_dry_run(map(_event_key, keys)) if query.dry_run else IdsDigest.of([key.id for key in keys])
    return tally


def _marks(keys: Sequence[_EventKey]) -> Sequence[EventMark]:
    return [EventMark(key.id, key.created_at) for key in keys]


def _check_keys(query: Query, keys: Sequence[_EventKey]) -> list[EventKey]:
    """Return the keys of a page's first and last event, or of all events in the dry-run stream.

    Ids must ascend, each once; in the dry-run stream, each pair of id and policy must occur once.
    """
    if not query.dry_run:
        ids = [key.id for key in keys]
        if not all(map(lt, ids, ids[1:])):
            raise RowsShiftedError(query.asked, "events that are not in ascending order of id, each once")
        # No two events share an id, so a page needs only the first and the last one.
        return [(number, ()) for number in ids[:1] + ids[1:][-1:]]
    full = cast("Sequence[_FullKey]", keys)
    event_keys = list(map(_event_key, full))
    ids = [number for number, _ in event_keys]
    if ids != sorted(ids) or len(set(event_keys)) != len(event_keys):
        raise RowsShiftedError(query.asked, "dry-run events that are not in ascending order of id, each policy once")
    return event_keys


def _event_key(key: _EventKey) -> EventKey:
    return key.id, tuple(str(policy.policy_id) for policy in cast("_FullKey", key).policies or ())


def _policy_names(keys: Sequence[_EventKey]) -> list[str | None]:
    """Return the names of each event's policies, each name once per event."""
    policies = [key.policies for key in keys if key.policies]
    if policies and not isinstance(policies[0], set):
        return [name for each in policies for name in {policy.policy_name for policy in each}]
    return [policy.policy_name for each in policies for policy in each]


def _count(counts: Counter[str], names: list[str | None]) -> None:
    for name, count in Counter(names).items():
        counts[name or UNKNOWN] += count


def _wants(wanted: EventFilter, key: _FullKey) -> bool:
    named = (value for policy in key.policies or () for value in (policy.policy_name, policy.policy_id))
    policies = [str(value) for value in named if value is not None]
    return wanted.wants(key.action, key.package_type or "", key.curated_repository_name or "", policies)
