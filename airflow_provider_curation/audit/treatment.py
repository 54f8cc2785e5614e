"""What may be altered in evidence on its way into an object, only where asked for: personal data and dangerous cells.

Values are replaced in the server's own bytes; everything around them stays as it is.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypedDict

from airflow_provider_curation.audit.endpoint import PERSONAL_FIELDS
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.secret_key import SecretKey

#: The names of a personal field's column: CSV calls one of them differently.
CSV_COLUMNS: Final = {"username": ("username", "user_name"), "user_mail": ("user_mail",)}
TOKEN_PREFIX: Final = "p-"
_TOKEN_DIGITS: Final = 32
_CACHED: Final = 4096

# A string, and the colon after it if it is a member's name.
_STRING = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")([ \t]*:[ \t]*)?', re.DOTALL)
# Where a cell begins, or what a spreadsheet that splits at semicolons or tabs, and takes no notice of our quotes, takes
# for one; and a formula follows, perhaps behind spaces, quotes or characters that are not shown.
_FORMULA = re.compile(
    "(^|[;\t\r\n])"
    r"(?=(?:(?![\t\r\n])[\s\"\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff])*"
    "[-=+@\uff1d\uff0b\uff0d\uff20])"
)
# A cell with quotes around it (and what may follow them), or without; and what ends it.
_CELL = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"([^,\r\n]*)|([^,\r\n]*))(,|\r*\n?\Z)')


class PersonalData(TypedDict, total=False):
    """What a manifest says of a treatment."""

    pseudonymized: list[str]
    pseudonym_key_id: str | None
    csv_safe: bool


class Pseudonymizer:
    """Replaces values by tokens: the same value always by the same one, and none can be led back without the key.

    :param fields: which of ``username`` and ``user_mail``.
    :raises InvalidArgumentError: for another field.
    """

    def __init__(self, fields: Sequence[str], key: SecretKey) -> None:
        self.fields = check_fields(fields)
        self.key = key
        self.token = lru_cache(maxsize=_CACHED)(self._token)
        names = b"|".join(name.encode() for name in self.fields)
        self._plain = re.compile(rb'"(?:' + names + rb')"[ \t]*:[ \t]*("[^"]*"|null)?')

    def _token(self, value: str) -> str:
        return TOKEN_PREFIX + self.key.hmac(value.encode("utf-8", "surrogatepass"))[:_TOKEN_DIGITS]

    def event(self, raw: bytes) -> bytes:
        """Return an event's JSON with the values of all members of these names replaced; empty ones stay empty."""
        spans = self._spans(raw) if b"\\" in raw else self._plain_spans(raw)
        pieces: list[bytes] = []
        done = 0
        for start, end, value in spans:
            pieces += raw[done:start], json.dumps(self.token(value)).encode()
            done = end
        return b"".join((*pieces, raw[done:])) if pieces else raw

    def _plain_spans(self, raw: bytes) -> Iterator[tuple[int, int, str]]:
        """Give the values' places where nothing is escaped, so that a name between quotes is what it looks like."""
        found = list(self._plain.finditer(raw))
        if any(match[1] is None for match in found):
            yield from self._spans(raw)
            return
        for match in found:
            if match[1] not in (b"null", b'""'):
                yield *match.span(1), match[1][1:-1].decode()

    def _spans(self, raw: bytes) -> Iterator[tuple[int, int, str]]:
        """Give the values' places, string by string."""
        done = 0
        for match in _STRING.finditer(raw):
            if match[2] is None or match.start() < done or json.loads(match[1]) not in self.fields:
                continue
            value, done = _value_at(raw, match.end())
            if value not in (None, ""):
                yield match.end(), done, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def check_fields(fields: Sequence[str] | str) -> tuple[str, ...]:
    """Return the fields to pseudonymize, in the order of the endpoint's own list.

    :raises InvalidArgumentError: for a plain string, none, or a field that is no personal data.
    """
    known = ", ".join(PERSONAL_FIELDS)
    if isinstance(fields, str) or not fields:
        raise InvalidArgumentError(f"pseudonymize={fields!r} is not a list of fields; give some of {known}.")
    if unknown := [name for name in fields if name not in PERSONAL_FIELDS]:
        raise InvalidArgumentError(f"pseudonymize={list(fields)!r}: {unknown[0]!r} is none of {known}.")
    return tuple(name for name in PERSONAL_FIELDS if name in fields)


def _value_at(raw: bytes, place: int) -> tuple[Any, int]:
    text = raw[place:].decode()
    value, end = json.JSONDecoder().raw_decode(text)
    return value, place + len(text[:end].encode())


