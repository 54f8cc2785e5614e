"""Turns a CSV answer's zip into a page of checked events, or raises a named error.

The rows stay the server's own bytes. Columns are found by name, since their list is not documented.
"""

from __future__ import annotations

import csv
import struct
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    AnswerTooLargeError,
    CutAnswerError,
    RowsShiftedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages.csv_archive import csv_member
from airflow_provider_curation.audit.pages.csv_blocks import Block, read_blocks
from airflow_provider_curation.audit.pages.csv_columns import REPOSITORY, Cells, Columns
from airflow_provider_curation.audit.pages.page import (
    UNKNOWN,
    EventKey,
    EventMark,
    Page,
    Tally,
    check_times,
    worker_faults_named,
)
from airflow_provider_curation.audit.pages.page_body import new_body
from airflow_provider_curation.audit.treatment import MissingColumnError, Treatment

#: Known events have one row for each of their policies.
_MOST_ROWS_OF_AN_EVENT = 10_000


@dataclass(frozen=True)
class CsvPage(Page):
    """A page whose body holds CSV rows.

    :param header: the server's header line, with its BOM and line break if any.
    :param answer_rows: rows in the answer, including those of events that were left out.
    """

    header: bytes = b""
    answer_rows: int = 0


@dataclass(frozen=True)
class AnswerEnd:
    """What is known about an answer's end: a server that counts rows, not events, may truncate its last event.

    :param remaining: events from the answer's offset to the end of its window, if the server counted them.
    :param last_rows: rows that the window's last event should have.
    :param seen_rows: the most rows seen in an answer; an answer with fewer is not truncated.
    """

    remaining: int | None = None
    last_rows: int = 1
    seen_rows: int = 0

    def is_whole(self, query: Query, events: int, last_rows: int, rows: int) -> bool:
        """Return whether the last of an answer's events has all of its rows."""
        may_be_cut = rows >= min(self.seen_rows, query.num_of_rows)
        if self.remaining is None:
            # With only two events, the overlap and one more, leaving one to the next page would make no progress.
            return not may_be_cut or events < 3
        return events >= self.remaining and (last_rows >= self.last_rows or not may_be_cut)


