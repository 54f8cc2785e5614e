"""Keys to sign with in tests, and public keys as the files that users have."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.audit.secret_key import SecretKey


@cache
def pem(name: str, kind: str = "ed25519") -> str:
    """The private key of a name: the same in every process, since workers must agree on the ids of tests."""
    return serialized(name, kind, NoEncryption())


@cache
def _key(name: str, kind: str) -> Ed25519PrivateKey:
    seed = hashlib.sha256(f"made up for tests only: {name}".encode()).digest()
    if kind == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(seed)
    # The 31 bytes are below the curve's order.
    return derive_private_key(int.from_bytes(seed[:31], "big"), SECP256R1())  # type: ignore[return-value]


def serialized(name: str, kind: str, encryption: KeySerializationEncryption) -> str:
    return _key(name, kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def encrypted(name: str, passphrase: str) -> str:
    return serialized(name, "ed25519", BestAvailableEncryption(passphrase.encode()))


def private_key(name: str, kind: str = "ed25519") -> PrivateKey:
    return PrivateKey.of_pem(pem(name, kind), f"key {name!r}")


def write_public(folder: Path, name: str, key: PrivateKey) -> Path:
    path = folder / name
    path.write_text(key.public_key.pem)
    return path


ED25519 = private_key("signing")
P256 = private_key("signing", "p-256")
OTHER = private_key("other")

#: Made-up secrets in the form that keys of pseudonyms must have.
PSEUDONYM_SECRET = b"mAdeUp0nlyForTests_x7Qk2ZrVbT9sHw4LcYgPjN8uEfDo"
OTHER_PSEUDONYM_SECRET = b"An0therMadeUpKey_Tz5RqXwB3vLs8HnKcYgPjM6uEfDoI1"
PSEUDONYM_KEY = SecretKey(PSEUDONYM_SECRET, "test")
