"""Secret keys for signatures and pseudonyms, and a fingerprint that tells keys apart without showing them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from airflow_provider_curation.audit.errors import InvalidArgumentError

#: Shorter keys could be guessed from what was made with them.
LEAST_BYTES: Final = 16
_FINGERPRINT: Final = b"airflow-provider-curation key id"


@dataclass(frozen=True)
class SecretKey:
    """A key of HMAC-SHA256; it is never shown, not even in a traceback's locals.

    :param source: where it comes from, for errors: such as ``connection 'audit_key'``.
    :raises InvalidArgumentError: for a key that is too short to keep a secret.
    """

    value: bytes = field(repr=False)
    source: str = "key"

    def __post_init__(self) -> None:
        if len(self.value) < LEAST_BYTES:
            raise InvalidArgumentError(
                f"The key of {self.source} has {len(self.value)} bytes; use a random one of at least {LEAST_BYTES}, "
                'such as the output of: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )

    def hmac(self, message: bytes) -> str:
        """Return the HMAC-SHA256 of a message in hexadecimal."""
        return hmac.digest(self.value, message, hashlib.sha256).hex()

    @property
    def id(self) -> str:
        """A fingerprint: the same for the same key, and nothing of the key can be read from it."""
        return self.hmac(_FINGERPRINT)[:16]
