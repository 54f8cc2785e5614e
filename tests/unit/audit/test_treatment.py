"""Pseudonyms and safe cells: the named fields are replaced, and not a byte more."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_curation.audit.pages.csv_page import csv_page
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.audit.treatment import Pseudonymizer, Treatment, neutral
from airflow_provider_curation.audit.window import Window
from tests.support.formulas import FORMULA_STARTS
from tests.support.keys import OTHER_PSEUDONYM_SECRET, PSEUDONYM_SECRET
from tests.support.keys import PSEUDONYM_KEY as KEY

FIELDS = ("username", "user_mail")
MADE = Pseudonymizer(FIELDS, KEY)
WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"username":"a"', '\\"user_mail\\":', "username", "\\", '"', "\u2028", "é", "=1+1", "a,b", "p-0", '":"']
)
values = st.none() | st.booleans() | st.integers() | texts
members = st.dictionaries(st.sampled_from(["username", "user_mail", "id", "user", "é", 'user"name']) | texts, values)
events = st.dictionaries(
    st.sampled_from(["username", "user_mail", "id", "package_name", "policies"]) | texts,
    values | members | st.lists(members, max_size=2),
)
spacings = st.sampled_from([(",", ":"), (", ", ": "), (",\t", " :\t")])


def expected(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MADE.token(item if isinstance(item, str) else json.dumps(item, sort_keys=True))
            if name in FIELDS and item not in (None, "")
            else item
            if name in FIELDS
            else expected(item)
            for name, item in value.items()
        }
    return [expected(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=400)
@given(events, st.booleans(), spacings)
def test_the_values_and_nothing_else(event: dict[str, Any], ascii_only: bool, spacing: tuple[str, str]) -> None:
    raw = json.dumps(event, ensure_ascii=ascii_only, separators=spacing).encode()
    made = MADE.event(raw)
    # The separators and escapes of everything else are what they were.
    assert made == json.dumps(expected(event), ensure_ascii=ascii_only, separators=spacing).encode()


@settings(deadline=None, max_examples=200)
@given(texts)
def test_however_a_name_or_a_value_is_escaped(value: str) -> None:
    plain = json.dumps({"username": value, "id": 1}, ensure_ascii=False).encode()
    escaped = b'{"user\\u006eame": "' + b"".join(b"\\u%04x" % unit for unit in units(value)) + b'", "id": 1}'
    assert json.loads(escaped) == json.loads(plain)
    assert json.loads(MADE.event(escaped)) == json.loads(MADE.event(plain))
    assert json.loads(MADE.event(plain))["username"] == (MADE.token(value) if value else "")


def units(text: str) -> list[int]:
    packed = text.encode("utf-16-be")
    return [int.from_bytes(packed[place : place + 2], "big") for place in range(0, len(packed), 2)]


def test_every_member_of_a_name_that_comes_twice() -> None:
    made = MADE.event(b'{"username":"ann","user_mail":"","username":"ann"}')
    token = MADE.token("ann").encode()
    assert made == b'{"username":"' + token + b'","user_mail":"","username":"' + token + b'"}'


def test_a_token_is_of_the_value_and_the_key() -> None:
    other = Pseudonymizer(("username",), SecretKey(OTHER_PSEUDONYM_SECRET))
    assert MADE.token("ann") == Pseudonymizer(("user_mail",), KEY).token("ann")
    assert len({MADE.token("ann"), MADE.token("Ann"), other.token("ann")}) == 3
    assert MADE.token("ann").startswith("p-")
    assert "ann" not in MADE.token("ann")


@pytest.mark.parametrize("fields", ["username", (), ("id",), ("username", "password")])
def test_only_personal_fields(fields: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="pseudonymize="):
        Pseudonymizer(fields, KEY)


def test_a_key_is_long_enough_and_never_shown() -> None:
    with pytest.raises(InvalidArgumentError, match="32 random bytes") as caught:
        SecretKey(b"short-secret", "connection 'x'")
    assert "short-secret" not in str(caught.value)
    assert PSEUDONYM_SECRET.decode() not in repr(KEY) + repr(MADE.__dict__["key"])


# In pages

HEADER = ["id", "created_at", "action", "package_type", "note", "user_name", "user_mail", "policy_name", "policy_id"]


def zipped(content: str) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("audit_packages.csv", content.encode())
    return file


def written(rows: list[list[str]], line_break: str, quoting: int) -> str:
    # As Go writes: Python's own writer leaves a carriage return without quotes.
    def cell(text: str) -> str:
        quoted = quoting == csv.QUOTE_ALL or re.search(r'[",\r\n]|^\s', text)
        return '"' + text.replace('"', '""') + '"' if quoted else text

    return "".join(",".join(map(cell, row)) + line_break for row in rows)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ["=1+1", "+1", "-1", "@x", "\tx", "\rx", '="a"', '"=', "=a,b\r\nc", "'=1", " =1", ""]
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
    st.booleans(),
)
def test_csv_cells(
    rows: list[tuple[str, str, str]], line_break: str, quoting: int, pseudonyms: bool, safe: bool
) -> None:
    table = [
        [str(number), "2026-03-09T00:00:00Z", "blocked", "npm", note, name, mail, "p", "1"]
        for number, (note, name, mail) in enumerate(rows)
    ]
    treatment = Treatment(MADE if pseudonyms else None, safe)
    answer = zipped(written([HEADER, *table], line_break, quoting))
    page = csv_page(Query(WINDOW, 500_000, format="csv"), answer, treatment=treatment)
    body = (page.header + b"".join(page.lines())).decode()

    for row in table:
        if pseudonyms:
            row[5:7] = [MADE.token(cell) if cell else "" for cell in row[5:7]]
        if safe:
            row[:] = [neutral(cell) for cell in row]
    assert list(csv.reader(io.StringIO(body, newline="")))[: page.count + 1] == [HEADER, *table][: page.count + 1]
    if quoting == csv.QUOTE_ALL:
        assert body == written([HEADER, *table][: page.count + 1], line_break, quoting)


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
dangerous = st.lists(
    st.sampled_from([*SIGNS, *";\t\r\n \"'a1\u00a0\u3000\0\x1f\u200b\ufeff", "cmd|' /C calc'!A0"])
    | st.text(max_size=3),
    max_size=12,
).map("".join)


def pieces(text: str) -> list[str]:
    """What a spreadsheet may take for cells: text between separators, and what it skips before a formula left out."""
    cut = [text, *re.split("[;\t\r\n]", text)]
    return [re.sub(r"^[\s\0-\x1f\x7f\"\u200b-\u200f\u2060\ufeff]+", "", piece) for piece in cut]


@settings(deadline=None, max_examples=500)
@given(dangerous)
def test_no_piece_of_a_cell_is_a_formula(text: str) -> None:
    safe = neutral(text)
    assert not [piece for piece in pieces(safe) if piece.startswith(SIGNS)]
    assert not safe.startswith(FORMULA_STARTS)
    # Apostrophes were put in, and nothing else was changed; and only where it was needed.
    assert safe.replace("'", "") == text.replace("'", "")
    if not any(piece.startswith(SIGNS) for piece in pieces(text)) and not text.startswith(FORMULA_STARTS):
        assert safe == text
    assert neutral(safe) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1", "'=1"),
        (" =1", "' =1"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0d1", "'\uff0d1"),
        ("a;=1", "a;'=1"),
        ('a; "=1"', 'a;\' "=1"'),
        ("a\n@x;\t+1", "a\n'@x;\t'+1"),
        ("\0=1", "'\0=1"),
        ("a=1; b-c", "a=1; b-c"),
        ("'=1", "'=1"),
        ("", ""),
    ],
)
def test_what_is_put_before_a_formula(text: str, safe: str) -> None:
    assert neutral(text) == safe


@pytest.mark.parametrize("text", [" " * 200_000, "\n" * 200_000, ";" * 200_000, '"' * 200_000, "; " * 100_000])
def test_a_long_cell_takes_no_time(text: str) -> None:
    started = time.process_time()
    assert neutral(text + "=")
    assert time.process_time() - started < 2


def test_untreated_rows_keep_their_bytes() -> None:
    content = (
        'id,created_at,action,user_name,note\n1,2026-03-09T00:00:00Z,"blocked",,"x"\n2,2026-03-09T00:00:00Z,a,b, c\n'
    )
    page = csv_page(Query(WINDOW, 9, format="csv"), zipped(content), treatment=Treatment(None, True))
    assert (page.header + b"".join(page.lines())).decode() == content


def test_a_csv_without_the_column_is_refused() -> None:
    content = "id,created_at,action,user\n1,2026-03-09T00:00:00Z,blocked,ann\n"
    with pytest.raises(UnexpectedAnswerError, match="username or user_name"):
        csv_page(Query(WINDOW, 9, format="csv"), zipped(content), treatment=Treatment(MADE))


def test_json_pages() -> None:
    event = b'{"id":1,"created_at":"2026-03-09T00:00:00Z","action":"blocked","username":"ann","policies":null}'
    page = json_page(Query(WINDOW, 9), b'{"data":[' + event + b'],"meta":{}}', treatment=Treatment(MADE))
    assert b"".join(page.lines()) == event.replace(b"ann", MADE.token("ann").encode()) + b"\n"
    assert page.tally.package_types == {"unknown": 1}


# Counts


def test_events_are_counted_by_type_and_policy_alike_in_json_and_csv() -> None:
    named = [["a"], ["a", "b"], ["a", "a"], [], ['q"x']]
    objects = [
        {
            "id": number,
            "created_at": "2026-03-09T00:00:00Z",
            "action": "blocked",
            "package_type": "npm" if number % 2 else "PyPI",
            "policies": [{"policy_name": name, "policy_id": place} for place, name in enumerate(names)] or None,
        }
        for number, names in enumerate(named)
    ]
    rows = [
        [str(each["id"]), each["created_at"], "blocked", each["package_type"], "", "", "", name, str(place)]
        for each, names in zip(objects, named, strict=True)
        for place, name in enumerate(names or [""])
    ]
    body = json.dumps({"data": objects, "meta": {}}).encode()
    wanted = {"package_types": {"PyPI": 3, "npm": 2}, "policies": {"a": 3, "b": 1, 'q"x': 1}}
    last = [*rows, ["99", "2026-03-09T00:00:00Z", "blocked", "npm", "", "", "", "", ""]]
    pages = [json_page(Query(WINDOW, 9), body)]
    for line_break in ("\n", "\r\n"):
        for table in (last, [row[::-1] for row in last]):
            header = HEADER if table is last else HEADER[::-1]
            content = written([header, *table], line_break, csv.QUOTE_MINIMAL)
            pages.append(csv_page(Query(WINDOW, 9, format="csv"), zipped(content)))
    for page in pages:
        tally = page.tally
        if page.count == 6:
            tally.package_types["npm"] -= 1
        assert {"package_types": dict(tally.package_types), "policies": dict(tally.policies)} == wanted
