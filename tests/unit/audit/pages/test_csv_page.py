"""CSV answers against a model with the csv module: the server's own rows, whatever its dialect, or a named error."""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
from collections import Counter
from dataclasses import replace as changed
from typing import IO, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    CutAnswerError,
    IncompleteCsvError,
    NotTheApiError,
    RequestError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages import csv_blocks as module
from airflow_provider_curation.audit.pages.csv_page import AnswerEnd, CsvPage, csv_page
from airflow_provider_curation.audit.pages.page import EndInclusiveError, EventMark
from airflow_provider_curation.audit.pages.page_body import SPOOL_BYTES
from airflow_provider_curation.audit.window import Window

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
QUERY = Query(WINDOW, 500_000, format="csv")
DRY = Query(WINDOW, 500_000, format="csv", dry_run=True)
MEMBER = "audit_packages.csv"
COLUMNS = (
    "id,created_at,action,reason,package_type,package_name,package_version,package_url,curated_repo_server_name,"
    "curated_repo_name,curated_repo_project_key,user_name,user_mail,origin_repo_server_name,origin_repo_name,"
    "origin_repo_project_key,public_repo_name,public_repo_url,ecosystem,ondemand,policy_id,policy_name,condition_name,"
    "condition_category,dry_run,result,policy_reason"
).split(",")

Row = dict[str, Any]


class Dialect(NamedTuple):
    quote_all: bool = False
    line_break: str = "\n"
    bom: bool = False
    ended: bool = True


def page_of(
    query: Query,
    file: IO[bytes],
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    end: AnswerEnd = AnswerEnd(0),  # noqa: B008
) -> CsvPage:
    """Read an answer that is known to be whole."""
    return csv_page(query, file, wanted, overlaps, end)


def row(number: int, policy: int | None = None, **cells: Any) -> Row:
    known = {
        "id": number,
        "created_at": "2026-03-09T14:51:03Z",
        "action": "approved" if policy is None else "blocked",
        "package_type": "npm",
        "package_name": "chokidar",
        "package_url": "https://registry.npm.example/chokidar/-/chokidar-4.0.3.tgz",
        "curated_repo_name": "acme-npm-remote",
        "policy_id": "" if policy is None else policy,
        "policy_name": "" if policy is None else 'malicious, "hard" block',
    }
    return known | cells


