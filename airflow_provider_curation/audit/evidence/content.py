"""Reads an object again, and compares it with everything that its manifest claims.

Nothing here is shared with what writes objects, so that both would have to be wrong in the same way.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

import msgspec
import pendulum

from airflow_provider_curation.audit.errors import MissingPackageError
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window, format_utc

#: The formats whose content can be read here.
READ_FORMATS: Final = ("jsonl", "csv", "parquet")
#: Bytes of one event that are read; the largest that were seen have a few kilobytes.
_MOST_LINE_BYTES: Final = 16 << 20
_BLOCK_BYTES: Final = 256 * 1024
#: Bytes of a zip that are kept in memory.
_SPOOL_BYTES: Final = 1 << 20
_WINDOW_BYTES_OF_ZSTD: Final = 128 << 20
_IDS_AT_ONCE: Final = 10_000
_PLAIN_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
#: Stands for an action that an event does not have, as in manifests.
_UNKNOWN: Final = "unknown"

csv.field_size_limit(max(csv.field_size_limit(), _MOST_LINE_BYTES))


@dataclass(frozen=True)
class ReadObject:
    """What reading an object came to.

    :param size: its bytes.
    :param sha256: of its bytes, in hexadecimal.
    :param faults: what its content is otherwise than the manifest claims; each a clause such as "it has 3 rows, the
        manifest claims 4". Empty also for a format that cannot be read here.
    """

    size: int
    sha256: str
    faults: tuple[str, ...] = ()


def read_object(chunks: Iterator[bytes], facts: Mapping[str, Any], window: Window) -> ReadObject:
    """Read an object's bytes to the end.

    :param facts: its manifest's members; any of them may be missing or of another type.
    :raises MissingPackageError: if a package is needed to unpack it.
    """
    source = Source(chunks)
    faults: list[str] = []
    if facts.get("format") in READ_FORMATS:
        try:
            faults = (_parquet_faults if facts["format"] == "parquet" else _content_faults)(source, facts, window)
        except UNPACKING_FAULTS as error:
            if source.failed:
                # The store failed, not the content.
                raise
            faults = [f"it cannot be unpacked and read ({type(error).__name__})"]
        except ContentError as error:
            faults = [str(error)]
    while source.read(_BLOCK_BYTES):
        pass
    return ReadObject(source.bytes, source.sha256, tuple(faults))


class ContentError(Exception):
    """Content that is not read to its end; the message says why, as a clause."""


UNPACKING_FAULTS: Final = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    csv.Error,
    ValueError,
)


class _Meter:
    """Counts and hashes the bytes that are read through it."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    def add(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        self._sha256.update(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


