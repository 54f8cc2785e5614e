"""What is altered in evidence on its way into an object, if requested: personal data and dangerous cells.

Values are replaced in the server's own bytes; everything around them stays as it is.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypedDict

from airflow_provider_curation.audit.csv_safe import neutral
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer

#: The names of a personal field's column, since CSV has another name for one of them.
CSV_COLUMNS: Final = {"username": ("username", "user_name"), "user_mail": ("user_mail",)}
# A quoted cell (and what may follow the quotes) or an unquoted one, and what ends it.
_CELL = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"([^,\r\n]*)|([^,\r\n]*))(,|\r*\n?\Z)')


class PersonalData(TypedDict, total=False):
    """What a manifest says about a treatment."""

    pseudonymized: list[str]
    pseudonym_key_id: str | None
    csv_safe: bool


@dataclass(frozen=True)
class Treatment:
    """What is altered: nothing, unless requested.

    :param csv_safe: put a ``'`` before what a spreadsheet would read as a formula; see :mod:`.csv_safe`.
    """

    pseudonymizer: Pseudonymizer | None = None
    csv_safe: bool = False

    def __bool__(self) -> bool:
        return self.pseudonymizer is not None or self.csv_safe

    def event(self, raw: bytes) -> bytes:
        """Return a JSON event as it will be written."""
        return self.pseudonymizer.event(raw) if self.pseudonymizer else raw

    def rows(self, header: bytes) -> RowTreatment:
        """Return the treatment of the rows under a CSV header.

        :raises MissingColumnError: if no column has a known name of a field that should be pseudonymized.
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
        """Return what a manifest says about it."""
        made = self.pseudonymizer
        return {
            "csv_safe": self.csv_safe,
            "pseudonymized": list(made.fields) if made else [],
            "pseudonym_key_id": made.key.id if made else None,
        }


class MissingColumnError(ValueError):
    """A CSV has no known column for a personal field, which could therefore be in an unknown one."""

    def __init__(self, personal: str) -> None:
        super().__init__(f"a CSV without a column {' or '.join(CSV_COLUMNS[personal])}, which is to be pseudonymized")


class Cell(NamedTuple):
    """A cell of a row: the place of its text, the decoded text, and whether it is quoted."""

    start: int
    end: int
    text: str
    quoted: bool


@dataclass(frozen=True)
class RowTreatment:
    """Alters the rows under one header.

    :param alter: the function that replaces a column's cells, by the column's place; empty cells stay empty.
    :param width: cells of a row.
    """

    alter: dict[int, Callable[[str], str]] = field(default_factory=dict)
    csv_safe: bool = False
    width: int = 0

    def header(self, header: bytes) -> bytes:
        """Return the header line as it will be written."""
        mark = codecs.BOM_UTF8 if header.startswith(codecs.BOM_UTF8) else b""
        return mark + RowTreatment({}, self.csv_safe, self.width).row(header.removeprefix(mark))

    def row(self, record: bytes) -> bytes:
        """Return a record, with its line break, as it will be written."""
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


def cells(record: bytes) -> Iterator[Cell]:
    """Yield a record's cells with their places, including quotes.

    :raises ValueError: for a record that cannot be split into cells.
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
    # A cell without quotes does not need them for a token or a leading apostrophe.
    return b'"' + text.replace('"', '""').encode() + b'"' if quoted else text.encode()