def quoted(cell: object, dialect: Dialect) -> str:
    text = str(cell)
    if dialect.quote_all or any(each in text for each in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def written(columns: list[str], rows: list[Row], dialect: Dialect = Dialect()) -> bytes:  # noqa: B008
    lines = [[quoted(name, dialect) for name in columns]]
    lines += [[quoted(each.get(name, ""), dialect) for name in columns] for each in rows]
    text = dialect.line_break.join(map(",".join, lines)) + (dialect.line_break if dialect.ended else "")
    return (codecs.BOM_UTF8 if dialect.bom else b"") + text.encode()


def zipped(content: bytes, member: str = MEMBER, method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(member), content, method)
    return file


def answer(rows: list[Row], columns: list[str] | None = None, dialect: Dialect = Dialect()) -> io.BytesIO:  # noqa: B008
    return zipped(written(columns or COLUMNS, rows, dialect))


def body(page: CsvPage) -> bytes:
    return b"".join(page.chunks())


def parsed(page: CsvPage) -> list[list[str]]:
    return list(csv.reader(io.StringIO((page.header.removeprefix(codecs.BOM_UTF8) + body(page)).decode(), newline="")))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", 'a "b"\r\n,c', "\u2028", "\ufeff", "é", " 1 ", "=1+1", "\n47581,2026"]
)
dialects = st.builds(Dialect, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
needed = [
    "id",
    "created_at",
    "action",
    "package_type",
    "curated_repo_name",
    "policy_id",
    "policy_name",
    "reason",
    "user_name",
]
columns_in_any_order = st.permutations(needed).flatmap(
    lambda names: st.lists(st.sampled_from(["new", "ecosystem", "a,b", '"', "é"]), max_size=2, unique=True).map(
        lambda unknown: [*unknown, *names]
    )
)


@st.composite
def rows_of_events(draw: st.DrawFn, largest: int = 6) -> list[Row]:
    """Events of any text, in order, each with a row for each of its policies."""
    rows = []
    for number in sorted(draw(st.sets(st.integers(0, 10**12), max_size=largest))):
        about = {
            "created_at": draw(st.sampled_from(["2026-03-09T00:00:00Z", "2026-03-09T23:59:59Z"])),
            "package_type": draw(st.sampled_from(["npm", "PyPI"])),
            "curated_repo_name": draw(st.sampled_from(["acme-npm-remote", "acme-pypi"])),
            "reason": draw(texts),
            "user_name": draw(texts),
            "new": draw(texts),
        }
        named: list[int | None] = [*sorted(draw(st.sets(st.integers(1, 99), max_size=3)))]
        action = draw(st.sampled_from(["blocked", "approved", "passed"]))
        rows += [row(number, policy, action=action, **about) for policy in named or [None]]
    return rows


def by_event(rows: list[Row]) -> dict[int, list[Row]]:
    events: dict[int, list[Row]] = {}
    for each in rows:
        events.setdefault(each["id"], []).append(each)
    return events


def cells(columns: list[str], rows: list[Row]) -> list[list[str]]:
    return [[str(each.get(name, "")) for name in columns] for each in rows]


@settings(UNHURRIED, max_examples=60)
@given(rows_of_events(), columns_in_any_order, dialects, st.booleans())
def test_rows_are_the_servers_own(rows: list[Row], columns: list[str], dialect: Dialect, overlaps: bool) -> None:
    events = by_event(rows)
    page = page_of(QUERY, answer(rows, columns, dialect), overlaps=overlaps)

    new = rows[len(next(iter(events.values()), [])) :] if overlaps else rows
    # Byte for byte, apart from the last line break.
    expected = written(columns, new, dialect._replace(ended=True))
    assert (page.header if page.header.endswith(b"\n") else page.header + dialect.line_break.encode()) + body(
        page
    ) == expected
    assert parsed(page) == [columns, *cells(columns, new)]
    assert page.count == len(events)
    assert page.tally.read == page.tally.kept == len(events) - bool(overlaps and events)
    assert page.tally.rows == len(new)
    assert page.tally.actions == Counter(own[0]["action"] for own in by_event(new).values())
    assert (page.first, page.last) == (((min(events), ()), (max(events), ())) if events else (None, None))
    assert page.head == ({page.first} if events else set())
    assert page.tail == ({page.last} if events else set())
    assert page.total is None
    marks = [EventMark(number, own[0]["created_at"]) for number, own in by_event(new).items()]
    assert (page.tally.first, page.tally.last) == ((marks[0], marks[-1]) if marks else (None, None))


@settings(UNHURRIED, max_examples=60)
@given(
    rows_of_events(),
    columns_in_any_order,
    dialects,
    st.lists(st.sampled_from(["blocked", "p*"]), min_size=1, max_size=2) | st.none(),
    st.lists(st.sampled_from(["npm", "[!n]*"]), min_size=1, max_size=2) | st.none(),
    st.lists(st.just("*pypi"), min_size=1) | st.none(),
    st.lists(st.sampled_from(["1*", "malicious, *", "5"]), min_size=1, max_size=2) | st.none(),
    st.booleans(),
)
def test_filters_keep_all_rows_of_a_wanted_event(
    rows: list[Row],
    columns: list[str],
    dialect: Dialect,
    actions: list[str] | None,
    types: list[str] | None,
    repositories: list[str] | None,
    named: list[str] | None,
    overlaps: bool,
) -> None:
    wanted = EventFilter.of(actions, types, repositories, named)
    events = by_event(rows)
    page = page_of(QUERY, answer(rows, columns, dialect), wanted or None, overlaps)

    kept = [
        own
        for own in list(events.values())[1 if overlaps else 0 :]
        if wanted.wants(
            own[0]["action"],
            own[0]["package_type"],
            own[0]["curated_repo_name"],
            [str(each[name]) for each in own for name in ("policy_id", "policy_name") if each[name] != ""],
        )
    ]
    assert parsed(page) == [columns, *cells(columns, [each for own in kept for each in own])]
    assert page.count == len(events)
    assert page.tally.read == len(events) - bool(overlaps and events)
    assert page.tally.kept == len(kept)
    assert page.tally.rows == sum(map(len, kept))
    assert page.tally.actions == Counter(own[0]["action"] for own in kept)


@settings(UNHURRIED, max_examples=60)
@given(rows_of_events(), dialects)
def test_a_dry_run_row_is_an_event(rows: list[Row], dialect: Dialect) -> None:
    page = page_of(DRY, answer(rows, dialect=dialect))
    keys = [(each["id"], (str(each["policy_id"]),)) for each in rows]
    assert page.count == page.tally.read == page.tally.kept == page.tally.rows == len(rows)
    assert (page.first, page.last) == ((keys[0], keys[-1]) if keys else (None, None))
    assert page.head == {key for key in keys if key[0] == keys[0][0]}
    assert page.tail == {key for key in keys if key[0] == keys[-1][0]}
    assert parsed(page) == [COLUMNS, *cells(COLUMNS, rows)]


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(True, "\r\n", bom=True)])
@pytest.mark.parametrize(
    ("end", "whole"),
    [
        # Counted: as many events as remain, and as many rows of the last one as it has, or fewer than fit.
        (AnswerEnd(3, last_rows=2), True),
        (AnswerEnd(2, last_rows=1), True),
        (AnswerEnd(4, last_rows=2), False),
        (AnswerEnd(100), False),
        (AnswerEnd(3, last_rows=3), False),
        (AnswerEnd(3, last_rows=3, seen_rows=5), False),
        (AnswerEnd(3, last_rows=3, seen_rows=6), True),
        # Not counted.
        (AnswerEnd(), False),
        (AnswerEnd(seen_rows=5), False),
        (AnswerEnd(seen_rows=6), True),
    ],
)
def test_the_last_event_is_left_to_the_next_page_if_it_may_be_cut(
    end: AnswerEnd, whole: bool, dialect: Dialect
) -> None:
    rows = [row(1), row(2, 5), row(2, 6), row(3, 5), row(3, 6)]
    page = page_of(QUERY, answer(rows, dialect=dialect), end=end)
    assert page.count == (3 if whole else 2)
    assert page.last == ((3 if whole else 2), ())
    assert parsed(page)[1:] == cells(COLUMNS, rows if whole else rows[:3])
    assert page.answer_rows == 5


