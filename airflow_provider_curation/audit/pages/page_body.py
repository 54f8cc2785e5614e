"""Keeps a page's events until they are used: in memory while there are few, otherwise on the worker's disk."""

from __future__ import annotations

import io
import tempfile
import threading
from typing import IO, Final, cast

#: Bytes in memory of a page that is still being written; a longer one goes to a temporary file.
SPOOL_BYTES: Final = 256 * 1024
#: Bytes in memory of all complete pages together; further pages go to temporary files.
MEMORY_BYTES: Final = 4 * 1024 * 1024


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


class _MemoryBody(io.BytesIO):
    """A page's events in reserved memory; closing or dropping the body releases the memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._size = len(content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            _memory.give_back(self._size)


_memory = _Memory()


def new_body() -> IO[bytes]:
    """Return an empty file for a page's events: in memory while it is small, then on the worker's disk."""
    return cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


def body_of(content: bytes) -> IO[bytes]:
    """Return a file with a page's events: in memory while few pages wait to be used, otherwise on the worker's disk."""
    if _memory.take(len(content)):
        return _MemoryBody(content)
    body = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the page closes it
    body.write(content)
    return body
