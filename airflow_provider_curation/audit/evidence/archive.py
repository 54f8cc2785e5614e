"""Where an archive lies, as far as verifying it needs to know: a listing in order of key, and bytes by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """An object, as a listing shows it."""

    key: str
    size: int
    etag: str | None = None


class Archive(Protocol):
    """A store of objects; its methods are called by several threads."""

    def uri(self, key: str) -> str: ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Give what is below a prefix, in order of key, without holding it all."""

    def read(self, key: str) -> bytes | None:
        """Return a small object; ``None`` if there is none."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Give an object's bytes piece by piece."""

    def put_new(self, key: str, body: bytes) -> bool:
        """Write a small object, unless there is one; say whether it was written."""