def test_an_answer_of_fewer_rows_than_asked_for_is_not_cut() -> None:
    rows = [row(1), row(2), row(3, 5)]
    page = page_of(changed(QUERY, num_of_rows=4), answer(rows), end=AnswerEnd(3, last_rows=2, seen_rows=100))
    assert page.count == 3
    page = page_of(changed(QUERY, num_of_rows=3), answer(rows), end=AnswerEnd(3, last_rows=2, seen_rows=100))
    assert page.count == 2


@pytest.mark.parametrize("number", [1, 2])
def test_without_a_count_an_answer_moves_on(number: int) -> None:
    """Of the overlap and one event more, none can be left out."""
    rows = [row(each, policy) for each in range(number) for policy in (5, 6)]
    assert page_of(QUERY, answer(rows), end=AnswerEnd()).count == number


@pytest.mark.parametrize(
    "content", [b"id,username\n1,ada.lovelace\n" * 200, b'{"data": [{"username": "ada.lovelace"}]}' * 200]
)
def test_events_that_come_without_a_zip_are_not_in_the_error(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError, match="not a zip") as caught:
        page_of(QUERY, io.BytesIO(content))
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(line_break="\r\n", bom=True, ended=False)])
def test_a_header_alone_is_an_empty_page(dialect: Dialect) -> None:
    page = page_of(QUERY, answer([], dialect=dialect))
    assert (page.count, page.first, page.last, body(page)) == (0, None, None, b"")
    assert page.header == written(COLUMNS, [], dialect)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("per_event", [1, 2])
@pytest.mark.parametrize("reason", ["plain", 'a "quoted"\r\nline'])
def test_blocks_lose_nothing(monkeypatch: pytest.MonkeyPatch, ended: bool, per_event: int, reason: str) -> None:
    """However records and events fall onto the blocks that are checked at a time."""
    rows = [row(number, policy, reason=reason) for number in range(12) for policy in range(per_event)]
    whole = answer(rows, dialect=Dialect(ended=ended))
    for size in [1, 2, 7, *range(100, 5000, 61)]:
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        page = page_of(QUERY, whole)
        assert page.count == page.tally.kept == 12
        assert page.tally.rows == len(rows)
        assert page.header + body(page) == written(COLUMNS, rows)


