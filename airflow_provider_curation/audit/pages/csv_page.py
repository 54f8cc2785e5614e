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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import and_
from typing import IO

from airflow_provider_curation.audit.api.messages import looks_like_html, server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.endpoint import CSV_INCOMPLETE_MEMBER, CSV_MEMBER
from airflow_provider_curation.audit.errors import (
    CutAnswerError,
    IncompleteCsvError,
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
    new_body,
)
from airflow_provider_curation.audit.treatment import MissingColumnError, Treatment

_READ_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 18
# A cell may be longer than the 128 KiB that the csv module takes for a mistake.
csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
_DISORDER = "CSV rows that are not in ascending order of id, each event once"


@dataclass(frozen=True)
class CsvPage(Page):
    """A page whose body holds CSV rows.

    :param header: the server's header line, with its BOM and line break if any.
    :param answer_rows: rows in the answer, those of events that were left out included.
    """

    header: bytes = b""
    answer_rows: int = 0


@dataclass(frozen=True)
class AnswerEnd:
    """What is known of an answer's end: a server that counts rows, not events, may cut its last event.

    :param remaining: events from the answer's offset to the end of its window, if the server counted them.
    :param last_rows: rows that the window's last event should have.
    :param seen_rows: the most rows that an answer was seen to have: one that has fewer is not cut.
    """

    remaining: int | None = None
    last_rows: int = 1
    seen_rows: int = 0

    def is_whole(self, query: Query, events: int, last_rows: int, rows: int) -> bool:
        """Say whether the last of an answer's events has all of its rows."""
        may_be_cut = rows >= min(self.seen_rows, query.num_of_rows)
        if self.remaining is None:
            # Progress goes first: with two events, the overlap and one more, none can be left to the next page.
            return not may_be_cut or events < 3
        return events >= self.remaining and (last_rows >= self.last_rows or not may_be_cut)


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
        needed = ("id", "created_at", "action", "package_type")
        self._needed = {name: self._places[name] for name in needed if name in self._places}
        self._cut = max(self._needed.values()) + 1
        # A row without a policy has no cell from the policy's name on, in every order of columns seen.
        place = self._places.get("policy_name")
        self._after_policy = None if place is None else self._width - place

    def starts(self, block: bytes) -> tuple[dict[str, tuple[bytes, ...]], list[bytes]] | None:
        """Return a block's needed columns, cut at commas, and its lines; ``None`` if that could be wrong.

        It is right if no quote stands before the last needed column, and each line is a record.
        """
        lines = block.removesuffix(b"\n").split(b"\n")
        cut = self._cut
        parts = [line.split(b",", cut) for line in lines]
        if min(map(len, parts)) <= cut:
            return None
        columns = list(zip(*parts, strict=True))
        if b'"' in block:
            odd = 1 in map(and_, map(bytes.count, lines, repeat(b'"')), repeat(1))
            if odd or any(b'"' in b"".join(column) for column in columns[:cut]):
                return None
        return {name: columns[place] for name, place in self._needed.items()}, lines

    def policies(self, lines: list[bytes]) -> tuple[list[int], list[bytes]]:
        """Return which lines have a policy, and its name; each line is a record."""
        quoted = self._check_widths(lines)
        after = self._after_policy
        if after is None:
            return [], []
        # Quotes are balanced in a record, so empty cells at its end are what they look like.
        empty = b"," * after + self.line_break[:-1]
        places = [place for place, line in enumerate(lines) if not line.endswith(empty)]
        names = [lines[place].rsplit(b",", after)[-after] for place in places]
        if quoted:
            names = [
                quoted[place][-after].encode() if place in quoted else name
                for place, name in zip(places, names, strict=True)
            ]
        return places, [name.removesuffix(b"\r") for name in names] if after == 1 else names

    def _check_widths(self, lines: list[bytes]) -> dict[int, list[str]]:
        """Hold each row's number of cells against the header's, and return the cells of those that have quotes."""
        quoted = [place for place, line in enumerate(lines) if b'"' in line]
        parsed = dict(zip(quoted, csv.reader([lines[place].decode() for place in quoted]), strict=True))
        plain = [line for line in lines if b'"' not in line] if quoted else lines
        widths = {1 + commas for commas in set(map(bytes.count, plain, repeat(b",")))}
        widths.update(map(len, parsed.values()))
        if widths != {self._width}:
            raise self._ragged(next(width for width in widths if width != self._width))
        return parsed

    def cells(self, record: bytes) -> dict[str, str]:
        """Return a record's cells by the columns' names."""
        cells = next(csv.reader(io.StringIO(record.decode(), newline="")))
        if len(cells) != self._width:
            raise self._ragged(len(cells))
        return {name: cells[place] for name, place in self._places.items()}

    def _ragged(self, cells: int) -> UnexpectedAnswerError:
        return UnexpectedAnswerError(self._asked, f"a CSV row of {cells} cells under {self._width} columns")


