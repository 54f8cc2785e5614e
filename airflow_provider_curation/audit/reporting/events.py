"""Reads the events of exported objects, JSON lines or Parquet, a few thousand at a time and in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from airflow_provider_curation.audit.evidence.unpacking import (
    UNPACKING_FAULTS,
    ContentError,
    Source,
    parquet_library,
    spooled,
    unpacked,
)

#: The formats that are read; CSV has the same events, but is slower to read.
READ_FORMATS: Final = ("parquet", "jsonl")
_BLOCK_BYTES: Final = 512 * 1024
#: The most bytes of one event; the largest that were seen have a few kilobytes.
_MOST_LINE_BYTES: Final = 16 << 20
_ROWS_AT_ONCE: Final = 4096


class Policy(msgspec.Struct, gc=False):
    """A policy that affected an event; fields that the server left out are ``None``."""

    policy_name: str | None = None
    condition_name: str | None = None
    condition_category: str | None = None
    result: str | None = None
    dry_run: bool | None = None


class Event(msgspec.Struct, gc=False):
    """The fields of an event that a report counts; fields that the server left out are ``None``."""

    id: int = 0
    created_at: str = ""
    action: str | None = None
    package_type: str | None = None
    package_name: str | None = None
    package_version: str | None = None
    curated_repository_name: str | None = None
    username: str | None = None
    policies: list[Policy] | None = None


_TEXTS: Final = ("action", "package_type", "package_name", "package_version", "curated_repository_name", "username")
_POLICY_TEXTS: Final = ("policy_name", "condition_name", "condition_category", "result")
_decode_events = msgspec.json.Decoder(Event).decode_lines
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode_lines


def read_events(chunks: Iterator[bytes], file_format: str, compression: str) -> Iterator[Sequence[Event]]:
    """Yield an object's events in its own order.

    :param chunks: the object's bytes.
    :raises ContentError: if it is not what its manifest says.
    :raises MissingPackageError: if a package is needed to unpack it.
    """
    source = Source(chunks)
    try:
        yield from _read_parquet(source) if file_format == "parquet" else _read_lines(source, compression)
    except UNPACKING_FAULTS as error:
        if source.failed:
            raise
        raise ContentError(f"it cannot be unpacked and read ({type(error).__name__})") from None


def _read_lines(source: Source, compression: str) -> Iterator[Sequence[Event]]:
    with ExitStack() as opened:
        read = unpacked(source, compression, opened)
        rest = b""
        while block := read(_BLOCK_BYTES):
            whole, newline, after = block.rpartition(b"\n")
            if newline:
                yield _events(rest + whole)
                rest = after
            else:
                rest += block
            if len(rest) > _MOST_LINE_BYTES:
                raise ContentError(f"one of its lines is longer than {_MOST_LINE_BYTES:,} bytes")
        if rest:
            yield _events(rest)


def _events(lines: bytes) -> list[Event]:
    try:
        return _decode_events(lines)
    except msgspec.ValidationError:
        # A value has a type that servers are not known to send.
        try:
            return [_lenient(fields) for fields in _decode_any(lines)]
        except (msgspec.MsgspecError, RecursionError):
            raise ContentError("one of its lines is not an event") from None
    except (msgspec.MsgspecError, RecursionError):
        raise ContentError("one of its lines is not an event") from None


def _lenient(fields: Mapping[str, Any]) -> Event:
    """Return an event, treating values of unexpected types as missing."""
    return Event(
        id=fields["id"] if type(fields.get("id")) is int else 0,
        created_at=_text(fields, "created_at") or "",
        **{name: _text(fields, name) for name in _TEXTS},
        policies=_policies(fields.get("policies")),
    )


def _policies(found: Any) -> list[Policy] | None:
    return [_policy(each) for each in found if isinstance(each, dict)] if isinstance(found, list) else None


def _policy(fields: Mapping[str, Any]) -> Policy:
    return Policy(**{name: _text(fields, name) for name in _POLICY_TEXTS}, dry_run=fields.get("dry_run") is True)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _read_parquet(source: Source) -> Iterator[Sequence[Event]]:
    pa, pq = parquet_library()
    import pyarrow.compute as pc

    with ExitStack() as opened:
        spool = spooled(source, opened)
        try:
            file = pq.ParquetFile(spool)
            names = ["id", "created_at", *_TEXTS, "policies"]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
                columns = {name: batch.column(name) for name in names}
                times = pc.strftime(columns["created_at"], format="%Y-%m-%dT%H:%M:%SZ")
                # Fractions of a second do not matter here, and would make the text sort differently.
                times = pc.replace_substring_regex(times, pattern=r"\.\d+Z$", replacement="Z")
                fields = [columns["id"].to_pylist(), times.to_pylist(), *(columns[name].to_pylist() for name in _TEXTS)]
                policies = map(_policies, columns["policies"].to_pylist())
                yield list(map(Event, *fields, policies))
        except (pa.ArrowException, KeyError, OSError) as error:
            raise ContentError(f"it cannot be read as Parquet ({type(error).__name__})") from None