@settings(UNHURRIED, max_examples=60)
@given(rows_of_events(), columns_in_any_order, dialects, st.integers(1, 400))
def test_blocks_of_any_size_give_the_same_page(
    rows: list[Row], columns: list[str], dialect: Dialect, size: int
) -> None:
    whole = answer(rows, columns, dialect)
    one = page_of(QUERY, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        other = page_of(QUERY, whole)
    assert body(other) == body(one)
    assert other.tally == one.tally
    assert (other.count, other.first, other.last) == (one.count, one.first, one.last)


@pytest.mark.parametrize("number", [4095, 4096, 4097])
def test_large_answers_lose_nothing(number: int) -> None:
    for dialect in (Dialect(), Dialect(ended=False)):
        rows = [row(each, each % 7) for each in range(number)]
        page = page_of(QUERY, answer(rows, dialect=dialect))
        assert page.count == page.tally.kept == number
        assert page.header + body(page) == written(COLUMNS, rows)


@pytest.mark.parametrize("columns", [["id"], ["action", "id"], ["id", "note"], ["note", "id", "action", "reason"]])
def test_only_the_id_is_needed(columns: list[str]) -> None:
    rows = [row(number, note="a,b") for number in range(3)]
    page = page_of(QUERY, answer(rows, columns))
    assert page.count == page.tally.read == 3
    assert page.tally.actions == ({"approved": 3} if "action" in columns else {"unknown": 3})
    assert page.header + body(page) == written(columns, rows)


def test_names_may_stand_after_spaces() -> None:
    columns = ["id", " created_at", " action", " note"]
    rows = [{"id": number, " created_at": "2026-03-09T00:00:00Z", " action": "blocked"} for number in (1, 2)]
    page = page_of(QUERY, answer(rows, columns))
    assert page.tally.actions == {"blocked": 2}


# Order and times


@settings(UNHURRIED, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_ids_that_do_not_ascend_are_refused(ids: list[int]) -> None:
    rows = answer([row(number, policy) for policy, number in enumerate(ids)])
    if ids == sorted(ids):
        assert page_of(QUERY, rows).count == len(set(ids))
        return
    with pytest.raises(RowsShiftedError):
        page_of(QUERY, rows)


@pytest.mark.parametrize("ids", [[1, 2, 3, 4, 5, 4, 6], [1, 2, 3, 5, 4, 6, 7], [1, 2, 9, 3, 4], [2, 1]])
@pytest.mark.parametrize("reason", ["plain", "a, b"])
def test_disorder_is_seen_across_blocks(monkeypatch: pytest.MonkeyPatch, ids: list[int], reason: str) -> None:
    whole = answer([row(number, reason=reason) for number in ids])
    for size in [1, *range(100, 2000, 50)]:
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        with pytest.raises(RowsShiftedError):
            page_of(QUERY, whole)


@settings(UNHURRIED, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_dry_run_rows_come_once_for_each_id_and_policy(keys: list[tuple[int, int]]) -> None:
    rows = answer([row(number, policy) for number, policy in keys])
    ids = [number for number, _ in keys]
    if ids == sorted(ids) and len(set(keys)) == len(keys):
        assert page_of(DRY, rows).count == len(keys)
        return
    with pytest.raises(RowsShiftedError):
        page_of(DRY, rows)


@pytest.mark.parametrize("rows", [[row(1), row(1)], [row(1, 5), row(1, 5)], [row(1, 5), row(1, 6), row(1, 5)]])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[:20], [*COLUMNS[:20], "policy_name"]])
@pytest.mark.parametrize("before", [0, 1, 900])
@pytest.mark.parametrize("overlaps", [False, True])
def test_a_row_that_comes_twice_is_refused(
    rows: list[Row], columns: list[str], before: int, overlaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [row(number - before) for number in range(before)]
    for size in (100, 1 << 17):
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        with pytest.raises(RowsShiftedError, match="each event and policy once"):
            page_of(QUERY, answer([*others, *rows], columns), overlaps=overlaps)


def test_more_events_than_asked_for_are_refused() -> None:
    with pytest.raises(UnexpectedAnswerError, match="3 events, more than were asked for"):
        page_of(changed(QUERY, num_of_rows=2), answer([row(1), row(2), row(3)]))


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
@pytest.mark.parametrize("place", ["reason", "user_name", "policy_reason"])
@pytest.mark.parametrize("query", [QUERY, DRY], ids=["events", "dry run"])
def test_bytes_that_are_not_utf8_are_refused_wherever_they_are(query: Query, place: str, wrong: bytes) -> None:
    content = written(COLUMNS, [row(1), row(2, 5, **{place: "HERE"}), row(3)]).replace(b"HERE", wrong)
    with pytest.raises(UnexpectedAnswerError, match="not UTF-8"):
        page_of(query, zipped(content))


@pytest.mark.parametrize("name", ["id", "policy_id"])
def test_a_column_that_is_there_twice_is_refused(name: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match=f"more than one column named {name}"):
        page_of(QUERY, answer([row(1)], [*COLUMNS, name]))


def test_rows_behind_an_empty_line_are_refused() -> None:
    content = written(COLUMNS, [row(1)]) + b"\n" + written(COLUMNS, [row(2)]).partition(b"\n")[2]
    with pytest.raises(UnexpectedAnswerError, match="an empty line between its rows"):
        page_of(QUERY, zipped(content))


@pytest.mark.parametrize(
    ("time", "kind"),
    [
        ("2026-03-08T23:59:59Z", UnexpectedAnswerError),
        ("0001-01-01T00:00:00+14:00", UnexpectedAnswerError),
        ("9999-12-31T23:59:59-14:00", UnexpectedAnswerError),
        ("2026-03-09T12:00:00", UnexpectedAnswerError),
        ("2026-03-10T00:00:00Z", EndInclusiveError),
        ("2026-03-10T00:00:01Z", UnexpectedAnswerError),
        ("yesterday", UnexpectedAnswerError),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3999])
def test_times_are_held_against_the_window(time: str, kind: type[RequestError], place: int) -> None:
    rows = [row(number) for number in range(4000)]
    rows[place]["created_at"] = time
    with pytest.raises(RequestError) as caught:
        page_of(QUERY, answer(rows))
    assert type(caught.value) is kind


# What is not the answer


def test_the_incomplete_member_is_told_by_its_name() -> None:
    with pytest.raises(IncompleteCsvError, match="does not hold all events"):
        page_of(QUERY, zipped(written(COLUMNS, [row(1)]), "audit_packages_incomplete.csv"))


def two_members() -> io.BytesIO:
    file = zipped(written(COLUMNS, []))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("audit_packages_2.csv", b"")
    return file


def without_members() -> io.BytesIO:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (io.BytesIO(), CutAnswerError),
        (io.BytesIO(b"PK\x03\x04"), CutAnswerError),
        (io.BytesIO(b"<html><title>Sign in</title></html>"), NotTheApiError),
        (io.BytesIO(b'{"error": "no"}'), UnexpectedAnswerError),
        (io.BytesIO(written(COLUMNS, [])), UnexpectedAnswerError),
        (zipped(b""), UnexpectedAnswerError),
        (zipped(written(COLUMNS, []), "other.csv"), UnexpectedAnswerError),
        (two_members(), UnexpectedAnswerError),
        (without_members(), UnexpectedAnswerError),
        (zipped(b"created_at,action\n2026-03-09T00:00:00Z,blocked\n"), UnexpectedAnswerError),
        (zipped(b"id,created_at,action\nabc,2026-03-09T00:00:00Z,blocked\n"), UnexpectedAnswerError),
        (zipped(b"id,created_at,action\n1,2026-03-09T00:00:00Z\n"), UnexpectedAnswerError),
        (zipped(b'id,created_at,action\n1,2026-03-09T00:00:00Z,"blocked\n'), UnexpectedAnswerError),
        (zipped(b"id,created_at,action\r1,2026-03-09T00:00:00Z,blocked\r"), UnexpectedAnswerError),
        (zipped(b"\xff\xfei\x00d\x00\n\x00"), UnexpectedAnswerError),
    ],
)
def test_what_is_not_the_csv_is_a_named_error(file: io.BytesIO, kind: type[RequestError]) -> None:
    with pytest.raises(RequestError) as caught:
        page_of(QUERY, file)
    assert type(caught.value) is kind