def csv_page(
    query: Query,
    answer: IO[bytes],
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    end: AnswerEnd | None = None,
    treatment: Treatment | None = None,
) -> CsvPage:
    """Check a CSV answer and return its page.

    :param answer: the zip, on a seekable file.
    :param end: what is known of the end of the answer; tells whether its last event may be cut.
    :param treatment: what alters cells; ``None`` keeps the rows as they are.
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
                lines = io.BufferedReader(member, _READ_BYTES)  # type: ignore[type-var]
                header = lines.readline()
                gathered = _Gathered(query, header, wanted, overlaps, treatment)
                return _read_rows(gathered, lines, end or AnswerEnd())
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CutAnswerError(query.asked, f"a zip that is not whole ({error})") from error
    except MissingColumnError as error:
        raise UnexpectedAnswerError(query.asked, str(error)) from error
    except (ValueError, csv.Error, RuntimeError) as error:
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
        message = server_message(start, verbatim=False)
        raise UnexpectedAnswerError(query.asked, "200 with a body that is no zip", server_message=message)
    return answer


def _blocks(lines: IO[bytes]) -> Iterator[bytes]:
    """Give the rows in blocks of whole records: a line break between quotes ends none."""
    while block := lines.read(_BLOCK_BYTES):
        block += lines.readline()
        while block.count(b'"') % 2:
            line = lines.readline()
            if not line:
                raise csv.Error("a quoted cell without an end")
            block += line
        yield block


def _records(block: bytes) -> Iterator[bytes]:
    """Give a block's records: lines, joined where a line break stands between quotes."""
    pending = b""
    for line in io.BytesIO(block):
        pending += line
        if pending.count(b'"') % 2 == 0:
            yield pending
            pending = b""


def _read_rows(gathered: _Gathered, lines: IO[bytes], end: AnswerEnd) -> CsvPage:
    # The last event of a block may go on in the next one.
    rest = b""
    for block in _blocks(lines):
        rest = gathered.add_block(rest + block)
    return gathered.page(rest, end)


@dataclass
class _Event:
    key: EventKey
    cells: dict[str, str]
    rows: list[bytes]
    policies: set[str] = field(default_factory=set)


