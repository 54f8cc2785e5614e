"""Files that only collect what a library writes to them, so that the bytes can be passed on while it writes."""

from __future__ import annotations

import io
from typing import Any


class Outlet(io.RawIOBase):
    """An unseekable file; written bytes can be taken from it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        """Return the bytes that were written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class TellingOutlet(Outlet):
    """An outlet that knows its position, which Parquet needs; with one, zipfile would write different bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._written = 0

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        written = super().write(data)
        self._written += written
        return written
