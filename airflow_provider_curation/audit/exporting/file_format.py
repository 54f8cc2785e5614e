"""An object's file format and compression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from airflow_provider_curation.audit.endpoint import CSV_MEMBER
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.audit.exporting.compression import SUFFIXES, compressor

#: The compressions of each file format; the first is the default.
COMPRESSIONS: Final = {"jsonl": ("gzip", "zip", "zstd", "none"), "csv": ("zip", "gzip"), "parquet": ("zstd",)}
#: The name of the one file inside a zip; that of a CSV is the vendor's own.
_MEMBERS: Final = {"csv": CSV_MEMBER, "jsonl": "audit_packages.jsonl"}


@dataclass(frozen=True)
class FileFormat:
    """An object's format (``jsonl``, ``csv`` or ``parquet``) and its compression.

    :raises InvalidArgumentError: for an unknown format, or a compression that it does not have; it names the argument.
    """

    name: str = "jsonl"
    compression: str = "gzip"

    @classmethod
    def of(cls, file_format: str, compression: str | None) -> FileFormat:
        """Make a format from a user's arguments; without a compression, it is the format's default."""
        if file_format not in COMPRESSIONS:
            raise InvalidArgumentError(
                f"file_format={file_format!r} is unknown; it is one of {', '.join(COMPRESSIONS)}."
            )
        known = COMPRESSIONS[file_format]
        if compression is None:
            return cls(file_format, known[0])
        if compression not in known:
            raise InvalidArgumentError(
                f"compression={compression!r} does not go with file_format={file_format!r}, which is written with "
                f"{' or '.join(known)}."
            )
        return cls(file_format, compression)

    @property
    def suffix(self) -> str:
        """The key's ending, such as ``.jsonl.gz``."""
        # A Parquet file is compressed inside.
        return ".parquet" if self.name == "parquet" else f".{self.name}{SUFFIXES[self.compression]}"

    @property
    def writer(self) -> str | None:
        """The library and version that the object's bytes depend on, if they do.

        :raises MissingPackageError: without the format's extra.
        """
        return parquet.writer_name() if self.name == "parquet" else None

    def encoder(self) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
        """Return the function that turns an export's content, JSON lines or CSV, into the object's bytes.

        :raises MissingPackageError: without the extra that the format or its compression needs.
        """
        if self.name == "parquet":
            parquet.schema()
            return parquet.encode
        return compressor(self.compression, _MEMBERS[self.name])