class Source(_Meter):
    """An object's bytes as a file that can only be read forwards.

    :ivar failed: whether the store failed to give them.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = b""
        self.failed = False

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            try:
                chunk = next(self._chunks, None)
            except BaseException:
                self.failed = True
                raise
            if chunk is None:
                return b""
            self._rest = self.add(chunk)
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class _Content(io.RawIOBase):
    """The unpacked content, which ends with an error once it is longer than the manifest claims."""

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self.meter = _Meter()
        self._read = read
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # One byte more than is claimed shows that there is more, and no bomb is unpacked to its end.
        chunk = self._read(min(len(buffer), self._most - self.meter.bytes + 1))
        buffer[: len(chunk)] = self.meter.add(chunk)
        if self.meter.bytes > self._most:
            raise ContentError(f"its content is longer than the {self._most:,} bytes that the manifest claims")
        return len(chunk)


def _content_faults(source: Source, facts: Mapping[str, Any], window: Window) -> list[str]:
    claimed = facts.get("content_size")
    if not isinstance(claimed, int) or claimed < 0:
        return ["the manifest does not claim how long its content is"]
    seen = _Seen(window, lines_are_events=facts["format"] == "jsonl", ids_repeat=facts.get("stream") != "events")
    with ExitStack() as opened:
        content = _Content(unpacked(source, facts.get("compression"), opened), claimed)
        file = opened.enter_context(io.BufferedReader(content, _BLOCK_BYTES))
        read: Callable[[Any, _Seen], None] = _read_lines if facts["format"] == "jsonl" else _read_rows
        read(file, seen)
        while file.read(_BLOCK_BYTES):
            pass
    return [*seen.faults, *_differences(seen, content.meter, facts)]


def _parquet_faults(source: Source, facts: Mapping[str, Any], window: Window) -> list[str]:
    """Read a Parquet file, whose content is what the JSON lines it was made from said, in typed columns."""
    pa, pq = _pyarrow()
    seen = _Seen(window, lines_are_events=True, ids_repeat=facts.get("stream") != "events")
    # Its columns are found from its end.
    with tempfile.TemporaryFile() as spool:
        while chunk := source.read(_BLOCK_BYTES):
            spool.write(chunk)
        spool.seek(0)
        try:
            file = pq.ParquetFile(spool)
            for number in range(file.num_row_groups):
                seen.begin_part()
                columns = file.read_row_group(number, columns=["id", "created_at", "action"])
                for batch in columns.to_batches(_IDS_AT_ONCE):
                    for event_id, moment, action in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        seen.add(event_id, format_utc(moment), _UNKNOWN if action is None else action)
        except (pa.ArrowException, KeyError, TypeError) as error:
            raise ContentError(f"it cannot be read as Parquet ({type(error).__name__})") from None
    # Row groups are sorted by id, so that the first row need not be the window's first event.
    return [*seen.faults, *_different(seen.claims(), facts)]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingPackageError(
            "An object is a Parquet file, and the package pyarrow is not installed: install "
            "airflow-provider-curation[parquet]."
        ) from None
    return pyarrow, pyarrow.parquet


def unpacked(source: Source, compression: Any, opened: ExitStack) -> Callable[[int], bytes]:
    """Return what reads an object's content, at most so many bytes at a time.

    :param opened: closes what unpacking needs: a zip is read from its end, and so from a temporary file.
    """
    if compression == "none":
        return source.read
    if compression == "gzip":
        return gzip.GzipFile(fileobj=source, mode="rb").read  # type: ignore[call-overload,no-any-return]
    if compression == "zstd":
        try:
            import zstandard
        except ModuleNotFoundError:
            raise MissingPackageError(
                "An object is compressed with zstd, and the package zstandard is not installed: install "
                "airflow-provider-curation[zstd]."
            ) from None
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_OF_ZSTD).stream_reader(source)  # type: ignore[arg-type]
        return _zstd_read(reader, zstandard.ZstdError)
    if compression == "zip":
        spool = opened.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115
        while chunk := source.read(_BLOCK_BYTES):
            spool.write(chunk)
        archive = zipfile.ZipFile(spool)
        members = archive.infolist()
        if len(members) != 1:
            raise ContentError(f"its zip has {len(members)} members instead of one")
        return archive.open(members[0]).read
    raise ContentError("the manifest does not name a compression that is known here")


def _zstd_read(reader: Any, fault: type[Exception]) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        try:
            return bytes(reader.read(size))
        except fault as error:
            raise ValueError(str(error)) from None

    return read


class _Event(msgspec.Struct, gc=False):
    id: int
    created_at: str
    action: str = _UNKNOWN


_decode_event: Final = msgspec.json.Decoder(_Event).decode


class _Seen:
    """What was seen of an object's events, and what is wrong with their order.

    Ids ascend, each once. They may descend only where one part of the window ends and the next begins, since a window
    is read in parts: everything behind such a place is later than everything before it.

    :param lines_are_events: each line is an event; else rows of the same id, one for each of its policies, are one.
    :param ids_repeat: several lines that follow each other may have the same id, as dry-run events do that differ in
        their policy.
    """

    def __init__(self, window: Window, lines_are_events: bool, ids_repeat: bool) -> None:
        self._start, self._end = format_utc(window.start), format_utc(window.end)
        self._window = window
        self._lines_are_events = lines_are_events
        self._ids_repeat = ids_repeat
        self.rows = self.events = 0
        self.actions: Counter[str] = Counter()
        self.first_id: int | None = None
        self.last_id: int | None = None
        self.faults: list[str] = []
        self._ids_digest = IdsDigest()
        self._ids: list[int] = []
        self._latest = ""
        self._later_than = ""

    def add(self, event_id: int, created_at: str | None, action: str) -> None:
        """Add a line or row."""
        self.rows += 1
        again = event_id == self.last_id
        if again and self._lines_are_events and not self._ids_repeat:
            self.find(f"event {event_id} is in it more than once")
        if self._lines_are_events or not again:
            self.events += 1
            self._ids.append(event_id)
            if len(self._ids) == _IDS_AT_ONCE:
                self._digest_ids()
            self.actions[action] += 1
        time = None if created_at is None else self._text_of(created_at)
        if self.last_id is not None and event_id < self.last_id:
            self._later_than = self._latest
        if time is not None:
            if not self._start <= time < self._end:
                self.find(f"event {event_id} is of {created_at}, outside of the manifest's window")
            if self._later_than and time <= self._later_than:
                self.find(f"event {event_id} is not in ascending order of id")
            self._latest = max(self._latest, time)
        elif self.last_id is not None and event_id < self.last_id:
            self.find(f"event {event_id} is not in ascending order of id")
        self.first_id = event_id if self.first_id is None else self.first_id
        self.last_id = event_id

    def begin_part(self) -> None:
        """Start anew with the order of ids: what follows is sorted by itself."""
        self.last_id = None
        self._latest = self._later_than = ""

    def claims(self) -> dict[str, Any]:
        """Return what a manifest says of the events, whatever their order, by its members."""
        claims: dict[str, Any] = {"events": self.events, "rows": self.rows, "actions": dict(self.actions)}
        digest = self.ids_digest
        return claims if digest is None else {**claims, "ids_digest": digest}

    @property
    def ids_digest(self) -> str | None:
        """The digest of the ids; ``None`` for dry-run events, which count by their policies, too."""
        self._digest_ids()
        return None if self._ids_repeat else str(self._ids_digest)

    def _digest_ids(self) -> None:
        self._ids_digest.add(IdsDigest.of(self._ids))
        self._ids = []

    def _text_of(self, created_at: str) -> str:
        """Return a time as text that sorts by time."""
        if _PLAIN_TIME.fullmatch(created_at):
            return created_at
        moment: object = pendulum.parse(created_at)
        if not isinstance(moment, datetime):
            raise ValueError(f"{created_at!r} is not a time")
        utc = moment.astimezone(self._window.start.tzinfo)
        # "." sorts before "Z": a fraction must not be earlier than its second.
        return f"{utc:%Y-%m-%dT%H:%M:%S}Z{utc.microsecond:06}" if utc.microsecond else format_utc(utc)

    def find(self, fault: str) -> None:
        """Keep a fault, if it is among the first ones."""
        if fault not in self.faults and len(self.faults) < 3:
            self.faults.append(fault)


def _read_lines(file: IO[bytes], seen: _Seen) -> None:
    of_same_id: set[bytes] = set()
    while line := file.readline(_MOST_LINE_BYTES + 1):
        if len(line) > _MOST_LINE_BYTES:
            raise ContentError(f"its line {seen.rows + 1:,} is longer than {_MOST_LINE_BYTES:,} bytes")
        try:
            event = _decode_event(line)
        except (msgspec.MsgspecError, RecursionError):
            raise ContentError(f"its line {seen.rows + 1:,} is not an event") from None
        if event.id != seen.last_id:
            of_same_id.clear()
        elif line in of_same_id:
            seen.find(f"event {event.id} is in it more than once")
        of_same_id.add(line)
        seen.add(event.id, event.created_at, event.action)


def _read_rows(file: Any, seen: _Seen) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        rows = csv.reader(text)
        places = {name.strip(): place for place, name in enumerate(next(rows, []))}
        if "id" not in places:
            raise ContentError("its CSV has no column named id")
        of_id, of_time, of_action = (places.get(name) for name in ("id", "created_at", "action"))
        for row in rows:
            if len(row) != len(places):
                raise ContentError(f"its row {seen.rows + 1:,} has {len(row)} cells instead of {len(places)}")
            action = _UNKNOWN if of_action is None else row[of_action]
            seen.add(int(row[of_id or 0]), None if of_time is None else row[of_time], action)
    finally:
        text.detach()


def _differences(seen: _Seen, content: _Meter, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was read otherwise than the manifest claims."""
    read = {"content_size": content.bytes, "content_sha256": content.sha256}
    return _different({**read, **seen.claims(), "first_id": seen.first_id, "last_id": seen.last_id}, facts)


def _different(read: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in read.items():
        claimed = facts.get(name)
        if type(claimed) is not type(value) or claimed != value:
            yield f"its {name} is {value}, the manifest's {claimed!r}"