@dataclass(frozen=True)
class Treatment:
    """What is altered on the way: nothing, unless it was asked for.

    :param csv_safe: neutralise what a spreadsheet would take for a formula, by a ``'`` before it; see :func:`neutral`.
    """

    pseudonymizer: Pseudonymizer | None = None
    csv_safe: bool = False

    def __bool__(self) -> bool:
        return self.pseudonymizer is not None or self.csv_safe

    def event(self, raw: bytes) -> bytes:
        """Return an event of JSON as it is to be written."""
        return self.pseudonymizer.event(raw) if self.pseudonymizer else raw

    def rows(self, header: bytes) -> RowTreatment:
        """Return what treats the rows under a CSV header.

        :raises MissingColumnError: if a column that is to be pseudonymized is not there under a name that is known.
        """
        names = [name.strip() for name in next(csv.reader([header.removeprefix(codecs.BOM_UTF8).decode()]), [])]
        alter: dict[int, Callable[[str], str]] = {}
        if self.pseudonymizer:
            for personal in self.pseudonymizer.fields:
                places = [place for place, name in enumerate(names) if name in CSV_COLUMNS[personal]]
                if not places:
                    raise MissingColumnError(personal)
                alter.update(dict.fromkeys(places, self.pseudonymizer.token))
        return RowTreatment(alter, self.csv_safe, len(names))

    def as_dict(self) -> PersonalData:
        """Return what a manifest says of it."""
        made = self.pseudonymizer
        return {
            "csv_safe": self.csv_safe,
            "pseudonymized": list(made.fields) if made else [],
            "pseudonym_key_id": made.key.id if made else None,
        }


class MissingColumnError(ValueError):
    """A CSV has no column that is known to hold a personal field, so that it may stand under a name not known."""

    def __init__(self, personal: str) -> None:
        super().__init__(f"a CSV without a column {' or '.join(CSV_COLUMNS[personal])}, which is to be pseudonymized")


class Cell(NamedTuple):
    """A cell of a row: where its text stands, the text decoded, and whether quotes stand around it."""

    start: int
    end: int
    text: str
    quoted: bool


@dataclass(frozen=True)
class RowTreatment:
    """Alters the rows under one header.

    :param alter: what replaces a column's cells, by the column's place; empty cells stay empty.
    :param width: cells of a row.
    """

    alter: dict[int, Callable[[str], str]] = field(default_factory=dict)
    csv_safe: bool = False
    width: int = 0

    def header(self, header: bytes) -> bytes:
        """Return the header line as it is to be written."""
        mark = codecs.BOM_UTF8 if header.startswith(codecs.BOM_UTF8) else b""
        return mark + RowTreatment({}, self.csv_safe, self.width).row(header.removeprefix(mark))

    def row(self, record: bytes) -> bytes:
        """Return a record, with its line break, as it is to be written."""
        pieces: list[bytes] = []
        done = 0
        for place, cell in enumerate(cells(record)):
            text = cell.text
            if text and place in self.alter:
                text = self.alter[place](text)
            if self.csv_safe:
                text = neutral(text)
            if text != cell.text:
                pieces += record[done : cell.start], _written(text, cell.quoted)
                done = cell.end
        return b"".join((*pieces, record[done:])) if pieces else record


def neutral(text: str) -> str:
    """Return a cell's text with a ``'`` before whatever a spreadsheet could take for a formula.

    That is a formula's sign at the beginning of the cell, or behind a semicolon, tab or line break within it, also if
    spaces, quotes or invisible characters stand before the sign; and a tab or line break at the beginning.
    """
    safe = _FORMULA.sub(r"\1'", text)
    return "'" + safe if safe.startswith(("\t", "\r", "\n")) else safe


def cells(record: bytes) -> Iterator[Cell]:
    """Give a record's cells with their places, quotes included.

    :raises ValueError: for a record that is not made of cells.
    """
    place = 0
    while True:
        match = _CELL.match(record, place)
        if match is None:
            raise ValueError("a CSV row that cannot be cut into cells")
        quoted, rest, plain, end = match.groups()
        if quoted is None:
            yield Cell(match.start(), match.end(3), plain.decode(), False)
        else:
            yield Cell(match.start(), match.end(2), (quoted.replace(b'""', b'"') + rest).decode(), True)
        if end != b",":
            return
        place = match.end()


def _written(text: str, quoted: bool) -> bytes:
    # A cell that was written without quotes needs none for a token or a leading apostrophe.
    return b'"' + text.replace('"', '""').encode() + b'"' if quoted else text.encode()
