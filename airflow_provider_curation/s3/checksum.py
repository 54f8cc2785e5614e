"""SHA-256 of an object in parts, which S3 computes as the parts arrive, and keeps: the SHA-256 of the parts' SHA-256.

S3 calls it composite. It commits to every byte as the plain SHA-256 does: nobody can make other bytes that have the
same one, which an ETag (MD5) or a CRC does not ensure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

ALGORITHM: Final = "SHA256"
_ALGORITHMS: Final = (ALGORITHM, "CRC64NVME", "CRC32C", "CRC32", "SHA1")


class PartsSha256:
    """The checksum of the parts that were added so far."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []

    def add(self, part: bytes | bytearray) -> str:
        """Add a part, and return its own SHA-256 in base64, as S3 wants it with the part."""
        self._digests.append(hashlib.sha256(part).digest())
        return _base64(self._digests[-1])

    def __str__(self) -> str:
        """Return it in base64. S3 puts the number of parts behind it (``-2``), but not everywhere."""
        return _base64(hashlib.sha256(b"".join(self._digests)).digest())


def checksum_of(head: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the checksum in S3's answer to ``HEAD``, as a manifest has it; ``None`` if S3 keeps none."""
    for algorithm in _ALGORITHMS:
        if value := head.get(f"Checksum{algorithm}"):
            kind = head.get("ChecksumType") or ("COMPOSITE" if "-" in value else "FULL_OBJECT")
            return {"algorithm": algorithm, "type": str(kind), "value": str(value)}
    return None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
