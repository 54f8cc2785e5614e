"""Compresses an object's content on its way to S3, repeatably.

The same content always gives the same bytes with the same library: no time stamps, no machine names. The library of the
defaults is Python's zlib: the bytes of faster ones may depend on the processor's instructions.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from airflow_provider_curation.audit.errors import MissingPackageError
from airflow_provider_curation.audit.exporting.outlet import Outlet

#: Level 1 makes exports of large windows fast; zstd is faster still, and compresses better.
GZIP_LEVEL: Final = 1
ZSTD_LEVEL: Final = 3

SUFFIXES: Final = {"gzip": ".gz", "zip": ".zip", "zstd": ".zst", "none": ""}

# The earliest time that a zip can state: a fixed one, so that a re-run gives identical bytes.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)


def compressor(compression: str, member: str) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """Return the function that turns an object's content into its bytes.

    :param compression: ``gzip``, ``zip``, ``zstd`` or ``none``.
    :param member: the name of the one file inside a zip.
    :raises MissingPackageError: for zstd without the extra ``zstd``.
    """
    if compression == "zip":
        return lambda chunks: _zip(chunks, member)
    if compression == "zstd":
        return _zstd()
    return {"gzip": _gzip, "none": _as_is}[compression]


def _as_is(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(GZIP_LEVEL, wbits=31)
    for chunk in chunks:
        if packed := deflate.compress(chunk):
            yield packed
    yield deflate.flush()


def _zstd() -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "compression='zstd' needs the package zstandard: install airflow-provider-curation[zstd] on the workers."
        ) from error

    def compress(chunks: Iterable[bytes]) -> Iterator[bytes]:
        packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
        for chunk in chunks:
            if packed := packer.compress(chunk):
                yield packed
        yield packer.flush()

    return compress


def _zip(chunks: Iterable[bytes], member: str) -> Iterator[bytes]:
    outlet = Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED, compresslevel=GZIP_LEVEL) as archive:
        entry = zipfile.ZipInfo(member, _ZIP_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = 3
        entry.external_attr = 0o644 << 16
        _set_level(entry)
        with archive.open(entry, "w", force_zip64=True) as file:
            for chunk in chunks:
                file.write(chunk)
                if packed := outlet.taken():
                    yield packed
    yield outlet.taken()


def _set_level(entry: zipfile.ZipInfo) -> None:
    # Python 3.13 made the attribute public under another name.
    name = "compress_level" if hasattr(entry, "compress_level") else "_compresslevel"
    setattr(entry, name, GZIP_LEVEL)
