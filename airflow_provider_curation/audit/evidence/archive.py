"""The interface to an archive's storage that verification needs: a listing in order of key, and bytes by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES

#: The most bytes of a seal that are read; it has about 500 for each manifest.
MOST_SEAL_BYTES: Final = 256 << 20


class TooLargeError(ValueError):
    """A manifest, signature or seal that is larger than any that this package writes."""


class Entry(NamedTuple):
    """An object, as a listing shows it.

    :param size: its bytes.
    :param etag: without quotes; ``None`` in a store without ETags.
    """

    key: str
    size: int
    etag: str | None = None


class Archive(Protocol):
    """A store of objects; its methods are called by several threads."""

    def uri(self, key: str) -> str: ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield what is below a prefix, in order of key, without keeping all of it in memory."""

    def read(self, key: str, most: int = MOST_MANIFEST_BYTES) -> bytes | None:
        """Return a small object; ``None`` if there is none.

        :raises TooLargeError: if it has more than ``most`` bytes; it is not read further.
        """

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes in pieces.

        :raises FileNotFoundError: if there is none.
        """

    def checksum(self, key: str) -> Mapping[str, str] | None:
        """Return the checksum that the store itself keeps of an object, as a manifest has it.

        ``None`` if the store keeps none, or has no such object.
        """

    def put_new(self, key: str, body: bytes) -> bool:
        """Write a small object unless there is one, and return whether it was written."""

    def put(self, key: str, body: bytes) -> None:
        """Write a small object, replacing an existing one."""
