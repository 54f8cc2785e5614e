"""The envelope of a signature: exact bytes, their type, and signatures over both (DSSE, version 1.0.2).

The signed message is the pre-authentication encoding of type and bytes. No JSON is parsed and written again, so there
is nothing that two implementations could do differently.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from airflow_provider_curation.audit.evidence.keys import PublicKey
from airflow_provider_curation.audit.evidence.strict_json import StrictJsonError, read_object

MOST_ENVELOPE_BYTES: Final = 1 << 20
MOST_SIGNATURES: Final = 16


class EnvelopeError(ValueError):
    """A file that is not an envelope; the message says why, as the end of a sentence."""


class Signer(Protocol):
    """A private key, in this process or elsewhere."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies its signatures."""

    @property
    def key_id(self) -> str:
        """The id of its public key."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature over a message, in the form that OpenSSL expects."""


@dataclass(frozen=True)
class Signature:
    """One signature.

    :param key_id: the id of the key; only a hint, since the signature does not cover it.
    """

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """Bytes of a type, and the signatures over them.

    :param payload: the signed bytes, at most 1 MiB including the envelope.
    :param payload_type: the media type of the payload.
    """

    payload: bytes
    payload_type: str
    signatures: Sequence[Signature]

    @classmethod
    def seal(cls, payload: bytes, payload_type: str, signer: Signer) -> Envelope:
        """Sign bytes of a type."""
        value = signer.sign(pre_authentication_encoding(payload_type, payload))
        return cls(payload, payload_type, (Signature(signer.key_id, value),))

    @property
    def signed_bytes(self) -> bytes:
        """The message that each signature is made over."""
        return pre_authentication_encoding(self.payload_type, self.payload)

    def to_json(self) -> bytes:
        """Return the envelope as a file."""
        facts = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": each.key_id, "sig": base64.b64encode(each.value).decode()} for each in self.signatures
            ],
        }
        return json.dumps(facts, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, body: bytes) -> Envelope:
        """Parse an envelope, which must be exactly as :meth:`to_json` writes it.

        DSSE itself is more lenient. Here every byte of an archive counts, so no change to a file goes unnoticed.

        :raises EnvelopeError: if it is not one, is written differently, or has more than 1 MiB or 16 signatures.
        """
        try:
            facts = read_object(body, MOST_ENVELOPE_BYTES)
        except StrictJsonError as error:
            raise EnvelopeError(str(error)) from None
        signatures = facts.get("signatures")
        if not isinstance(signatures, list) or not 1 <= len(signatures) <= MOST_SIGNATURES:
            raise EnvelopeError(f"it does not have 1 to {MOST_SIGNATURES} signatures")
        payload_type = facts.get("payloadType")
        if not isinstance(payload_type, str):
            raise EnvelopeError("it does not name the type of its payload")
        envelope = cls(_bytes_of(facts, "payload"), payload_type, tuple(map(_signature, signatures)))
        if envelope.to_json() != body:
            raise EnvelopeError("it has other members, white space or base64 than this package writes")
        return envelope


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the signed message: ``DSSEv1`` and the length and bytes of type and payload, separated by spaces."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload))


def _signature(facts: Any) -> Signature:
    if not isinstance(facts, dict):
        raise EnvelopeError("one of its signatures is not a JSON object")
    key_id = facts.get("keyid")
    if not isinstance(key_id, str):
        raise EnvelopeError("the key id of one of its signatures is not text")
    return Signature(key_id, _bytes_of(facts, "sig"))


def _bytes_of(facts: dict[str, Any], name: str) -> bytes:
    text = facts.get(name)
    if not isinstance(text, str):
        raise EnvelopeError(f"it has no {name}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeError(f"its {name} is not base64") from None