def test_an_error_under_200_is_repeated() -> None:
    with pytest.raises(UnexpectedAnswerError, match="disk is full"):
        page_of(QUERY, io.BytesIO(b'{"error": "disk is full"}'))


def test_the_crc_is_checked() -> None:
    whole = answer([row(1)]).getvalue()
    crc = zipfile.ZipFile(io.BytesIO(whole)).getinfo(MEMBER).CRC.to_bytes(4, "little")
    broken = whole.replace(crc, bytes(4))
    assert broken != whole
    with pytest.raises(CutAnswerError, match="CRC"):
        page_of(QUERY, io.BytesIO(broken))


def test_a_stored_member_is_read() -> None:
    file = zipped(written(COLUMNS, [row(1)]), method=zipfile.ZIP_STORED)
    assert page_of(QUERY, file).count == 1


@settings(UNHURRIED, max_examples=60)
@given(st.data())
def test_a_cut_zip_is_never_a_page(data: st.DataObject) -> None:
    whole = answer([row(number, 3) for number in range(20)]).getvalue()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises((CutAnswerError, UnexpectedAnswerError)):
        page_of(QUERY, io.BytesIO(cut))


@settings(UNHURRIED, max_examples=150)
@given(st.data(), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_a_changed_byte_changes_no_event_in_silence(data: st.DataObject, method: int) -> None:
    rows = [row(number, number % 3) for number in range(5)]
    whole = bytearray(zipped(written(COLUMNS, rows), method=method).getvalue())
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = data.draw(st.integers(1, 255))
    whole[place] ^= flipped
    try:
        page = page_of(QUERY, io.BytesIO(bytes(whole)))
    except RequestError:
        return
    assert page.header + body(page) == written(COLUMNS, rows)


def change(whole: bytes, local: int, central: int, value: int) -> io.BytesIO:
    """Set a field of two bytes, at its places in the local and the central entry."""
    changed = bytearray(whole)
    directory = whole.index(b"PK\x01\x02")
    for place in (local, directory + central):
        changed[place : place + 2] = value.to_bytes(2, "little")
    return io.BytesIO(bytes(changed))


@pytest.mark.parametrize(("local", "central", "value"), [(6, 8, 1), (8, 10, 99)], ids=["encrypted", "unknown method"])
def test_a_zip_that_python_cannot_open_is_a_named_error(local: int, central: int, value: int) -> None:
    with pytest.raises(RequestError):
        page_of(QUERY, change(answer([row(1)]).getvalue(), local, central, value))


@settings(UNHURRIED, max_examples=60)
@given(st.binary(max_size=120) | st.text(alphabet='id,createdaction\r\n"1234\ufeff', max_size=120).map(str.encode))
def test_any_content_is_a_page_or_a_named_error(content: bytes) -> None:
    for text in (content, b"id,created_at,action\n" + content):
        try:
            page = page_of(QUERY, zipped(text))
        except RequestError:
            continue
        assert page.tally.kept == page.count


def test_a_page_beyond_the_spools_size_is_whole() -> None:
    rows = [row(number, reason="é" * 300) for number in range(6000)]
    page = page_of(QUERY, answer(rows))
    assert len(body(page)) > 4 * SPOOL_BYTES
    assert page.header + body(page) == written(COLUMNS, rows)
    assert body(page) == body(page)


def test_a_row_that_a_comma_cannot_cut_is_parsed() -> None:
    """A quoted comma before a needed column, and none after it."""
    columns = ["reason", "id", "created_at", "action", "note"]
    rows = [row(1, reason="a,9,2020-01-01T00:00:00Z,x", note="plain"), row(2, reason="plain", note='a "quoted", one')]
    page = page_of(QUERY, answer(rows, columns))
    assert (page.first, page.last) == ((1, ()), (2, ()))
    assert page.tally.actions == {"approved": 2}


@pytest.mark.parametrize("cells", [-1, 1])
@pytest.mark.parametrize("reason", ["plain", "a, b"])
@pytest.mark.parametrize("policy", [None, 5])
@pytest.mark.parametrize("place", [1, 700, 2000])
@pytest.mark.parametrize("columns", [COLUMNS, [name for name in COLUMNS if name != "policy_name"]])
def test_a_row_of_too_few_or_too_many_cells_is_refused(
    columns: list[str], place: int, policy: int | None, reason: str, cells: int
) -> None:
    rows = [row(number, reason=reason if number % 3 else "plain") for number in range(2001)]
    rows[place - 1] = row(place - 1, policy, policy_name="hard", reason=reason)
    lines = written([*columns, "last"], [each | {"last": "x"} for each in rows]).split(b"\n")
    lines[place] = lines[place].removesuffix(b",x") if cells < 0 else lines[place] + b",x"
    with pytest.raises(UnexpectedAnswerError, match="cells under"):
        page_of(QUERY, zipped(b"\n".join(lines)))


def test_a_long_cell_is_no_fault() -> None:
    rows = [row(1, 5, policy_name='"' + "a" * 200_000, action='"blocked"')]
    assert page_of(QUERY, answer(rows, sorted(COLUMNS))).count == 1


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_an_empty_line_at_the_end_is_no_row(line_break: str) -> None:
    content = written(COLUMNS, [row(1)], Dialect(line_break=line_break)) + line_break.encode()
    assert page_of(QUERY, zipped(content)).count == 1
