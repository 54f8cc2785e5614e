"""The columns of a CSV answer that checks, counts and filters use, found by name in its header."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from airflow_provider_curation.audit.errors import Asked, UnexpectedAnswerError

#: Columns that checks and counts use; all except the id may be missing.
_USED = ("id", "created_at", "action", "package_type", "policy_id", "policy_name")
#: The column of the curated repository: the CSV's name for it, and the JSON's.
REPOSITORY = ("curated_repo_name", "curated_repository_name")
#: Known answers have 27 columns.
_MOST_COLUMNS = 1000


class Columns:
    """The places of the used columns, found by name in the header."""

    def __init__(self, asked: Asked, header: bytes) -> None:
        self._asked = asked
        if header.count(b",") >= _MOST_COLUMNS:
            raise UnexpectedAnswerError(asked, f"a CSV of more than {_MOST_COLUMNS} columns")
        cells = next(csv.reader([header.removeprefix(codecs.BOM_UTF8).decode()]), [])
        names = [name.strip() for name in cells]
        if "id" not in names:
            raise UnexpectedAnswerError(asked, f"a CSV without a column named id ({len(names)} columns)")
        places = {name: names.index(name) for name in (*_USED, *REPOSITORY) if name in names}
        if repeated := [name for name in places if names.count(name) > 1]:
            raise UnexpectedAnswerError(asked, f"a CSV with more than one column named {repeated[0]}")
        self.line_break = b"\r\n" if header.endswith(b"\r\n") else b"\n"
        self._width = len(names)
        self._names = list(places)
        # Repeat the id, since itemgetter returns a tuple only for two columns or more.
        self._get = itemgetter(*places.values(), places["id"])

    def of(self, rows: list[list[str]]) -> Cells:
        """Return the used columns of some rows.

        :raises UnexpectedAnswerError: for a row with more or fewer cells than the header has.
        """
        widths = set(map(len, rows))
        if widths != {self._width}:
            cells = next(width for width in widths if width != self._width)
            raise UnexpectedAnswerError(self._asked, f"a CSV row of {cells} cells under {self._width} columns")
        columns = zip(*map(self._get, rows), strict=True)
        return Cells(dict(zip(self._names, columns, strict=False)), len(rows))


@dataclass(frozen=True)
class Cells:
    """The cells of some rows, by the names of their columns."""

    columns: dict[str, tuple[str, ...]]
    rows: int

    def of(self, *names: str) -> Sequence[str]:
        """Return the first of these columns that exists, or empty cells."""
        return next((self.columns[name] for name in names if name in self.columns), ("",) * self.rows)