class _Gathered:
    """The events of one answer so far, checked and written block by block, so that memory stays flat."""

    def __init__(
        self, query: Query, header: bytes, wanted: EventFilter | None, overlaps: bool, treatment: Treatment | None
    ) -> None:
        self._query = query
        self._columns = _Columns(query, header)
        self._treated = treatment.rows(header) if treatment else None
        self._header = self._treated.header(header) if self._treated else header
        self._wanted = wanted
        self._skip = overlaps
        self._count = 0
        self._rows = 0
        self._first: EventKey | None = None
        self._last: EventKey | None = None
        self._head: set[EventKey] = set()
        self._tail: set[EventKey] = set()
        self._tally = Tally()
        self._body = new_body()

    def add_block(self, block: bytes) -> bytes:
        """Take in a block's events, but for the last one, whose rows are returned."""
        simple = not self._wanted and not self._query.dry_run and not self._skip and not self._treated
        cut = self._columns.starts(block) if simple else None
        if cut is None:
            events = self._events(block)
            rest = b"".join(events.pop().rows) if events else b""
            for event in events:
                self._add(event)
            self._check_times(events)
            return rest
        return self._add_simple(block, *cut)

    def _add_simple(self, block: bytes, starts: dict[str, tuple[bytes, ...]], lines: list[bytes]) -> bytes:
        """Take in a block of which every event is kept as it is, without parsing its rows."""
        ids = list(map(int, starts["id"]))
        rows = len(ids)
        while rows and ids[rows - 1] == ids[-1]:
            rows -= 1
        if not rows:
            return block
        end = len(block)
        for _ in range(len(ids) - rows + block.endswith(b"\n")):
            end = block.rindex(b"\n", 0, end)
        ids = ids[:rows]
        if ids != sorted(ids) or (self._last is not None and ids[0] <= self._last[0]):
            raise RowsShiftedError(self._query.asked, _DISORDER)
        self._rows += rows
        times = starts["created_at"][:rows] if "created_at" in starts else (b"",) * rows
        if "created_at" in starts:
            check_times(self._query, _ends(times))
        events = len(set(ids))
        tally = Tally(read=events, kept=events, rows=rows)
        tally.first, tally.last = EventMark(ids[0], times[0].decode()), EventMark(ids[-1], times[-1].decode())
        tally.ids = IdsDigest.of(ids if events == rows else list(dict.fromkeys(ids)))
        for counts, column in ((tally.actions, "action"), (tally.package_types, "package_type")):
            cells = starts[column][:rows] if column in starts else (b"",) * rows
            # An event's rows agree on these; the last row's are taken.
            own = cells if events == rows else dict(zip(ids, cells, strict=True)).values()
            for name, count in Counter(own).items():
                counts[name.decode() or UNKNOWN] += count
        places, policies = self._columns.policies(lines[:rows])
        if events != rows:
            policies = [name for _, name in {(ids[place], name) for place, name in zip(places, policies, strict=True)}]
        for name, count in Counter(policies).items():
            if name:
                tally.policies[name.decode()] += count
        self._tally.add(tally)
        self._count += events
        self._first = self._first or (ids[0], ())
        self._last = (ids[-1], ())
        self._tail = {self._last}
        self._body.write(memoryview(block)[: end + 1])
        return block[end + 1 :]

    def _events(self, block: bytes) -> list[_Event]:
        events: list[_Event] = []
        for record in _records(block):
            if not record.strip():
                continue
            cells = self._columns.cells(record)
            key = (int(cells["id"]), (cells.get("policy_id", ""),) if self._query.dry_run else ())
            if events and events[-1].key == key and not self._query.dry_run:
                events[-1].rows.append(record)
            else:
                events.append(_Event(key, cells, [record]))
            if name := cells.get("policy_name"):
                events[-1].policies.add(name)
        return events

    def _add(self, event: _Event) -> None:
        """Take in the next event.

        :raises RowsShiftedError: if its id does not ascend, or its id and policy were there before.
        """
        key = event.key
        if self._last is not None and (key[0] < self._last[0] or key in self._tail):
            raise RowsShiftedError(self._query.asked, _DISORDER)
        if self._last is None or key[0] != self._last[0]:
            self._tail = set()
        self._tail.add(key)
        if self._first is None:
            self._first = key
        if key[0] == self._first[0]:
            self._head.add(key)
        self._last = key
        self._count += 1
        self._rows += len(event.rows)
        if self._skip:
            # The event that overlaps the page before.
            self._skip = False
            return
        self._tally.read += 1
        if not self._wanted or self._wants(self._wanted, event):
            self._keep(event)

    def _keep(self, event: _Event) -> None:
        tally = self._tally
        tally.kept += 1
        tally.rows += len(event.rows)
        tally.last = EventMark(event.key[0], event.cells.get("created_at", ""))
        tally.first = tally.first or tally.last
        tally.ids.add(IdsDigest.of_dry_run([event.key]) if self._query.dry_run else IdsDigest.of([event.key[0]]))
        tally.actions[event.cells.get("action") or UNKNOWN] += 1
        tally.package_types[event.cells.get("package_type") or UNKNOWN] += 1
        tally.policies.update(event.policies)
        if not event.rows[-1].endswith(b"\n"):
            # The answer's last row; rows of the next answer may follow.
            event.rows[-1] += self._columns.line_break
        self._body.writelines(map(self._treated.row, event.rows) if self._treated else event.rows)

    def _wants(self, wanted: EventFilter, event: _Event) -> bool:
        cells = event.cells
        rows = [cells, *map(self._columns.cells, event.rows[1:])]
        policies = [row.get(name, "") for row in rows for name in ("policy_name", "policy_id")]
        repository = cells.get("curated_repo_name") or cells.get("curated_repository_name") or ""
        kind = cells.get("package_type", "")
        return wanted.wants(cells.get("action", ""), kind, repository, [policy for policy in policies if policy])

    def _check_times(self, events: list[_Event]) -> None:
        check_times(self._query, [event.cells["created_at"] for event in events if "created_at" in event.cells])

    def page(self, rest: bytes, end: AnswerEnd) -> CsvPage:
        """Return the page; the last event is left out if the answer may have been cut inside it."""
        events = self._events(rest)
        self._check_times(events)
        answer_rows = self._rows + sum(len(event.rows) for event in events)
        for event in events:
            if end.is_whole(self._query, self._count + 1, len(event.rows), answer_rows):
                self._add(event)
        head = self._head if self._query.dry_run else {self._first} if self._first else set()
        return CsvPage(
            count=self._count,
            first=self._first,
            last=self._last,
            head=frozenset(head),
            tail=frozenset(self._tail),
            total=None,
            tally=self._tally,
            body=self._body,
            header=self._header,
            answer_rows=answer_rows,
        )


def _ends(times: Sequence[bytes]) -> list[str]:
    """Return the first and the last of many times, or all of them if their text does not order them."""
    in_utc = all(map(bytes.endswith, times, repeat(b"Z")))
    return [time.decode() for time in ((min(times), max(times)) if in_utc else times)]
