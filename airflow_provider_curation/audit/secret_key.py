"""The secret key of pseudonyms, and an id that distinguishes keys without making them easier to guess."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from airflow_provider_curation.audit.errors import InvalidArgumentError

#: Bytes that a key must encode.
LEAST_BYTES: Final = 32
#: Fewer of 32 random bytes, or of the 43 characters that encode them, are different in less than one key in a billion.
_LEAST_DIFFERENT: Final = 20
#: 43 random characters of base64 have at least so many upper-case and lower-case letters; written words do not.
_LEAST_OF_A_CASE: Final = 3
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
#: Each guess of a key costs 32 MiB and a tenth of a second, whether it is checked against a token or the id.
_SCRYPT: Final = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 1 << 26}
_PURPOSE: Final = b"airflow-provider-curation pseudonyms v1"
_ADVICE: Final = (
    f"Use {LEAST_BYTES} random bytes in hexadecimal or base64, such as the output of: "
    'python -c "import secrets; print(secrets.token_urlsafe(32))"'
)


@dataclass(frozen=True)
class SecretKey:
    """A key for pseudonyms; it is never shown, not even in a traceback's locals.

    It computes with a key that is derived for pseudonyms alone, so the same secret used elsewhere gives other values.

    :param value: at least 32 random bytes, in hexadecimal or base64.
    :param source: where it comes from, for errors, such as ``connection 'audit_key'``.
    :raises InvalidArgumentError: for a key that could be guessed, or a key for signatures.
    """

    value: bytes = field(repr=False)
    source: str = "key"

    def __post_init__(self) -> None:
        text = self.value.decode("ascii", "replace").strip()
        if "-----BEGIN" in text:
            raise InvalidArgumentError(
                f"The key of {self.source} is a key for signatures, which must not be used for pseudonyms. {_ADVICE}"
            )
        if fault := _weakness(text):
            raise InvalidArgumentError(f"The key of {self.source} {fault}, so it could be guessed. {_ADVICE}")

    def hmac(self, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message in hexadecimal."""
        return hmac.digest(self._derived[:32], message, hashlib.sha256).hex()

    @property
    def id(self) -> str:
        """16 digits that are the same for the same key, and independent of the values it computes."""
        return self._derived[32:].hex()

    @cached_property
    def _derived(self) -> bytes:
        return hashlib.scrypt(self.value, salt=_PURPOSE, dklen=40, **_SCRYPT)


def _weakness(text: str) -> str | None:
    """Return why a key could be guessed; ``None`` if it looks random."""
    if _HEX.fullmatch(text):
        content = bytes.fromhex(text)
        different, cases = len(set(content)), _LEAST_OF_A_CASE
    elif _BASE64.fullmatch(text):
        try:
            content = base64.b64decode(text.rstrip("=").translate(_FROM_URL_SAFE) + "=" * (-len(text.rstrip("=")) % 4))
        except binascii.Error:
            return "is neither hexadecimal nor base64"
        different = min(len(set(text)), len(set(content)))
        cases = min(sum(map(str.isupper, text)), sum(map(str.islower, text)))
    else:
        return "is neither hexadecimal nor base64"
    if len(content) < LEAST_BYTES:
        return f"has {len(content)} bytes instead of {LEAST_BYTES}"
    if different < _LEAST_DIFFERENT or cases < _LEAST_OF_A_CASE:
        return "does not look random"
    return None


_FROM_URL_SAFE: Final = str.maketrans("-_", "+/")
