"""A folder as an archive, so that a copy of an archive can be verified offline, without S3 or Airflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.archive import Entry, TooLargeError
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES

_CHUNK_BYTES: Final = 1 << 20


class LocalArchive:
    """The files below a folder, by keys relative to it.

    They have no ETags, so a verification reads every object.

    :raises InvalidArgumentError: if there is no such folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._root = Path(folder)
        if not self._root.is_dir():
            raise InvalidArgumentError(f"{str(folder)!r} is not a folder; give one that holds a copy of the archive.")

    def uri(self, key: str) -> str:
        return str(self._root / key)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the files below a prefix in the order in which S3 lists keys."""
        folder = prefix.rpartition("/")[0]
        for found in _walk(self._root / folder, f"{folder}/" if folder else ""):
            if found.key.startswith(prefix):
                yield found

    def read(self, key: str, most: int = MOST_MANIFEST_BYTES) -> bytes | None:
        """Return a small file; ``None`` if there is none.

        :raises TooLargeError: if it has more than ``most`` bytes.
        """
        try:
            with (self._root / key).open("rb") as file:
                body = file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        if len(body) > most:
            raise TooLargeError(f"it has more than {most:,} bytes")
        return body

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a file's bytes in pieces.

        :raises FileNotFoundError: if there is none.
        """
        with (self._root / key).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def checksum(self, key: str) -> Mapping[str, str] | None:
        """Return ``None``: a file system keeps no checksums."""
        return None

    def put_new(self, key: str, body: bytes) -> bool:
        """Write a small file unless there is one, and return whether it was written."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(body)
        except FileExistsError:
            return False
        return True

    def put(self, key: str, body: bytes) -> None:
        """Write a small file, replacing an existing one."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            # Compare folders with their slash, since S3 lists "a.x" before "a/x".
            below = sorted((each.name + "/" * each.is_dir(follow_symlinks=False), each) for each in found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, each in below:
        if name.endswith("/"):
            yield from _walk(folder / each.name, prefix + name)
        elif each.is_file():
            yield Entry(prefix + name, each.stat().st_size)
