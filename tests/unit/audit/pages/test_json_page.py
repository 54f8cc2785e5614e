"""JSON answers: every event kept as the server wrote it, or a named error."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.messages import server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    ContradictoryAnswerError,
    CutAnswerError,
    NotTheApiError,
    RequestError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages import page_body as module
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import EndInclusiveError, EventMark, Page, Tally
from airflow_provider_curation.audit.window import Window, format_utc

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
QUERY = Query(WINDOW, 2000, include_total=True)
DRY = Query(WINDOW, 2000, dry_run=True)

Event = dict[str, Any]


def event(number: int, **fields: Any) -> Event:
    return {
        "id": number,
        "created_at": "2026-03-09T14:51:03Z",
        "action": "approved",
        "package_type": "npm",
        "package_name": "chokidar",
        "package_version": "4.0.3",
        "package_url": "https://registry.npm.example/chokidar/-/chokidar-4.0.3.tgz",
        "reason": "No policy violations",
        "curated_repository_name": "acme-npm-remote",
        "username": "dev1@acme.example",
        "user_mail": "",
        "policies": None,
        **fields,
    }


def policy(number: int, name: str = "malicious", **fields: Any) -> Event:
    return {"policy_name": name, "policy_id": number, "dry_run": False, "condition_category": "security", **fields}


def meta(events: Sequence[Event] | None, total: int | None = None, **fields: Any) -> dict[str, Any]:
    known = {"result_count": len(events or ()), "next_offset": None, "order_by": "id", "num_of_rows": 2000, **fields}
    return known if total is None else {"total_count": total, **known}


def answer(events: Sequence[Event] | None, total: int | None = None, **dumping: Any) -> bytes:
    return json.dumps({"data": events, "meta": meta(events, total)}, **dumping).encode()


def body(page: Page) -> bytes:
    return b"".join(page.chunks())


def decoded(page: Page) -> list[Event]:
    return [json.loads(line) for line in page.lines()]


# Any event: known fields with any text, and unknown ones of any form.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\u2028\u2029", 'a "quoted" \\ name', "line\nbreak\r\n", "\x00\x1f\x7f", "\ufeff", "😀é", "},{", "]]", "</script>"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.integers(0, 86_399).map(lambda second: format_utc(WINDOW.start + timedelta(seconds=second)))
policies = st.none() | st.lists(
    st.fixed_dictionaries({"policy_name": texts, "policy_id": st.integers(0, 99)}, optional={"result": texts}),
    max_size=3,
)
loose_events = st.builds(
    lambda known, unknown: {**unknown, **known},
    st.fixed_dictionaries(
        {
            "created_at": moments,
            "action": st.sampled_from(["blocked", "approved", "passed", "späht"]),
            "package_type": st.sampled_from(["npm", "PyPI", "HuggingFaceML"]),
            "curated_repository_name": st.sampled_from(["acme-npm-remote", "acme-pypi", ""]),
            "package_name": texts,
            "username": texts,
            "policies": policies,
        }
    ),
    st.dictionaries(texts, values, max_size=3),
)


@st.composite
def event_lists(draw: st.DrawFn, largest: int = 8) -> list[Event]:
    ids = sorted(draw(st.sets(st.integers(0, 2**63), max_size=largest)))
    return [{**draw(loose_events), "id": number} for number in ids]


dumps: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\t", ":\t")]),
    }
)


@settings(UNHURRIED, max_examples=60)
@given(event_lists(), dumps, st.booleans(), st.none() | st.integers(0, 10**9))
def test_lines_are_the_servers_own_bytes(
    events: list[Event], dumping: dict[str, Any], meta_first: bool, total: int | None
) -> None:
    total = None if total is None else total + len(events)
    parts: dict[str, Any] = {"data": events, "meta": meta(events, total)}
    if meta_first:
        parts = dict(reversed(parts.items()))
    page = json_page(QUERY, json.dumps(parts, **dumping).encode())

    assert list(page.lines()) == [json.dumps(each, **dumping).encode() + b"\n" for each in events]
    assert page.total == total
    assert page.count == page.tally.read == page.tally.kept == page.tally.rows == len(events)
    assert page.tally.actions == Counter(each["action"] for each in events)
    marks = [EventMark(each["id"], each["created_at"]) for each in events]
    assert (page.tally.first, page.tally.last) == ((marks[0], marks[-1]) if marks else (None, None))
    assert page.first == ((events[0]["id"], ()) if events else None)
    assert page.last == ((events[-1]["id"], ()) if events else None)
    assert page.head == ({page.first} if events else set())
    assert page.tail == ({page.last} if events else set())


@settings(UNHURRIED, max_examples=60)
@given(
    event_lists(), st.sampled_from([0, 1, 2, "\t"]), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans()
)
def test_pretty_printed_answers_give_the_compact_bytes(
    events: list[Event], indent: int | str, line_break: str, meta_first: bool, ascii_only: bool
) -> None:
    parts: dict[str, Any] = {"data": events, "meta": meta(events)}
    if meta_first:
        parts = dict(reversed(parts.items()))
    pretty = json.dumps(parts, indent=indent, ensure_ascii=ascii_only).replace("\n", line_break)
    page = json_page(QUERY, f"{line_break}{pretty}{line_break}".encode())

    compact = [json.dumps(each, separators=(",", ":"), ensure_ascii=ascii_only) for each in events]
    assert body(page) == "".join(f"{line}\n" for line in compact).encode()


@pytest.mark.parametrize("break_line", [False, True], ids=["one line", "pretty"])
@pytest.mark.parametrize(
    "token",
    [
        "1.0",
        "1e5",
        "1E+05",
        "-0",
        "0.10",
        "123456789012345678901234567890",
        '"\\u0041\\/\\n"',
        '"\u2028"',
        "{}",
        "[ ]",
        '{"a":1,"a":2}',
    ],
)
def test_no_token_is_written_again(token: str, break_line: bool) -> None:
    """Numbers, escapes and repeated keys stay as they came, which no decoding and encoding would promise."""
    one = f'{{"id":1,"created_at":"2026-03-09T00:00:00Z","action":"blocked","new":{token}}}'
    text = f'{{"data":[{one}],"meta":{{}}}}'
    page = json_page(QUERY, (f"\n{text}\n" if break_line else text).encode())
    assert body(page).replace(b" ", b"") == f"{one}\n".replace(" ", "").encode()


@settings(UNHURRIED, max_examples=60)
@given(
    event_lists(),
    st.lists(st.sampled_from(["blocked", "a*", "sp?ht"]), min_size=1, max_size=2) | st.none(),
    st.lists(st.sampled_from(["npm", "P*"]), min_size=1, max_size=2) | st.none(),
    st.lists(st.sampled_from(["acme-*", ""]), min_size=1, max_size=2) | st.none(),
    st.lists(st.sampled_from(["1?", "[0-9]", "*a*"]), min_size=1, max_size=2) | st.none(),
    st.booleans(),
)
def test_filters_keep_whole_events_and_count_what_was_read(
    events: list[Event],
    actions: list[str] | None,
    types: list[str] | None,
    repositories: list[str] | None,
    named: list[str] | None,
    overlaps: bool,
) -> None:
    wanted = EventFilter.of(actions, types, repositories, named)
    page = json_page(QUERY, answer(events), wanted, overlaps)

    new = events[1:] if overlaps else events
    kept = [
        each
        for each in new
        if wanted.wants(
            each["action"],
            each["package_type"],
            each["curated_repository_name"],
            [str(entry[name]) for entry in each["policies"] or () for name in ("policy_name", "policy_id")],
        )
    ]
    assert decoded(page) == kept
    assert page.count == len(events)
    assert page.tally.read == len(new)
    assert page.tally.kept == page.tally.rows == len(kept)
    assert page.tally.actions == Counter(each["action"] for each in kept)
    assert page.first == ((events[0]["id"], ()) if events else None)


def test_the_overlapping_event_is_counted_but_not_given_again() -> None:
    page = json_page(QUERY, answer([event(7), event(8, action="blocked")]), overlaps=True)
    assert decoded(page) == [event(8, action="blocked")]
    assert (page.count, page.tally.read) == (2, 1)
    assert page.first == (7, ())
    assert page.tally.actions == {"blocked": 1}
    assert page.tally.first == page.tally.last == EventMark(8, "2026-03-09T14:51:03Z")


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize(
    "text", ['{"data": null, "meta": {}}', '{"data": [], "meta": {"total_count": 0}}', '{"meta":{},"data":null}']
)
def test_an_empty_page_is_empty(text: str, overlaps: bool) -> None:
    page = json_page(QUERY, text.encode(), overlaps=overlaps)
    assert (page.count, page.first, page.last, body(page)) == (0, None, None, b"")
    assert page.tally == Tally()


@pytest.mark.parametrize("next_offset", [None, 0, -1, 2, 4000, "absent"])
def test_no_form_of_next_offset_matters(next_offset: Any) -> None:
    about = meta([event(1), event(2)], next_offset=next_offset)
    if next_offset == "absent":
        del about["next_offset"]
    page = json_page(QUERY, json.dumps({"data": [event(1), event(2)], "meta": about}).encode())
    assert page.count == 2


def test_policies_may_be_null_and_unknown_members_may_come() -> None:
    events = [
        event(1, action="blocked", policies=None),
        event(2, policies=[], ecosystem="js", ondemand=True),
        event(3, policies=[policy(3), policy(4, result="Blocked", policy_reason="Package is malicious")]),
    ]
    full = {"data": events, "meta": {**meta(events), "new": [1]}, "new": {"a": 1}}
    assert decoded(json_page(QUERY, json.dumps(full).encode())) == events


# Order, and the dry-run stream

shuffled = st.lists(st.integers(0, 5), min_size=2, max_size=6)


@settings(UNHURRIED)
@given(shuffled)
def test_ids_that_do_not_ascend_once_each_are_refused(ids: list[int]) -> None:
    text = answer([event(number) for number in ids])
    if all(one < other for one, other in itertools.pairwise(ids)):
        assert json_page(QUERY, text).count == len(ids)
        return
    with pytest.raises(RowsShiftedError, match="not in ascending order"):
        json_page(QUERY, text)


@settings(UNHURRIED)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_dry_run_events_come_once_for_each_id_and_policy(keys: list[tuple[int, int]]) -> None:
    text = answer([event(number, policies=[policy(named)]) for number, named in keys])
    ids = [number for number, _ in keys]
    if ids != sorted(ids) or len(set(keys)) != len(keys):
        with pytest.raises(RowsShiftedError, match="each policy once"):
            json_page(DRY, text)
        return
    page = json_page(DRY, text)
    full = [(number, (str(named),)) for number, named in keys]
    assert (page.first, page.last) == (full[0], full[-1])
    assert page.head == {key for key in full if key[0] == full[0][0]}
    assert page.tail == {key for key in full if key[0] == full[-1][0]}


def test_more_events_than_asked_for_are_refused() -> None:
    with pytest.raises(UnexpectedAnswerError, match="2 events, more than were asked for"):
        json_page(Query(WINDOW, 1), answer([event(1), event(2)]))


# Times

moments_around = st.integers(-5, 5)


@settings(UNHURRIED)
@given(
    st.lists(st.sampled_from([-1, 0, 1, 43_200, 86_399, 86_400, 86_401]), min_size=1, max_size=4),
    st.sampled_from([0, 60, -330]),
    st.booleans(),
    st.booleans(),
)
def test_times_are_held_against_the_window(seconds: list[int], zone: int, mixed: bool, fraction: bool) -> None:
    def written(place: int, second: int) -> str:
        moment = WINDOW.start + timedelta(seconds=second)
        digits = ".5" if fraction else ""
        if zone == 0 or (mixed and place == 0):
            return moment.strftime(f"%Y-%m-%dT%H:%M:%S{digits}Z")
        local = moment.astimezone(timezone(timedelta(minutes=zone)))
        sign, minutes = ("-", -zone) if zone < 0 else ("+", zone)
        return local.strftime(f"%Y-%m-%dT%H:%M:%S{digits}") + f"{sign}{minutes // 60:02}:{minutes % 60:02}"

    text = answer([event(number, created_at=written(number, second)) for number, second in enumerate(seconds)])
    if all(0 <= second < 86_400 for second in seconds):
        assert json_page(QUERY, text).count == len(seconds)
    elif all(0 <= second <= 86_400 for second in seconds):
        with pytest.raises(EndInclusiveError):
            json_page(QUERY, text)
    else:
        with pytest.raises(UnexpectedAnswerError) as caught:
            json_page(QUERY, text)
        assert not isinstance(caught.value, EndInclusiveError)


def test_the_overlapping_event_is_checked_too() -> None:
    with pytest.raises(UnexpectedAnswerError, match="outside the window"):
        json_page(QUERY, answer([event(1, created_at="2026-03-08T23:59:59Z"), event(2)]), overlaps=True)


@pytest.mark.parametrize("time", ["", "yesterday", "P1D", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        json_page(QUERY, answer([event(1, created_at=time)]))


# What is not the envelope


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", CutAnswerError),
        ("  \n", CutAnswerError),
        ('{"data": [', CutAnswerError),
        ('{"data": null, "meta": {}', CutAnswerError),
        ('{"data": null, "meta": {}} trailing', CutAnswerError),
        ("<!DOCTYPE html><html><title>Sign in</title></html>", NotTheApiError),
        ("\n <html>", NotTheApiError),
        ("{}", UnexpectedAnswerError),
        ("null", UnexpectedAnswerError),
        ("[]", UnexpectedAnswerError),
        ('{"data": null}', UnexpectedAnswerError),
        ('{"meta": {}}', UnexpectedAnswerError),
        ('{"data": null, "meta": null}', UnexpectedAnswerError),
        ('{"data": {}, "meta": {}}', UnexpectedAnswerError),
        ('{"data": [null], "meta": {}}', UnexpectedAnswerError),
        ('{"data": [{"id": "a"}], "meta": {}}', UnexpectedAnswerError),
        ('{"data": [{"id": 1, "action": "blocked"}], "meta": {}}', UnexpectedAnswerError),
        ('{"data": [{"id": 1, "created_at": "2026-03-09T00:00:00Z"}], "meta": {}}', UnexpectedAnswerError),
        ('{"data": [{"created_at": "2026-03-09T00:00:00Z", "action": "blocked"}], "meta": {}}', UnexpectedAnswerError),
        ('{"data": null, "meta": {"total_count": "many"}}', UnexpectedAnswerError),
        ('{"error": "Curation is starting"}', UnexpectedAnswerError),
    ],
)
def test_what_is_not_the_envelope_is_a_named_error(text: str, kind: type[RequestError]) -> None:
    with pytest.raises(RequestError) as caught:
        json_page(QUERY, text.encode())
    assert type(caught.value) is kind
    assert str(WINDOW) in str(caught.value)
    assert "dev1" not in str(caught.value)


def test_an_error_under_200_is_repeated() -> None:
    with pytest.raises(UnexpectedAnswerError, match="Curation is starting"):
        json_page(QUERY, b'{"errors": [{"status": 500, "message": "Curation is starting"}]}')


@settings(UNHURRIED, max_examples=60)
@given(event_lists(3), st.data(), st.booleans())
def test_a_cut_body_is_never_a_page(events: list[Event], data: st.DataObject, pretty: bool) -> None:
    whole = answer(events, indent=1 if pretty else None)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(CutAnswerError) as caught:
        json_page(QUERY, cut)
    assert caught.value.retry_request


@pytest.mark.parametrize("memory", [0, module.MEMORY_BYTES])
def test_a_long_page_is_whole_on_disk_and_in_memory(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", memory)
    events = [event(number, reason="é" * 500) for number in range(1500)]
    page = json_page(QUERY, answer(events, ensure_ascii=False))
    assert isinstance(cast("object", page.body), module.MemoryBody) == bool(memory)
    assert len(body(page)) > 1_000_000
    assert decoded(page) == events
    assert body(page) == body(page)
    assert max(map(len, page.chunks(1000))) == 1000


# What contradicts itself


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ([event(1)], {"total_count": 0}),
        ([event(1), event(2)], {"total_count": 1}),
        ([event(1), event(2)], {"total_count": 9, "result_count": 1}),
        ([event(1)], {"total_count": 9, "result_count": 2}),
        (None, {"result_count": 5}),
        ([], {"total_count": 5, "result_count": 5}),
        (None, {"total_count": -1}),
    ],
)
@pytest.mark.parametrize("query", [QUERY, DRY], ids=["events", "dry run"])
def test_counts_that_the_events_contradict_are_refused(
    query: Query, data: list[Event] | None, counts: dict[str, int]
) -> None:
    text = json.dumps({"data": data, "meta": counts}).encode()
    with pytest.raises(ContradictoryAnswerError, match=r"(total|result)_count -?\d beside \d events") as caught:
        json_page(query, text)
    assert caught.value.retry_request


@pytest.mark.parametrize("space", ["", " ", "\n"])
@pytest.mark.parametrize(
    "text",
    [
        '{"data":[EVENT],"data":null,"meta":{}}',
        '{"data":null,"meta":{},"data":[EVENT]}',
        '{"data":[EVENT],"meta":{"total_count":1},"d\\u0061ta":[]}',
        '{"data":[EVENT],"meta":{"total_count":1},"meta":{}}',
        '{"data":[EVENT],"new":1,"meta":{},"new":[2]}',
    ],
)
def test_a_member_that_comes_twice_hides_nothing(text: str, space: str) -> None:
    text = text.replace(",", "," + space).replace(":", ":" + space).replace("EVENT", json.dumps(event(1)))
    with pytest.raises(UnexpectedAnswerError, match="repeated members"):
        json_page(QUERY, text.encode())


@pytest.mark.parametrize("space", ["", " ", "\n"])
def test_other_members_do_no_harm(space: str) -> None:
    text = json.dumps({"é": 1, "data": [event(1, data=1)], "new": {"data": []}, "meta": {}}, ensure_ascii=False)
    assert json_page(QUERY, text.replace(", ", "," + space).encode()).count == 1


# Text


@pytest.mark.parametrize("break_line", [False, True], ids=["one line", "pretty"])
@pytest.mark.parametrize("place", ["reason", "action", "new", "policies"])
@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3", b"\xe9t\xe9", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
def test_bytes_that_are_not_utf8_are_refused_wherever_they_are(wrong: bytes, place: str, break_line: bool) -> None:
    value: Any = [policy(1, condition_name="HERE")] if place == "policies" else "HERE"
    text = answer([event(1, reason="é" * 200_000), event(2, **{place: value})], ensure_ascii=False)
    text = text.replace(b"HERE", wrong)
    with pytest.raises(RequestError) as caught:
        json_page(QUERY, (b"\n" if break_line else b"") + text)
    assert type(caught.value) is UnexpectedAnswerError
    assert "not UTF-8" in str(caught.value)


# Tallies and messages

tallies = st.builds(
    lambda read, actions, ids: Tally(
        read,
        sum(actions.values()),
        sum(actions.values()),
        actions,
        first=EventMark(ids[0], "") if ids else None,
        last=EventMark(ids[-1], "") if ids else None,
    ),
    st.integers(0, 9),
    st.builds(Counter, st.dictionaries(st.sampled_from(["blocked", "approved"]), st.integers(1, 9))),
    st.lists(st.integers(0, 99), max_size=3),
)


@settings(UNHURRIED)
@given(st.lists(tallies, max_size=5))
def test_tallies_add_up(parts: list[Tally]) -> None:
    whole = Tally()
    for part in parts:
        whole.add(part)
    assert whole.read == sum(part.read for part in parts)
    assert (whole.kept, whole.rows) == (sum(part.kept for part in parts), sum(part.rows for part in parts))
    assert whole.actions == sum((part.actions for part in parts), Counter())
    assert whole.first == next((part.first for part in parts if part.first), None)
    assert whole.last == next((part.last for part in reversed(parts) if part.last), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"error": "bad token"}', "bad token"),
        (b'{"errors": [{"status": 401, "message": "bad token"}]}', "bad token"),
        (b'{"errors": [{"message": "one"}, {"message": "two"}, {"status": 1}]}', "one; two"),
        (b"404 page not found\n", "404 page not found"),
        (b"<html><TITLE lang=en>\n503 Service\n Unavailable</TITLE>", "503 Service Unavailable"),
        (b"<html>no title", None),
        (b"", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"errors": []}', None),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_messages_are_found_in_every_shape(text: bytes, message: str | None) -> None:
    assert server_message(text) == message


def test_a_null_message_is_none() -> None:
    assert server_message(b'{"errors": [{"status": 500, "message": null}]}') is None


@settings(UNHURRIED)
@given(st.binary(max_size=300))
def test_any_body_has_a_short_message_or_none(text: bytes) -> None:
    message = server_message(text)
    assert message is None or 0 < len(message) <= 300


@settings(UNHURRIED, max_examples=60)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,datme01nul ', max_size=60).map(str.encode))
def test_any_body_is_a_page_or_a_named_error(text: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert json_page(QUERY, text).count == 0


@settings(UNHURRIED, max_examples=60)
@given(event_lists(4), st.data())
def test_a_changed_byte_loses_no_event_in_silence(events: list[Event], data: st.DataObject) -> None:
    """Whatever one wrong byte does, as many lines come out as were counted, and each is one object."""
    whole = bytearray(answer(events))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    try:
        page = json_page(QUERY, bytes(whole))
    except RequestError:
        return
    lines = list(page.lines())
    assert len(lines) == page.count == page.tally.kept
    assert b"".join(lines) == body(page)


@pytest.mark.parametrize(
    "text", ['{"data": [{"id": 1, "created_at": "2026-03-09T00:00:00Z", "action": "é"}], "meta": {}}', '{"é": 1}']
)
def test_a_body_in_another_encoding_is_a_named_error(text: str) -> None:
    with pytest.raises(RequestError):
        json_page(QUERY, text.encode("latin-1"))


def test_a_message_in_another_encoding_is_told() -> None:
    assert "caf" in (server_message('{"error": "café"}'.encode("latin-1")) or "")


def test_keys_are_checked_whether_or_not_events_are_filtered() -> None:
    wanted = EventFilter.of(actions=["blocked"])
    readers: list[Callable[[bytes], Page]] = [
        lambda text: json_page(QUERY, text),
        lambda text: json_page(QUERY, text, wanted),
        lambda text: json_page(DRY, text),
    ]
    for read in readers:
        with pytest.raises(RowsShiftedError):
            read(answer([event(2), event(1)]))
        with pytest.raises(UnexpectedAnswerError):
            read(answer([event(1, created_at="2026-03-11T00:00:00Z")]))


def test_an_ids_time_may_be_out_of_order() -> None:
    """Ids order the events, not times: a late event has a higher id and an earlier time."""
    page = json_page(QUERY, answer([event(1, created_at="2026-03-09T15:00:00Z"), event(2)]))
    assert page.count == 2
    assert datetime.fromisoformat("2026-03-09T14:51:03+00:00") in WINDOW


def test_deep_nesting_is_kept() -> None:
    deep = "[" * 200 + "]" * 200
    page = json_page(
        QUERY,
        f'{{"data":[{{"id":1,"created_at":"2026-03-09T00:00:00Z","action":"a","x":{deep}}}],"meta":{{}}}}'.encode(),
    )
    assert deep.encode() in body(page)
