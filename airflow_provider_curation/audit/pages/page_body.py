"""Keeps a page's events until they are used: in memory while there are few, otherwise on the worker's disk."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Final, cast

from airflow_provider_curation.audit.mapped import Mapping

#: Bytes in memory of a page that is still being written; a longer one goes to a temporary file.
SPOOL_BYTES: Final = 32 * 1024
#: Bytes in memory of all complete pages together; further pages go to temporary files.
MEMORY_BYTES: Final = 4 * 1024 * 1024
#: Events that are joined before they are written, few enough for malloc to find room for them again.
_LINES: Final = 16


class _Memory:
    """The memory for complete pages, shared by all threads of the process."""

    def __init__(self) -> None:
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; return ``False`` if too few are free."""
        with self._lock:
            free = self._taken + size <= MEMORY_BYTES
            self._taken += size if free else 0
            return free

    def give_back(self, size: int) -> None:
        with self._lock:
            self._taken -= size


class MemoryBody(Mapping):
    """A page's events in reserved memory; closing or dropping the body releases the memory once."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        return iter(self.readline, b"")

    def close(self) -> None:
        super().close()
        _memory.give_back(self._size)
        self._size = 0

    def __exit__(self, *error: object) -> None:
        # That of mmap does not call close().
        self.close()

    def __del__(self) -> None:
        self.close()


_memory = _Memory()


def new_body() -> IO[bytes]:
    """Return an empty file for a page's events: in memory while it is small, then on the worker's disk."""
    return cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


def body_of(events: Sequence[bytes]) -> IO[bytes]:
    """Return a file of a page's events, one a line: in memory while few pages wait, otherwise on the worker's disk."""
    size = sum(map(len, events)) + len(events)
    body: IO[bytes]
    if not size:
        body = io.BytesIO()
    elif _memory.take(size):
        body = cast("IO[bytes]", MemoryBody(size))
    else:
        body = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the page closes it
    left = iter(events)
    while some := list(islice(left, _LINES)):
        # The empty event at the end adds the last line's break.
        body.write(b"\n".join([*some, b""]))
    return body
