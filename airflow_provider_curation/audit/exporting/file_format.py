"""How an object is written: its format and its compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.exporting.compression import SUFFIXES

#: The compressions of each file format; the first is the default.
COMPRESSIONS: Final = {"jsonl": ("gzip", "zip", "zstd", "none"), "csv": ("zip",)}


@dataclass(frozen=True)
class FileFormat:
    """How an object is written: ``jsonl`` or ``csv``, and its compression.

    :raises InvalidArgumentError: for a format, or a compression of it, that does not exist; it names the argument.
    """

    name: str = "jsonl"
    compression: str = "gzip"

    @classmethod
    def of(cls, file_format: str, compression: str | None) -> FileFormat:
        """Make a format of a user's arguments; no compression means the format's default."""
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
        return f".{self.name}{SUFFIXES[self.compression]}"
