"""Counts and hashes passing bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


class ByteMeter:
    """Counts and hashes the bytes that pass through it: ``bytes`` and ``sha256`` so far."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks unchanged, each after it was counted."""
        for chunk in chunks:
            self.bytes += len(chunk)
            self._sha256.update(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hexadecimal."""
        return self._sha256.hexdigest()
