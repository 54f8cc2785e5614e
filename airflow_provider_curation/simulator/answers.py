"""The bodies of answers: JSON pages and CSV archives, in the form that the settings choose."""

from __future__ import annotations

import io
import json
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from threading import Lock
from typing import Any, Final, TypeVar

import msgspec

from airflow_provider_curation.audit.endpoint import CSV_INCOMPLETE_MEMBER, CSV_MEMBER
from airflow_provider_curation.simulator.events import Events, stamp
from airflow_provider_curation.simulator.events_csv import CsvEvents
from airflow_provider_curation.simulator.query import Query
from airflow_provider_curation.simulator.settings import SimulatorSettings
from airflow_provider_curation.simulator.store import Piece, Rows, Run, Store

#: Rows made at a time where an answer can be long.
_STRETCH: Final = 5_000
#: Rows of JSON that are rendered and kept together, whichever pages ask for them.
_BLOCK: Final = 500
_ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
#: What Go's encoder escapes although JSON does not require it.
_GO_ESCAPES: Final = [(sign.encode(), b"\\u%04x" % ord(sign)) for sign in "<>&\u2028\u2029"]
_LAST_OFFSETS: Final = {"null": None, "zero": 0, "minus-one": -1}

_Kept = TypeVar("_Kept", bytes, list[bytes])


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
        self._events = Events(store.dataset, settings.shape)
        self._pretty = settings.layout == "pretty"
        self._encode = _encoder(settings.text, self._pretty)
        self._csv = CsvEvents(settings)
        self._cache = _Cache(settings.cache_bytes)

    # What is true, whatever an answer shows of it

    def objects(self, rows: Rows, dry_run: bool) -> Iterator[dict[str, Any]]:
        """Yield each row as an object."""
        return self._objects(rows.pieces, dry_run, descending=False)

    def lines(self, rows: Rows, dry_run: bool) -> Iterator[bytes]:
        """Yield each row as compact JSON."""
        return map(_encoder(self._settings.text, pretty=False), self.objects(rows, dry_run))

    def csv_content(self, rows: Rows, dry_run: bool) -> bytes:
        """Return all rows as the content of one CSV member."""
        return b"".join(self._csv_chunks(self._csv.records(self.objects(rows, dry_run))))

    # Answers

    def page(self, query: Query, ignore_offset: bool, shorter: bool) -> Answer:
        """Return a JSON page; ``shorter`` asks for a page that lacks some rows."""
        settings = self._settings
        rows = self._rows(query)
        offset = 0 if ignore_offset else query.offset
        allowed = min(query.num_of_rows, settings.json_rows)
        if shorter:
            allowed = max(1, allowed - settings.short_page_by)
        first, stop = min(offset, rows.total), min(offset + allowed, rows.total)
        lines = [line for piece in _pieces(rows, first, stop, query) for line in self._lines(piece, query.dry_run)]
        if query.descending:
            lines.reverse()
        meta = self._value(self._meta(query, rows.total, stop - first, last=stop >= rows.total), 1)
        return Answer(self._envelope(lines, meta), stop - first, first)

    def archive(self, query: Query) -> Answer:
        """Return a zip with one CSV member."""
        settings = self._settings
        rows = self._rows(query)
        within = min(rows.total, settings.csv_incomplete_over)
        first = min(query.offset, within)
        stop = min(query.offset + min(query.num_of_rows, settings.csv_rows), within)
        member = CSV_INCOMPLETE_MEMBER if rows.total > within else CSV_MEMBER
        pieces = _pieces(rows, first, stop, query)
        make = partial(self._archive, member, pieces, query)
        key = ("csv", member, tuple(pieces), query.dry_run, query.descending, query.num_of_rows)
        body = make() if settings.csv_zip_time == "current" else self._cache.get(key, make)
        return Answer(body, stop - first, first)

    def compressed(self, body: bytes) -> bytes:
        """Return a body as gzip, the same bytes each time."""
        return self._cache.get(("gzip", blake2b(body).digest()), lambda: _gzip(body))

    def _rows(self, query: Query) -> Rows:
        if not self._settings.entitled:
            return Rows((), 0)
        inclusive = self._settings.end_bound == "inclusive"
        return self._store.rows(int(query.start.timestamp()), int(query.end.timestamp()) + inclusive, query.dry_run)

    def _objects(self, pieces: Sequence[Piece], dry_run: bool, descending: bool) -> Iterator[dict[str, Any]]:
        for piece in _stretches(pieces, descending):
            rows = self._events.rows(piece, dry_run)
            yield from reversed(rows) if descending else rows

    # JSON

    def _lines(self, piece: Piece, dry_run: bool) -> list[bytes]:
        if not isinstance(piece, Run):
            return self._rendered(piece, dry_run)
        lines: list[bytes] = []
        last = self._store.dataset.rows(dry_run)
        for first in range(piece.first - piece.first % _BLOCK, piece.stop, _BLOCK):
            block = Run(first, min(first + _BLOCK, last))
            made = self._cache.get(("json", block, dry_run), partial(self._rendered, block, dry_run))
            lines += made[max(piece.first - first, 0) : piece.stop - first]
        return lines

    def _rendered(self, piece: Piece, dry_run: bool) -> list[bytes]:
        return [self._value(event, 2) for event in self._events.rows(piece, dry_run)]

    def _value(self, value: Any, depth: int) -> bytes:
        """Return a value in the form of the settings, as it stands at that depth of the envelope."""
        encoded = self._encode(value)
        return encoded.replace(b"\n", b"\n" + b" " * depth) if self._pretty else encoded

    def _envelope(self, lines: list[bytes], meta: bytes) -> bytes:
        space, colon, end = (b"\n ", b": ", b"\n}") if self._pretty else (b"", b":", b"}")
        start, between, stop = (b"[\n  ", b",\n  ", b"\n ]") if self._pretty else (b"[", b",", b"]")
        if not lines:
            lines, start, stop = [b"null" if self._settings.empty_page == "null" else b"[]"], b"", b""
        if self._settings.meta_place == "after":
            before, after = b"", b"".join((b",", space, b'"meta"', colon, meta))
        else:
            before, after = b"".join((b'"meta"', colon, meta, b",", space)), b""
        # A page is some 1.5 MB, and joined once.
        lines[0] = b"".join((b"{", space, before, b'"data"', colon, start, lines[0]))
        lines[-1] += stop + after + end
        return between.join(lines)

    def _meta(self, query: Query, total: int, count: int, last: bool) -> dict[str, Any]:
        settings = self._settings
        rows = query.num_of_rows
        meta: dict[str, Any] = {
            "total_count": total,
            "result_count": count,
            "next_offset": query.offset + count,
            "order_by": "id",
            "direction": query.direction,
            "num_of_rows": rows if settings.rows_echo == "asked" else min(rows, settings.json_rows),
            "offset": query.offset,
            "include_total": query.include_total,
            "include_explanation_and_recommendation": query.explain,
            "created_at_start": stamp(int(query.start.timestamp())),
            "created_at_end": stamp(int(query.end.timestamp())),
        }
        if not (query.include_total and settings.total_count):
            del meta["total_count"]
        if last and settings.last_page == "absent":
            del meta["next_offset"]
        elif last and settings.last_page != "step":
            meta["next_offset"] = _LAST_OFFSETS[settings.last_page]
        return meta

    # CSV

    def _archive(self, member: str, pieces: Sequence[Piece], query: Query) -> bytes:
        records = self._csv.records(self._objects(pieces, query.dry_run, query.descending))
        if self._settings.csv_count != "events":
            records = self._limited(records, min(query.num_of_rows, self._settings.csv_rows))
        current = self._settings.csv_zip_time == "current"
        return zipped(member, self._csv_chunks(records), time.localtime()[:6] if current else _ZIP_EPOCH)

    def _limited(self, records: Iterable[list[str]], most: int) -> Iterator[list[str]]:
        """Yield so many records at most: whole events, of which the first is always given, or cut exactly."""
        given = 0
        for event in records:
            if self._settings.csv_count == "rows-cut":
                event = event[: most - given]
            elif given and given + len(event) > most:
                return
            yield event
            given += len(event)
            if given >= most:
                return

    def _csv_chunks(self, records: Iterable[list[str]]) -> Iterator[bytes]:
        """Yield the content of the member; one chunk is held back, since the last may lack its line break."""
        texts = chain.from_iterable(records)
        held = self._csv.header()
        while chunk := "".join(islice(texts, _STRETCH)):
            yield held.encode()
            held = chunk
        yield (held if self._settings.csv_final_line_end else held.removesuffix(self._csv.line_end)).encode()


