"""Unpacks an object's bytes while they are read, without trusting their size."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Any, Final

from airflow_provider_curation.audit.errors import MissingPackageError

_BLOCK_BYTES: Final = 256 * 1024
_WINDOW_BYTES_OF_ZSTD: Final = 128 << 20

#: What the standard library raises for damaged content.
UNPACKING_FAULTS: Final = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ContentError(Exception):
    """Content that cannot be read to its end; the message says why, as a clause."""


class Meter:
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


class Source(Meter):
    """An object's bytes as a file that can only be read forwards.

    :ivar failed: whether the store failed to return them.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        # A view, since slicing bytes would copy the rest of a chunk at each small read.
        self._rest = memoryview(b"")
        self.failed = False

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes, and none only at the end."""
        while not self._rest:
            try:
                chunk = next(self._chunks, None)
            except BaseException:
                self.failed = True
                raise
            if chunk is None:
                return b""
            self._rest = memoryview(self.add(chunk))
        size = len(self._rest) if size < 0 else size
        taken, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return taken


def unpacked(source: Source, compression: Any, opened: ExitStack) -> Callable[[int], bytes]:
    """Return a function that reads an object's content, at most so many bytes at a time.

    :param opened: closes what unpacking needs: a zip is read from its end, and so from a temporary file.
    :raises ContentError: for an unknown compression, or a zip with several members.
    :raises MissingPackageError: for zstd without its package.
    """
    if compression == "none":
        return source.read
    if compression == "gzip":
        return gzip.GzipFile(fileobj=source, mode="rb").read  # type: ignore[call-overload,no-any-return]
    if compression == "zstd":
        return _unpacked_zstd(source)
    if compression == "zip":
        archive = zipfile.ZipFile(spooled(source, opened))
        members = archive.infolist()
        if len(members) != 1:
            raise ContentError(f"its zip has {len(members)} members instead of one")
        return archive.open(members[0]).read
    raise ContentError("the manifest does not name a known compression")


def spooled(source: Source, opened: ExitStack) -> IO[bytes]:
    """Return all of an object's bytes as a seekable temporary file."""
    # Not a SpooledTemporaryFile, which zipfile cannot read from before Python 3.11.
    spool: IO[bytes] = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    while chunk := source.read(_BLOCK_BYTES):
        spool.write(chunk)
    spool.seek(0)
    return spool


def _unpacked_zstd(source: Source) -> Callable[[int], bytes]:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise MissingPackageError(
            "An object is compressed with zstd, but the package zstandard is not installed: install "
            "airflow-provider-curation[zstd]."
        ) from None
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_OF_ZSTD).stream_reader(source)  # type: ignore[arg-type]

    def read(size: int) -> bytes:
        try:
            return bytes(reader.read(size))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None

    return read


def parquet_library() -> tuple[Any, Any]:
    """Return ``pyarrow`` and ``pyarrow.parquet``.

    :raises MissingPackageError: if they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingPackageError(
            "An object is a Parquet file, but the package pyarrow is not installed: install "
            "airflow-provider-curation[parquet]."
        ) from None
    return pyarrow, pyarrow.parquet