def csv_page(
    query: Query,
    answer: IO[bytes],
    wanted: EventFilter | None = None,
    overlaps: bool = False,
    end: AnswerEnd | None = None,
    treatment: Treatment | None = None,
    limits: Limits | None = None,
) -> CsvPage:
    """Check a CSV answer and return its page.

    :param answer: the zip, as a seekable file.
    :param wanted: which events to keep; ``None`` keeps all.
    :param overlaps: the first event is the last one of the page before, and is left out of the body.
    :param end: what is known about the answer's end, and so whether its last event may be truncated.
    :param treatment: what alters cells; ``None`` keeps the rows as they are.
    :raises IncompleteCsvError: if the member's name says that events are missing.
    :raises CutAnswerError: for a zip that is truncated, or does not match its CRC.
    :raises RowsShiftedError: for ids that do not ascend, or a repeated row of an event.
    :raises EndInclusiveError: for an event at the window's end.
    :raises AnswerTooLargeError: for an answer that exceeds a limit.
    :raises UnexpectedAnswerError: for another kind of answer.
    :raises WorkerResourceError: if the worker runs out of memory or disk space.
    """
    asked, limits = query.asked, limits or Limits()
    try:
        with worker_faults_named(asked), csv_member(asked, answer, limits) as member:
            header = member.readline(limits.max_line_bytes + 1)
            if len(header) > limits.max_line_bytes:
                raise AnswerTooLargeError(asked, f"a CSV header {limits.exceeded('max_line_bytes')}")
            gathered = _Gathered(query, header, wanted, overlaps, treatment, limits)
            for block in read_blocks(asked, member, limits):
                gathered.add(block)
            return gathered.page(end or AnswerEnd())
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CutAnswerError(asked, f"a truncated or damaged zip ({error})") from error
    except MissingColumnError as error:
        raise UnexpectedAnswerError(asked, str(error)) from error
    except UnicodeDecodeError as error:
        raise UnexpectedAnswerError(asked, f"a CSV with bytes that are not UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise UnexpectedAnswerError(asked, f"a CSV that cannot be parsed ({error})") from error
    except (ValueError, RuntimeError, OverflowError, struct.error) as error:
        raise UnexpectedAnswerError(asked, f"a CSV that cannot be read ({type(error).__name__})") from error


class _Gathered:
    """The events of one answer so far, checked and written block by block, so that memory stays flat."""

    def __init__(
        self,
        query: Query,
        header: bytes,
        wanted: EventFilter | None,
        overlaps: bool,
        treatment: Treatment | None,
        limits: Limits,
    ) -> None:
        self._query = query
        self._columns = Columns(query.asked, header)
        self._treated = treatment.rows(header) if treatment else None
        self._header = self._treated.header(header) if self._treated else header
        self._wanted = wanted
        self._skip = overlaps
        self._limits = limits
        self._count = 0
        self._rows = 0
        self._first: EventKey | None = None
        self._last: EventKey | None = None
        self._head: set[EventKey] = set()
        self._tail: set[EventKey] = set()
        self._tally = Tally()
        self._body = new_body()
        # Rows of the last event so far, which may go on in the next block.
        self._rest = Block([], [])

    def add(self, block: Block) -> None:
        """Take a block's events, apart from the last one, whose rows are kept for later.

        :raises RowsShiftedError: if ids do not ascend, or a row comes twice.
        """
        rows, records = self._rest.rows + block.rows, self._rest.records + block.records
        if not rows:
            return
        cells = self._columns.of(rows)
        ids = list(map(int, cells.of("id")))
        check_times(self._query, cells.of("created_at") if "created_at" in cells.columns else ())
        if ids != sorted(ids) or (self._last is not None and ids[0] < self._last[0]):
            raise self._disorder()
        whole = len(ids) - 1 if self._query.dry_run else ids.index(ids[-1])
        self._rest = Block(rows[whole:], records[whole:])
        if sum(map(len, self._rest.records)) > self._limits.max_line_bytes:
            raise AnswerTooLargeError(
                self._query.asked, f"a CSV with rows of one event {self._limits.exceeded('max_line_bytes')}"
            )
        if len(self._rest.rows) > _MOST_ROWS_OF_AN_EVENT:
            raise UnexpectedAnswerError(self._query.asked, f"a CSV with {len(self._rest.rows)} rows of one event")
        if whole:
            self._take(cells, ids[:whole], records[:whole])

    def page(self, end: AnswerEnd) -> CsvPage:
        """Return the page; the last event is left out if the answer may have been cut inside it."""
        rows, records = self._rest
        answer_rows = self._rows + len(rows)
        if rows and end.is_whole(self._query, self._count + 1, len(rows), answer_rows):
            if not records[-1].endswith(b"\n"):
                # The answer's last row; rows of the next answer may follow.
                records[-1] += self._columns.line_break
            cells = self._columns.of(rows)
            self._take(cells, list(map(int, cells.of("id"))), records)
        return CsvPage(
            count=self._count,
            first=self._first,
            last=self._last,
            head=frozenset(self._head),
            tail=frozenset(self._tail),
            total=None,
            tally=self._tally,
            body=self._body,
            header=self._header,
            answer_rows=answer_rows,
        )

    def _take(self, cells: Cells, ids: list[int], records: list[bytes]) -> None:
        """Take the first rows of some cells: all rows of the next events, in order of id."""
        single = len(set(ids)) == len(ids)
        self._check_rows(cells, ids, records, single)
        self._note_ends(cells, ids)
        # Where each event's rows begin, and behind the last one.
        starts = list(range(len(ids) + 1))
        if not single and not self._query.dry_run:
            starts = [place for place in starts[:-1] if not place or ids[place] != ids[place - 1]] + starts[-1:]
        self._count += len(starts) - 1
        self._rows += len(ids)
        if self._count > self._query.num_of_rows:
            raise UnexpectedAnswerError(self._query.asked, f"{self._count} events, more than were asked for")
        if self._skip:
            # The event that overlaps the page before.
            self._skip = False
            starts = starts[1:]
        spans = list(pairwise(starts))
        kept = records[starts[0] :]
        read = len(spans)
        if self._wanted:
            spans = self._wanted_spans(self._wanted, cells, spans)
            kept = [record for start, end in spans for record in records[start:end]]
        self._keep(cells, ids, spans, read, len(kept))
        self._body.write(b"".join(map(self._treated.row, kept) if self._treated else kept))

    def _check_rows(self, cells: Cells, ids: list[int], records: list[bytes], single: bool) -> None:
        """Check that no row comes twice: each row of an event has another policy.

        :raises RowsShiftedError: if one does.
        """
        if single and not self._query.dry_run:
            return
        named = "policy_id" in cells.columns or "policy_name" in cells.columns
        rows = set(zip(ids, cells.of("policy_id", "policy_name") if named else records, strict=False))
        again = self._query.dry_run and any((number, (policy,)) in self._tail for number, policy in rows)
        if again or len(rows) != len(ids):
            raise self._disorder()

    def _note_ends(self, cells: Cells, ids: list[int]) -> None:
        """Note the first and the last key so far, and in the dry-run stream those that share their ids."""

        def keys(number: int) -> list[EventKey]:
            if not self._query.dry_run:
                return [(number, ())]
            policies = cells.of("policy_id")
            return [
                (number, (policies[place],)) for place in range(bisect_left(ids, number), bisect_right(ids, number))
            ]

        if self._first is None:
            self._first = keys(ids[0])[0]
        if ids[0] == self._first[0]:
            self._head.update(keys(ids[0]))
        if self._last is None or ids[-1] != self._last[0]:
            self._tail = set()
        last = keys(ids[-1])
        self._tail.update(last)
        self._last = last[-1]

    def _wanted_spans(self, wanted: EventFilter, cells: Cells, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        actions, types, repositories = cells.of("action"), cells.of("package_type"), cells.of(*REPOSITORY)
        names, numbers = cells.of("policy_name"), cells.of("policy_id")
        return [
            (start, end)
            for start, end in spans
            if wanted.wants(
                actions[start],
                types[start],
                repositories[start],
                [policy for policy in (*names[start:end], *numbers[start:end]) if policy],
            )
        ]

    def _keep(self, cells: Cells, ids: list[int], spans: list[tuple[int, int]], read: int, rows: int) -> None:
        """Count the events that were read, and those of them that are kept."""
        tally = Tally(read=read, kept=len(spans), rows=rows)
        if spans:
            firsts = [start for start, _ in spans]
            times, names = cells.of("created_at"), cells.of("policy_name")
            for counts, column in ((tally.actions, "action"), (tally.package_types, "package_type")):
                values = cells.of(column)
                counts.update([values[first] or UNKNOWN for first in firsts])
            if len(spans) == rows:
                tally.policies.update(filter(None, [names[first] for first in firsts]))
            else:
                # A policy's name counts once an event, even if two of the event's policies have the same one.
                named = {(first, name) for first, end in spans for name in names[first:end] if name}
                tally.policies.update([name for _, name in named])
            tally.first = EventMark(ids[firsts[0]], times[firsts[0]])
            tally.last = EventMark(ids[firsts[-1]], times[firsts[-1]])
            if self._query.dry_run:
                policies = cells.of("policy_id")
                tally.ids = IdsDigest.of_dry_run((ids[first], (policies[first],)) for first in firsts)
            else:
                tally.ids = IdsDigest.of([ids[first] for first in firsts])
        self._tally.add(tally)

    def _disorder(self) -> RowsShiftedError:
        problem = "CSV rows that are not in ascending order of id, each event and policy once"
        return RowsShiftedError(self._query.asked, problem)
