"""Reads the events of exported objects, JSON lines or Parquet, some thousand at a time and in flat memory."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final

import msgspec

from airflow_provider_curation.audit.errors import MissingPackageError

#: The formats that are read; CSV has the same events in a form that is slower to read.
READ_FORMATS: Final = ("parquet", "jsonl")
_BLOCK_BYTES: Final = 512 * 1024
#: Bytes of one event; the largest that were seen have a few kilobytes.
_MOST_LINE_BYTES: Final = 16 << 20
#: Bytes of a zip or Parquet file that are kept in memory.
_SPOOL_BYTES: Final = 1 << 20
_MOST_ZSTD_WINDOW: Final = 128 << 20
_ROWS_AT_ONCE: Final = 4096


class UnreadableError(Exception):
    """An object that is not read to its end; the message says why, as a clause."""


class Policy(msgspec.Struct, gc=False):
    """A policy that affected an event; whatever the server left out is ``None``."""

    policy_name: str | None = None
    condition_name: str | None = None
    condition_category: str | None = None
    result: str | None = None
    dry_run: bool | None = None


class Event(msgspec.Struct, gc=False):
    """What a report counts of an event; whatever the server left out is ``None``."""

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
    :raises UnreadableError: if it is not what its manifest says.
    :raises MissingPackageError: if a package is needed to unpack it.
    """
    source = _Source(chunks)
    try:
        yield from _read_parquet(source) if file_format == "parquet" else _read_lines(source, compression)
    except (EOFError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile, gzip.BadGzipFile, ValueError) as error:
        if source.failed:
            raise
        raise UnreadableError(f"it cannot be unpacked and read ({type(error).__name__})") from None


class _Source(io.RawIOBase):
    """An object's bytes as a file that can be read once.

    :ivar failed: whether the store failed, rather than the content.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.failed = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
            except BaseException:
                self.failed = True
                raise
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _read_lines(source: _Source, compression: str) -> Iterator[Sequence[Event]]:
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        file = _unpacked(io.BufferedReader(source, _BLOCK_BYTES), compression, spool)
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            whole, newline, after = block.rpartition(b"\n")
            if newline:
                yield _events(rest + whole)
                rest = after
            else:
                rest += block
            if len(rest) > _MOST_LINE_BYTES:
                raise UnreadableError(f"one of its lines is longer than {_MOST_LINE_BYTES:,} bytes")
        if rest:
            yield _events(rest)


def _unpacked(source: io.BufferedReader, compression: str, spool: Any) -> IO[bytes]:
    if compression == "none":
        return source
    if compression == "gzip":
        return gzip.GzipFile(fileobj=source, mode="rb")  # type: ignore[return-value]
    if compression == "zstd":
        return _unpacked_zstd(source)
    if compression == "zip":
        while chunk := source.read(_BLOCK_BYTES):
            spool.write(chunk)
        archive = zipfile.ZipFile(spool)
        members = archive.infolist()
        if len(members) != 1:
            raise UnreadableError(f"its zip has {len(members)} members instead of one")
        return archive.open(members[0])
    raise UnreadableError("the manifest does not name a compression that is known here")


def _unpacked_zstd(source: io.BufferedReader) -> IO[bytes]:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise MissingPackageError(
            "An object is compressed with zstd, and the package zstandard is not installed: install "
            "airflow-provider-curation[zstd]."
        ) from None

    class Reader(io.RawIOBase):
        def __init__(self) -> None:
            self._reader = zstandard.ZstdDecompressor(max_window_size=_MOST_ZSTD_WINDOW).stream_reader(source)

        def read(self, size: int = -1) -> bytes:
            try:
                return bytes(self._reader.read(size))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None

    return Reader()  # type: ignore[return-value]


def _events(lines: bytes) -> list[Event]:
    try:
        return _decode_events(lines)
    except msgspec.ValidationError:
        # Some value is of another kind than servers are known to send.
        try:
            return [_lenient(fields) for fields in _decode_any(lines)]
        except (msgspec.MsgspecError, RecursionError):
            raise UnreadableError("one of its lines is not an event") from None
    except (msgspec.MsgspecError, RecursionError):
        raise UnreadableError("one of its lines is not an event") from None


def _lenient(fields: Mapping[str, Any]) -> Event:
    """Return an event whose values of other kinds count as missing."""
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


def _read_parquet(source: _Source) -> Iterator[Sequence[Event]]:
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingPackageError(
            "An object is a Parquet file, and the package pyarrow is not installed: install "
            "airflow-provider-curation[parquet]."
        ) from None
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        while chunk := source.read(_BLOCK_BYTES):
            spool.write(chunk)
        spool.seek(0)
        try:
            file = pq.ParquetFile(spool)
            names = ["id", "created_at", *_TEXTS, "policies"]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
                columns = {name: batch.column(name) for name in names}
                times = pc.strftime(columns["created_at"], format="%Y-%m-%dT%H:%M:%SZ")
                # Fractions of a second do not matter here, and would make text that sorts otherwise.
                times = pc.replace_substring_regex(times, pattern=r"\.\d+Z$", replacement="Z")
                fields = [columns["id"].to_pylist(), times.to_pylist(), *(columns[name].to_pylist() for name in _TEXTS)]
                policies = map(_policies, columns["policies"].to_pylist())
                yield list(map(Event, *fields, policies))
        except (pa.ArrowException, KeyError, OSError) as error:
            raise UnreadableError(f"it cannot be read as Parquet ({type(error).__name__})") from None
