"""Pseudonyms and safe cells in pages: the named fields are replaced, and not a byte more."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.csv_safe import neutral
from airflow_provider_curation.audit.errors import UnexpectedAnswerError
from airflow_provider_curation.audit.pages.csv_page import csv_page
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window
from tests.support.keys import PSEUDONYM_KEY as KEY

FIELDS = ("username", "user_mail")
MADE = Pseudonymizer(FIELDS, KEY)
WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")

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