class _Cache:
    """Bodies and lines given lately, up to a size in bytes; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """Return what is kept for a key; it is made if there is nothing."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: _Kept = self._kept[key]
                return kept
        made = make()
        with self._lock:
            if key not in self._kept and _size(made) <= self._limit:
                self._kept[key] = made
                self._size += _size(made)
                while self._size > self._limit:
                    self._size -= _size(self._kept.popitem(last=False)[1])
        return made


def _size(kept: bytes | list[bytes]) -> int:
    return len(kept) if isinstance(kept, bytes) else sum(map(len, kept))


def _pieces(rows: Rows, first: int, stop: int, query: Query) -> list[Piece]:
    """Return the ascending pieces of an answer's rows, counted in the query's direction."""
    return rows.part(rows.total - stop, rows.total - first) if query.descending else rows.part(first, stop)


def _stretches(pieces: Sequence[Piece], descending: bool) -> Iterator[Piece]:
    """Yield the pieces in the query's direction, long runs in parts; the rows of a part ascend all the same."""
    for piece in reversed(pieces) if descending else pieces:
        if not isinstance(piece, Run):
            yield piece
            continue
        parts = [Run(first, min(first + _STRETCH, piece.stop)) for first in range(piece.first, piece.stop, _STRETCH)]
        yield from reversed(parts) if descending else parts


def _encoder(text: str, pretty: bool) -> Callable[[Any], bytes]:
    """Return a function that encodes any value as JSON in the given form."""
    if pretty or text == "ascii":
        indent, separators = (1, (",", ": ")) if pretty else (None, (",", ":"))
        encoder = json.JSONEncoder(ensure_ascii=text == "ascii", indent=indent, separators=separators)
        plain: Callable[[Any], bytes] = lambda value: encoder.encode(value).encode()  # noqa: E731
    else:
        plain = msgspec.json.encode
    return (lambda value: _escaped(plain(value))) if text == "go" else plain


def _escaped(encoded: bytes) -> bytes:
    for sign, escape in _GO_ESCAPES:
        encoded = encoded.replace(sign, escape)
    return encoded


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(body) + packer.flush()


def zipped(member: str, chunks: Iterable[bytes], moment: Any = _ZIP_EPOCH) -> bytes:
    """Return a zip with one member."""
    info = zipfile.ZipInfo(member, moment)
    info.compress_type = zipfile.ZIP_DEFLATED
    info._compresslevel = 1  # type: ignore[attr-defined]  # public only from Python 3.13 on
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open(info, "w") as file:
        for chunk in chunks:
            file.write(chunk)
    return buffer.getvalue()
