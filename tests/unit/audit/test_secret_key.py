"""The key of pseudonyms: weak ones are refused, and its id helps nobody to guess it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.secret_key import SecretKey
from tests.support.keys import ED25519, PSEUDONYM_KEY, PSEUDONYM_SECRET, pem


def test_random_keys_are_accepted_in_each_usual_form() -> None:
    for _ in range(500):
        content = secrets.token_bytes(32)
        for text in (
            secrets.token_urlsafe(32),
            secrets.token_hex(32),
            secrets.token_hex(32).upper(),
            base64.b64encode(content).decode(),
            base64.b64encode(content).decode() + "\n",
            secrets.token_urlsafe(64),
        ):
            SecretKey(text.encode())


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (b"", "neither hexadecimal nor base64"),
        (b"correct horse battery staple and some more words", "neither hexadecimal nor base64"),
        (b"a" * 64, "does not look random"),
        (b"0123456789abcdef" * 4, "does not look random"),
        (b"00" * 64, "does not look random"),
        (b"ab" * 32, "does not look random"),
        (b"correcthorsebatterystapleandsomemorewordsofmine", "does not look random"),
        (b"CORRECTHORSEBATTERYSTAPLEANDSOMEMOREWORDSOFMINE", "does not look random"),
        (b"Passw0rd" * 8, "does not look random"),
        (b"XOR65fiGLmKdvM7VeqMC0w", "bytes instead of 32"),
        (b"f89abf4233f5827b325185a3781d86b4", "has 16 bytes instead of 32"),
        (b"\xff" * 64, "neither hexadecimal nor base64"),
        (pem("signing").encode(), "a key for signatures"),
    ],
)
def test_weak_keys_are_refused(secret: bytes, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^The key of connection 'x' .*{why}.*token_urlsafe") as caught:
        SecretKey(secret, "connection 'x'")
    assert len(secret) < 8 or secret.decode("ascii", "replace") not in str(caught.value)


@settings(max_examples=200)
@given(st.binary(max_size=80) | st.text("aAbB0-_=", max_size=80).map(str.encode))
def test_whatever_is_given_the_error_is_a_named_one(secret: bytes) -> None:
    try:
        SecretKey(secret)
    except InvalidArgumentError as error:
        assert "token_urlsafe" in str(error)  # noqa: PT017


def test_neither_the_id_nor_a_token_is_a_quick_check_of_a_guess() -> None:
    key = SecretKey(PSEUDONYM_SECRET)
    assert len(key.id) == 16
    assert key.id == PSEUDONYM_KEY.id
    message = b"ann"
    plain = hmac.digest(PSEUDONYM_SECRET, message, hashlib.sha256).hex()
    assert key.hmac(message) != plain
    assert key.id not in key.hmac(message)
    started = time.process_time()
    _ = SecretKey(PSEUDONYM_SECRET).id
    # A plain HMAC takes a microsecond; 32 MiB have to be filled for each guess.
    assert time.process_time() - started > 0.01


@pytest.mark.parametrize("kind", ["ed25519", "p-256"])
def test_a_signing_key_is_recognised_in_any_form(kind: str) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from tests.support.keys import private_key

    key = private_key("signing", kind)
    der = key.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for form in (
        pem("signing", kind).encode(),
        der,
        der.hex().encode(),
        base64.b64encode(der),
        base64.urlsafe_b64encode(der[-32:] if kind == "ed25519" else der),
        der[-32:].hex().encode() if kind == "ed25519" else der.hex().upper().encode(),
    ):
        assert key.is_held_by(form)
    for other in (PSEUDONYM_SECRET, pem("other").encode(), b"", b"\xff"):
        assert not key.is_held_by(other)
    assert not ED25519.is_held_by(key.public_key.pem.encode())
