"""Reads an object again, and compares it with everything that its manifest claims.

It shares no code with the part that writes objects, so an error would have to be made twice to go unnoticed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec

from airflow_provider_curation.audit.evidence.parquet_content import read_parquet
from airflow_provider_curation.audit.evidence.seen_events import UNKNOWN, SeenEvents
from airflow_provider_curation.audit.evidence.unpacking import UNPACKING_FAULTS, ContentError, Meter, Source, unpacked
from airflow_provider_curation.audit.window import Window

#: The formats whose content can be read here.
READ_FORMATS: Final = ("jsonl", "csv", "parquet")
#: The most bytes of one event; the largest that were seen have a few kilobytes.
_MOST_LINE_BYTES: Final = 16 << 20
_BLOCK_BYTES: Final = 256 * 1024

csv.field_size_limit(max(csv.field_size_limit(), _MOST_LINE_BYTES))


@dataclass(frozen=True)
class ReadObject:
    """The result of reading an object.

    :param size: its bytes.
    :param sha256: of its bytes, in hexadecimal.
    :param faults: how its content differs from the manifest, each as a clause such as "its rows is 3, the manifest's
        4". Also empty for a format that cannot be read here.
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
        except (*UNPACKING_FAULTS, csv.Error) as error:
            if source.failed:
                # The store failed, not the content.
                raise
            faults = [f"it cannot be unpacked and read ({type(error).__name__})"]
        except ContentError as error:
            faults = [str(error)]
    while source.read(_BLOCK_BYTES):
        pass
    return ReadObject(source.bytes, source.sha256, tuple(faults))


class _Content(io.RawIOBase):
    """The unpacked content, which ends with an error once it is longer than the manifest claims."""

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self.meter = Meter()
        self._read = read
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # One byte more than claimed shows that there is more, without unpacking a bomb to its end.
        chunk = self._read(min(len(buffer), self._most - self.meter.bytes + 1))
        buffer[: len(chunk)] = self.meter.add(chunk)
        if self.meter.bytes > self._most:
            raise ContentError(f"its content is longer than the {self._most:,} bytes that the manifest claims")
        return len(chunk)


def _parquet_faults(source: Source, facts: Mapping[str, Any], window: Window) -> list[str]:
    """Compare a Parquet file, whose content is the JSON lines that it was made from, in typed columns."""
    seen = SeenEvents(window, lines_are_events=True, ids_repeat=facts.get("stream") != "events")
    read_parquet(source, seen)
    # Row groups are sorted by id, so the first row need not be the window's first event.
    return [*seen.faults, *_different(seen.claims(), facts)]


def _content_faults(source: Source, facts: Mapping[str, Any], window: Window) -> list[str]:
    claimed = facts.get("content_size")
    if not isinstance(claimed, int) or claimed < 0:
        return ["the manifest does not state the length of its content"]
    seen = SeenEvents(window, lines_are_events=facts["format"] == "jsonl", ids_repeat=facts.get("stream") != "events")
    with ExitStack() as opened:
        content = _Content(unpacked(source, facts.get("compression"), opened), claimed)
        file = opened.enter_context(io.BufferedReader(content, _BLOCK_BYTES))
        read: Callable[[Any, SeenEvents], None] = _read_lines if facts["format"] == "jsonl" else _read_rows
        read(file, seen)
        while file.read(_BLOCK_BYTES):
            pass
    return [*seen.faults, *_differences(seen, content.meter, facts)]


class _Event(msgspec.Struct, gc=False):
    id: int
    created_at: str
    action: str = UNKNOWN


_decode_event: Final = msgspec.json.Decoder(_Event).decode


def _read_lines(file: IO[bytes], seen: SeenEvents) -> None:
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


def _read_rows(file: Any, seen: SeenEvents) -> None:
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
            action = UNKNOWN if of_action is None else row[of_action]
            seen.add(int(row[of_id or 0]), None if of_time is None else row[of_time], action)
    finally:
        text.detach()


def _differences(seen: SeenEvents, content: Meter, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the content that was read differs from the manifest."""
    read = {"content_size": content.bytes, "content_sha256": content.sha256}
    return _different({**read, **seen.claims(), "first_id": seen.first_id, "last_id": seen.last_id}, facts)


def _different(read: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in read.items():
        claimed = facts.get(name)
        if type(claimed) is not type(value) or claimed != value:
            yield f"its {name} is {value}, the manifest's {claimed!r}"
