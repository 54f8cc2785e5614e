"""A JSON answer's bytes, made into a page of checked events or a named error.

A page keeps its events as the server's own bytes, and beside them only what the checks need. No event becomes a dict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import msgspec

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
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.pages.page import (
    UNKNOWN,
    EventKey,
    EventMark,
    Page,
    Tally,
    check_times,
    make_page,
    new_body,
)
from airflow_provider_curation.audit.treatment import Treatment

_T = TypeVar("_T")


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
    tally.ids = IdsDigest.of_dry_run(map(_event_key, keys)) if query.dry_run else IdsDigest.of([key.id for key in keys])
    content = b"\n".join([treatment.event(bytes(raw)) for raw in raws] if treatment else raws)
    body = new_body(len(content))
    if raws:
        body.write(content)
        body.write(b"\n")
    page = make_page(event_keys, envelope.meta.total_count, tally, body, count)
    return replace(page, read=read, kept=_marks(keys)) if marked else page


def _marks(keys: Sequence[_EventKey]) -> Sequence[EventMark]:
    return [EventMark(key.id, key.created_at) for key in keys]


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
    event_keys = list(map(_event_key, full))
    ids = [number for number, _ in event_keys]
    if ids != sorted(ids) or len(set(event_keys)) != len(event_keys):
        raise RowsShiftedError(query.asked, "dry-run events that are not in ascending order of id, each policy once")
    return event_keys


def _event_key(key: _EventKey) -> EventKey:
    return key.id, tuple(str(policy.policy_id) for policy in cast("_FullKey", key).policies or ())


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


def _wants(wanted: EventFilter, key: _FullKey) -> bool:
    named = (value for policy in key.policies or () for value in (policy.policy_name, policy.policy_id))
    policies = [str(value) for value in named if value is not None]
    return wanted.wants(key.action, key.package_type or "", key.curated_repository_name or "", policies)
