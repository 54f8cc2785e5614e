"""The bodies of answers: JSON pages and CSV archives, in the form that the settings choose."""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from airflow_provider_curation.audit.endpoint import CSV_INCOMPLETE_MEMBER, CSV_MEMBER
from airflow_provider_curation.simulator.events_csv import CsvEvents
from airflow_provider_curation.simulator.events_json import EventObjects, JsonEvents, stamp, to_bytes
from airflow_provider_curation.simulator.query import Query
from airflow_provider_curation.simulator.settings import (
    CsvCount,
    EmptyPage,
    EndBound,
    JsonLayout,
    LastPage,
    MetaPlace,
    RowsEcho,
    SimulatorSettings,
    ZipTime,
)
from airflow_provider_curation.simulator.store import Piece, Rows, Run, Store

#: Rows rendered at a time where an answer can be long.
_STRETCH: Final = 5_000
_ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Answer:
    """A body with how many rows it holds, and how many the offset skipped."""

    body: bytes
    rows: int
    skipped: int


class Answers:
    """Makes bodies out of the store's rows."""

    def __init__(self, settings: SimulatorSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._objects = EventObjects(store.dataset, settings.shape)
        self._json = JsonEvents(store.dataset, self._objects, settings.layout, settings.text)
        self._compact = JsonEvents(store.dataset, self._objects, JsonLayout.COMPACT, settings.text)
        self._csv = CsvEvents(store.dataset, self._objects, settings)
        self._cache = _Cache(settings.cache_bytes)

    # What is true, whatever an answer shows of it

    def objects(self, rows: Rows, dry_run: bool) -> Iterator[dict[str, Any]]:
        """Each row as an object."""
        for piece in _stretches(rows.pieces):
            yield from self._objects.rows(piece, dry_run)

    def lines(self, rows: Rows, dry_run: bool) -> Iterator[bytes]:
        """Each row as compact JSON."""
        for piece in _stretches(rows.pieces):
            for line in self._compact.lines(piece, dry_run):
                yield to_bytes(line)

    def csv_content(self, rows: Rows, dry_run: bool) -> bytes:
        """All rows as the content of one CSV member."""
        return b"".join(self._csv_chunks(rows.pieces, dry_run, descending=False))

    # Answers

    def page(self, query: Query, ignore_offset: bool, shorter: bool) -> Answer:
        """A JSON page; ``shorter`` asks for a page that lacks some rows."""
        settings = self._settings
        rows = self._rows(query)
        offset = 0 if ignore_offset else query.offset
        allowed = min(query.num_of_rows, settings.json_rows)
        if shorter:
            allowed = max(1, allowed - settings.short_page_by)
        first, stop = min(offset, rows.total), min(offset + allowed, rows.total)
        data = self._data(rows, first, stop, query)
        meta = self._json.value(self._meta(query, rows.total, stop - first, last=stop >= rows.total), 1)
        return Answer(self._envelope(data, to_bytes(meta)), stop - first, first)

    def archive(self, query: Query) -> Answer:
        """A zip with one CSV member."""
        settings = self._settings
        rows = self._rows(query)
        incomplete = rows.total > settings.csv_incomplete_over
        within = min(rows.total, settings.csv_incomplete_over)
        first = min(query.offset, within)
        stop = min(query.offset + min(query.num_of_rows, settings.csv_rows), within)
        member = CSV_INCOMPLETE_MEMBER if incomplete else CSV_MEMBER
        descending = query.direction == "desc"
        pieces = rows.part(rows.total - stop, rows.total - first) if descending else rows.part(first, stop)
        key = ("csv", member, tuple(pieces), query.dry_run, descending, query.num_of_rows)
        if settings.csv_zip_time is ZipTime.CURRENT:
            return Answer(self._archive(member, pieces, query), stop - first, first)
        return Answer(self._cache.get(key, lambda: self._archive(member, pieces, query)), stop - first, first)

    def compressed(self, body: bytes) -> bytes:
        """A body as gzip, the same bytes each time."""
        return self._cache.get(("gzip", blake2b(body).digest()), lambda: _gzip(body))

    def _rows(self, query: Query) -> Rows:
        if not self._settings.entitled:
            return Rows((), 0)
        inclusive = self._settings.end_bound is EndBound.INCLUSIVE
        end = int(query.end.timestamp()) + (1 if inclusive else 0)
        return self._store.rows(int(query.start.timestamp()), end, query.dry_run)

    # JSON

    def _data(self, rows: Rows, first: int, stop: int, query: Query) -> bytes:
        if first >= stop:
            return b"null" if self._settings.empty_page is EmptyPage.NULL else b"[]"
        descending = query.direction == "desc"
        pieces = rows.part(rows.total - stop, rows.total - first) if descending else rows.part(first, stop)
        key = ("json", tuple(pieces), query.dry_run, descending)
        return self._cache.get(key, lambda: self._list(pieces, query.dry_run, descending))

    def _list(self, pieces: list[Piece], dry_run: bool, descending: bool) -> bytes:
        lines: list[str] = []
        for piece in pieces:
            lines += self._json.lines(piece, dry_run)
        if descending:
            lines.reverse()
        if self._settings.layout is JsonLayout.PRETTY:
            return to_bytes("[\n  " + ",\n  ".join(lines) + "\n ]")
        return to_bytes("[" + ",".join(lines) + "]")

    def _envelope(self, data: bytes, meta: bytes) -> bytes:
        pretty = self._settings.layout is JsonLayout.PRETTY
        space, colon = (b"\n ", b": ") if pretty else (b"", b":")
        members = [b'"data"' + colon + data, b'"meta"' + colon + meta]
        if self._settings.meta_place is MetaPlace.BEFORE:
            members.reverse()
        return b"{" + space + (b"," + space).join(members) + (b"\n}" if pretty else b"}")

    def _meta(self, query: Query, total: int, count: int, last: bool) -> dict[str, Any]:
        settings = self._settings
        capped = min(query.num_of_rows, settings.json_rows)
        meta: dict[str, Any] = {
            "total_count": total,
            "result_count": count,
            "next_offset": query.offset + count,
            "order_by": "id",
            "direction": query.direction,
            "num_of_rows": query.num_of_rows if settings.rows_echo is RowsEcho.ASKED else capped,
            "offset": query.offset,
            "include_total": query.include_total,
            "include_explanation_and_recommendation": query.explain,
            "created_at_start": _time(query.start),
            "created_at_end": _time(query.end),
        }
        if not (query.include_total and settings.total_count):
            del meta["total_count"]
        if last and settings.last_page is LastPage.ABSENT:
            del meta["next_offset"]
        elif last and settings.last_page is not LastPage.STEP:
            meta["next_offset"] = {LastPage.NULL: None, LastPage.ZERO: 0, LastPage.MINUS_ONE: -1}[settings.last_page]
        return meta

    # CSV

    def _csv_chunks(self, pieces: Sequence[Piece], dry_run: bool, descending: bool) -> Iterator[bytes]:
        """The content of the member in parts; one part is held back, since the last may lack its line break."""
        held = self._csv.header()
        for piece in _stretches(pieces, descending):
            events = self._csv.records(piece, dry_run)
            if descending:
                events.reverse()
            yield to_bytes(held)
            held = "".join([record for records in events for record in records])
        yield to_bytes(self._ended(held))

    def _counted_chunks(self, pieces: Sequence[Piece], query: Query) -> Iterator[bytes]:
        """The same where rows are CSV records: as many whole events as fit, or cut at the very record."""
        descending = query.direction == "desc"
        left = min(query.num_of_rows, self._settings.csv_rows)
        texts = [self._csv.header()]
        for piece in _stretches(pieces, descending):
            events = self._csv.records(piece, query.dry_run)
            for records in reversed(events) if descending else events:
                if self._settings.csv_count is CsvCount.ROWS and len(texts) > 1 and len(records) > left:
                    left = 0
                given = records[:left] if self._settings.csv_count is CsvCount.ROWS_CUT or not left else records
                texts.append("".join(given))
                left = max(0, left - len(given))
        yield to_bytes(self._ended("".join(texts)))

    def _ended(self, text: str) -> str:
        return text if self._settings.csv_final_line_end else text.removesuffix(self._csv.line_end)

    def _archive(self, member: str, pieces: Sequence[Piece], query: Query) -> bytes:
        if self._settings.csv_count is CsvCount.EVENTS:
            chunks = self._csv_chunks(pieces, query.dry_run, query.direction == "desc")
        else:
            chunks = self._counted_chunks(pieces, query)
        current = self._settings.csv_zip_time is ZipTime.CURRENT
        return _zip(member, chunks, time.localtime()[:6] if current else _ZIP_EPOCH)


class _Cache:
    """Bodies given lately, up to a size in bytes; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The body of a key, made if it is not there."""
        with self._lock:
            if key in self._bodies:
                self._bodies.move_to_end(key)
                return self._bodies[key]
        body = make()
        with self._lock:
            if key not in self._bodies and len(body) <= self._limit:
                self._bodies[key] = body
                self._size += len(body)
                while self._size > self._limit:
                    self._size -= len(self._bodies.popitem(last=False)[1])
        return body


def _stretches(pieces: Sequence[Piece], descending: bool = False) -> Iterator[Piece]:
    """The pieces in the order wanted, long runs in parts; the rows within a part ascend all the same."""
    for piece in reversed(pieces) if descending else pieces:
        if not isinstance(piece, Run):
            yield piece
            continue
        parts = [Run(first, min(first + _STRETCH, piece.stop)) for first in range(piece.first, piece.stop, _STRETCH)]
        yield from reversed(parts) if descending else parts


def _time(moment: datetime) -> str:
    return stamp(int(moment.timestamp()))


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(body) + packer.flush()


def _zip(member: str, chunks: Iterator[bytes], moment: Any) -> bytes:
    info = zipfile.ZipInfo(member, moment)
    info.compress_type = zipfile.ZIP_DEFLATED
    info._compresslevel = 1  # type: ignore[attr-defined]  # public only from Python 3.13 on
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open(info, "w") as file:
        for chunk in chunks:
            file.write(chunk)
    return buffer.getvalue()
