"""A CSV answer's zip, made into a page of checked events or a named error.

The rows are kept as the server's own bytes. Columns are found by name, since their list is not documented; a row is
parsed by :mod:`csv` only where cutting it at commas could be wrong.
"""

from __future__ import annotations

import codecs
import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from airflow_provider_curation.audit.endpoint import CSV_INCOMPLETE_MEMBER, CSV_MEMBER
from airflow_provider_curation.audit.errors import (
    CutAnswerError,
    IncompleteCsvError,
    NotTheApiError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.page import (
    EventKey,
    EventMark,
    Page,
    Tally,
    check_times,
    looks_like_html,
    new_body,
    server_message,
)
from airflow_provider_curation.audit.query import Query

_READ_BYTES = 1 << 20
#: Events that are checked and written at a time.
_BATCH = 4096


@dataclass(frozen=True)
class CsvPage(Page):
    """A page whose body holds CSV rows; ``header`` is the server's header line, with its BOM and line break if any."""

    header: bytes = b""


class _Columns:
    """Where the columns that checks and filters need stand; found by name in the header."""

    def __init__(self, query: Query, header: bytes) -> None:
        names = next(csv.reader([header.removeprefix(codecs.BOM_UTF8).decode()]), [])
        self._places = {name.strip(): place for place, name in enumerate(names)}
        if "id" not in self._places:
            raise UnexpectedAnswerError(query.asked, f"a CSV without a column named id ({len(names)} columns)")
        self._width = len(names)
        self._asked = query.asked
        self.line_break = b"\r\n" if header.endswith(b"\r\n") else b"\n"
        self.id = self._places["id"]
        self.policy_id = self._places.get("policy_id", self.id)
        needed = ("id", "created_at", "action", *(("policy_id",) if query.dry_run else ()))
        # Cutting only as far as the last needed column keeps most rows from being parsed.
        self._cut = 1 + max(self._places.get(name, 0) for name in needed)

    def cells(self, record: bytes, whole: bool = False) -> list[str]:
        """Return a row's cells: the first ones that checks need, or all of them."""
        if not whole:
            parts = record.split(b",", self._cut)
            if len(parts) > self._cut and b'"' not in record[: len(record) - len(parts[-1])]:
                return [part.decode() for part in parts[:-1]]
        cells = next(csv.reader(io.StringIO(record.decode(), newline="")))
        if len(cells) != self._width:
            raise UnexpectedAnswerError(self._asked, f"a CSV row of {len(cells)} cells under {self._width} columns")
        return cells

    def cell(self, cells: list[str], name: str, other: str = "") -> str:
        place = self._places.get(name)
        return cells[place] if place is not None else other


def csv_page(
    query: Query,
    answer: IO[bytes],
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    remaining: int | None = None,
) -> CsvPage:
    """Check a CSV answer and return its page.

    :param answer: the zip, on a seekable file.
    :param remaining: events from the query's offset to the end of its window, if the server counted them. An answer
        that holds fewer may have been cut inside its last event, if the server counts rows: that event is left to the
        next page.
    :raises IncompleteCsvError: if the member's name says that events are missing.
    :raises CutAnswerError: for a zip that is cut, or whose CRC does not fit.
    :raises UnexpectedAnswerError: for another kind of answer.
    """
    try:
        with zipfile.ZipFile(_check_zip(query, answer)) as archive:
            names = archive.namelist()
            if names == [CSV_INCOMPLETE_MEMBER]:
                raise IncompleteCsvError(query.asked, f"a zip with {CSV_INCOMPLETE_MEMBER}: not all events fit into it")
            if names != [CSV_MEMBER]:
                raise UnexpectedAnswerError(query.asked, f"a zip with {len(names)} members instead of {CSV_MEMBER}")
            with archive.open(CSV_MEMBER) as member:
                return _read_member(query, io.BufferedReader(member, _READ_BYTES), wanted, overlaps, remaining)  # type: ignore[type-var]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CutAnswerError(query.asked, f"a zip that is not whole ({error})") from error
    except (ValueError, csv.Error, StopIteration) as error:
        raise UnexpectedAnswerError(query.asked, f"a CSV that cannot be read ({type(error).__name__})") from error


def _check_zip(query: Query, answer: IO[bytes]) -> IO[bytes]:
    answer.seek(0)
    start = answer.read(4096)
    answer.seek(0)
    if not start:
        raise CutAnswerError(query.asked, "200 with an empty body")
    if looks_like_html(start):
        raise NotTheApiError(query.asked, "200 with a page of HTML", server_message=server_message(start))
    if not start.startswith(b"PK"):
        raise UnexpectedAnswerError(query.asked, "200 with a body that is no zip", server_message=server_message(start))
    return answer


def _records(lines: IO[bytes]) -> Iterator[bytes]:
    """Give CSV records: lines, joined where a line break stands between quotes."""
    pending = b""
    for line in lines:
        record = pending + line if pending else line
        if record.count(b'"') % 2:
            pending = record
            continue
        pending = b""
        yield record
    if pending:
        raise csv.Error("a quoted cell without an end")


def _read_member(
    query: Query, lines: IO[bytes], wanted: EventFilter | None, overlaps: bool, remaining: int | None
) -> CsvPage:
    records = _records(lines)
    header = next(records)
    columns = _Columns(query, header)
    gathered = _Gathered(query, columns, wanted, overlaps)
    event: _Event | None = None
    for record in records:
        cells = columns.cells(record)
        key = (int(cells[columns.id]), (cells[columns.policy_id],) if query.dry_run else ())
        if event is not None and event.key == key and not query.dry_run:
            event.rows.append(record)
            continue
        if event is not None:
            gathered.add(event)
        event = _Event(key, cells, [record])
    if event is not None and (gathered.count == 0 or remaining is None or gathered.count + 1 >= remaining):
        gathered.add(event)
    return gathered.page(header)


@dataclass
class _Event:
    key: EventKey
    cells: list[str]
    rows: list[bytes]


class _Gathered:
    """The events of one answer so far, checked and written batch by batch, so that memory stays flat."""

    def __init__(self, query: Query, columns: _Columns, wanted: EventFilter | None, overlaps: bool) -> None:
        self._query = query
        self._columns = columns
        self._wanted = wanted
        self._overlaps = overlaps
        self.count = 0
        self._first: EventKey | None = None
        self._last: EventKey | None = None
        self._head: set[EventKey] = set()
        self._tail: set[EventKey] = set()
        self._tally = Tally()
        self._body = new_body()
        self._times: list[str] = []
        self._actions: list[str] = []
        self._rows: list[bytes] = []

    def add(self, event: _Event) -> None:
        """Take in the next event.

        :raises RowsShiftedError: if its id does not ascend, or its id and policy were there before.
        """
        key = event.key
        if self._last is not None and (key[0] < self._last[0] or key in self._tail):
            raise RowsShiftedError(self._query.asked, "CSV rows that are not in ascending order of id, each event once")
        if self._last is None or key[0] != self._last[0]:
            self._tail = set()
        self._tail.add(key)
        if self._first is None:
            self._first = key
        if self._query.dry_run and key[0] == self._first[0]:
            self._head.add(key)
        self._last = key
        self.count += 1
        columns = self._columns
        created_at = columns.cell(event.cells, "created_at")
        if created_at:
            self._times.append(created_at)
        if self.count > 1 or not self._overlaps:
            self._tally.read += 1
            if self._wanted is None or self._wants(self._wanted, event):
                self._keep(key, created_at, event)
        if len(self._times) >= _BATCH or len(self._rows) >= _BATCH:
            self._flush()

    def _keep(self, key: EventKey, created_at: str, event: _Event) -> None:
        tally = self._tally
        tally.kept += 1
        tally.rows += len(event.rows)
        tally.last = EventMark(key[0], created_at)
        tally.first = tally.first or tally.last
        self._actions.append(self._columns.cell(event.cells, "action", "unknown"))
        if not event.rows[-1].endswith(b"\n"):
            # The answer's last row; rows of the next answer may follow.
            event.rows[-1] += self._columns.line_break
        self._rows += event.rows

    def _wants(self, wanted: EventFilter, event: _Event) -> bool:
        columns = self._columns
        rows = [columns.cells(row, whole=True) for row in event.rows]
        policies = [columns.cell(cells, name) for cells in rows for name in ("policy_name", "policy_id")]
        repository = columns.cell(rows[0], "curated_repo_name") or columns.cell(rows[0], "curated_repository_name")
        kind = columns.cell(rows[0], "package_type")
        return wanted.wants(
            columns.cell(rows[0], "action"), kind, repository, [policy for policy in policies if policy]
        )

    def _flush(self) -> None:
        check_times(self._query, self._times)
        self._tally.actions.update(self._actions)
        self._body.writelines(self._rows)
        self._times, self._actions, self._rows = [], [], []

    def page(self, header: bytes) -> CsvPage:
        self._flush()
        head = self._head if self._query.dry_run else {self._first} if self._first else set()
        return CsvPage(
            count=self.count,
            first=self._first,
            last=self._last,
            head=frozenset(head),
            tail=frozenset(self._tail),
            total=None,
            tally=self._tally,
            body=self._body,
            header=header,
        )
