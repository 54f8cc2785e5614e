"""The file that an upload reads."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator


class ChunkReader(io.RawIOBase):
    """An unseekable file of an object's bytes, made while it is read.

    :param chunks: the bytes; an error that they raise is raised again by every later read.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest: deque[bytes] = deque()
        self._size = 0
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # A generator that raised is finished, and would end the object cleanly if it were read again.
        if self._error is not None:
            raise self._error
        while size < 0 or self._size < size:
            try:
                chunk = next(self._chunks, None)
            except BaseException as error:
                self._error = error
                raise
            if chunk is None:
                break
            self._rest.append(chunk)
            self._size += len(chunk)
        taken = self._taken(self._size if size < 0 else size)
        self._size -= len(taken)
        return taken

    def _taken(self, size: int) -> bytes:
        """Take so many bytes off the waiting chunks; they are copied once, since an upload asks for megabytes."""
        pieces = []
        while self._rest and size > 0:
            piece = self._rest.popleft()
            if len(piece) > size:
                self._rest.appendleft(piece[size:])
                piece = piece[:size]
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
