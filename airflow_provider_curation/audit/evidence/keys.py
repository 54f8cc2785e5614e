"""Public and private keys for signatures: Ed25519, and ECDSA on the curve P-256 with SHA-256."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from airflow_provider_curation.audit.errors import InvalidArgumentError

_USABLE: Final = "Use an Ed25519 key or an ECDSA key on the curve P-256"
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_HEADER: Final = re.compile(r"^[A-Za-z-]+:.*$", re.MULTILINE)
_PEM_BODY: Final = re.compile(r"-----([^-]+)-----END")
_FROM_URL_SAFE: Final = str.maketrans("-_", "+/")
_MOST_PEM_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures.

    :param key: of ``cryptography``.
    """

    key: Ed25519PublicKey | EllipticCurvePublicKey

    @classmethod
    def of_pem(cls, pem: str | bytes, source: str) -> PublicKey:
        """Read one public key.

        :param source: where it comes from, for errors, such as ``file 'audit.pub'``.
        :raises InvalidArgumentError: if it is not exactly one public key of a known kind.
        """
        kinds = [kind for kind, _ in pem_blocks(pem, source)]
        if any("PRIVATE" in kind for kind in kinds):
            raise InvalidArgumentError(
                f"{source} holds a private key, where a public key is needed. Keep the private key with the signer, "
                "and give out the output of: openssl pkey -in private.pem -pubout"
            )
        if kinds != ["PUBLIC KEY"]:
            raise InvalidArgumentError(f"{source} is not one public key in PEM (-----BEGIN PUBLIC KEY-----).")
        [(_, block)] = pem_blocks(pem, source)
        try:
            return cls._of(load_pem_public_key(block), source)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidArgumentError(f"{source} is not a public key that can be read ({error}). {_USABLE}.") from None

    @classmethod
    def of_der(cls, der: bytes, source: str) -> PublicKey:
        """Read a public key's DER bytes (SubjectPublicKeyInfo), as AWS KMS returns them.

        :raises InvalidArgumentError: as :meth:`of_pem` does.
        """
        try:
            return cls._of(load_der_public_key(der), source)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidArgumentError(f"{source} is not a public key that can be read ({error}). {_USABLE}.") from None

    @classmethod
    def _of(cls, key: object, source: str) -> PublicKey:
        if isinstance(key, EllipticCurvePublicKey):
            if isinstance(key.curve, SECP256R1):
                return cls(key)
            raise InvalidArgumentError(f"{source} is an ECDSA key on the curve {key.curve.name}. {_USABLE}.")
        if isinstance(key, Ed25519PublicKey):
            return cls(key)
        raise InvalidArgumentError(f"{source} is a key of another kind ({type(key).__name__.lstrip('_')}). {_USABLE}.")

    @cached_property
    def id(self) -> str:
        """SHA-256 of its DER bytes: ``openssl pkey -pubin -in audit.pub -outform DER | sha256sum``."""
        return hashlib.sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    @property
    def pem(self) -> str:
        """The key in PEM, for everybody who verifies."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether this key made a signature over a message."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, message)
            else:
                self.key.verify(signature, message, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A private key in this process's memory; it is never shown.

    :param key: of ``cryptography``.
    """

    key: Ed25519PrivateKey | EllipticCurvePrivateKey = field(repr=False)
    public_key: PublicKey

    @classmethod
    def of_pem(cls, pem: str | bytes, source: str, passphrase: str | None = None) -> PrivateKey:
        """Read one private key.

        :param source: where it comes from, for errors, such as ``signing_conn_id='audit_key'``.
        :param passphrase: of an encrypted key.
        :raises InvalidArgumentError: if it is not exactly one private key of a known kind; the message shows none of
            it.
        """
        found = [block for kind, block in pem_blocks(pem, source) if kind.endswith("PRIVATE KEY")]
        if len(found) != 1:
            raise InvalidArgumentError(
                f"{source} is not one private key in PEM (-----BEGIN PRIVATE KEY-----). Create one with: "
                "openssl genpkey -algorithm ed25519"
            )
        try:
            key = load_pem_private_key(found[0], passphrase.encode() if passphrase else None)
        except TypeError:
            raise InvalidArgumentError(
                f"{source}: the private key is encrypted but there is no passphrase, or there is a passphrase but the "
                "key is not encrypted. Set or remove the connection's extra passphrase."
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            # The cause could quote the key.
            raise InvalidArgumentError(
                f"{source} is not a private key that can be read, or its passphrase is wrong. {_USABLE}."
            ) from None
        public = PublicKey._of(key.public_key(), source)
        assert isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey)
        return cls(key, public)

    @property
    def key_id(self) -> str:
        return self.public_key.id

    def is_held_by(self, secret: bytes) -> bool:
        """Return whether a secret is this key in another form: as PEM, DER or the bare number, in hex or base64."""
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        if isinstance(self.key, Ed25519PrivateKey):
            number = self.key.private_bytes_raw()
        else:
            number = self.key.private_numbers().private_value.to_bytes(32, "big")
        return not {der, number}.isdisjoint(_decoded(secret))

    def sign(self, message: bytes) -> bytes:
        """Return a signature over a message: 64 bytes for Ed25519, DER for ECDSA."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ECDSA(hashes.SHA256()))


def _decoded(secret: bytes) -> Iterator[bytes]:
    """Yield a secret, and its decoded forms."""
    yield secret
    text = secret.decode("ascii", "ignore")
    with contextlib.suppress(ValueError):
        yield bytes.fromhex(text)
    for encoded in (text, *_PEM_BODY.findall(text)):
        content = "".join(encoded.split()).translate(_FROM_URL_SAFE)
        with contextlib.suppress(ValueError):
            yield base64.b64decode(content + "=" * (-len(content) % 4), validate=True)


def pem_blocks(pem: str | bytes, source: str) -> list[tuple[str, bytes]]:
    r"""Return the blocks of a PEM text, with their kinds and with their line breaks restored.

    Airflow's forms keep a password on one line, so pasting turns a key's line breaks into spaces, and JSON written by
    hand often has ``\n`` as two characters.

    :raises InvalidArgumentError: if the text is not ASCII, or is larger than 64 KiB.
    """
    if len(pem) > _MOST_PEM_BYTES:
        raise InvalidArgumentError(f"{source} has {len(pem):,} bytes; a key in PEM has at most {_MOST_PEM_BYTES:,}.")
    try:
        text = pem.decode("ascii") if isinstance(pem, bytes) else pem.encode("ascii").decode()
    except UnicodeError:
        raise InvalidArgumentError(f"{source} is not PEM: it has characters that are not ASCII.") from None
    blocks: list[tuple[str, bytes]] = []
    for kind, body in _PEM.findall(text.replace("\\r", "").replace("\\n", "\n")):
        headers = [line.strip() for line in _HEADER.findall(body)]
        content = "".join(_HEADER.sub("", body).split())
        lines = [content[place : place + 64] for place in range(0, len(content), 64)]
        before = [*headers, ""] if headers else []
        blocks.append(
            (kind, "\n".join([f"-----BEGIN {kind}-----", *before, *lines, f"-----END {kind}-----", ""]).encode())
        )
    return blocks
