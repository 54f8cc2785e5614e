"""Keys: which are read, how they are named, and that none is shown."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.keys import PrivateKey, PublicKey
from tests.support.keys import ED25519, OTHER, P256, encrypted, pem


@pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p-256"])
def test_a_signature_is_over_each_byte(key: PrivateKey) -> None:
    signature = key.sign(b"message")
    assert key.public_key.verifies(signature, b"message")
    assert not key.public_key.verifies(signature, b"Message")
    assert not OTHER.public_key.verifies(signature, b"message")
    assert PublicKey.of_pem(key.public_key.pem, "x").verifies(signature, b"message")


@given(st.binary(max_size=100))
def test_no_bytes_are_a_signature_by_chance(signature: bytes) -> None:
    assert not ED25519.public_key.verifies(signature, b"message")
    assert not P256.public_key.verifies(signature, b"message")


@pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p-256"])
def test_a_key_id_is_what_openssl_and_sha256sum_give(key: PrivateKey, tmp_path: Path) -> None:
    (tmp_path / "audit.pub").write_text(key.public_key.pem)
    command = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "audit.pub"), "-outform", "DER"]
    der = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert key.key_id == hashlib.sha256(der).hexdigest()
    assert PublicKey.of_der(der, "x").id == key.key_id


@pytest.mark.parametrize(
    "altered",
    [
        lambda text: text,
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("\n", ""),
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"  {text}\n\n",
    ],
)
def test_a_key_survives_the_ways_in_which_it_is_pasted(altered: object) -> None:
    assert callable(altered)
    for kind in ("ed25519", "p-256"):
        text = altered(pem("signing", kind))
        assert PrivateKey.of_pem(text, "x").key_id == (ED25519 if kind == "ed25519" else P256).key_id
    assert PublicKey.of_pem(altered(ED25519.public_key.pem), "x").id == ED25519.key_id


def test_openssl_keys_with_their_parameters_are_read() -> None:
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey"]
    text = subprocess.run(command, capture_output=True, check=True, timeout=30, text=True).stdout
    assert "EC PARAMETERS" in text
    PrivateKey.of_pem(text, "x")


def test_an_encrypted_key_needs_its_passphrase() -> None:
    text = encrypted("signing", "open sesame")
    assert PrivateKey.of_pem(text, "x", "open sesame").key_id == ED25519.key_id
    for passphrase, why in [(None, "no passphrase"), ("wrong", "its passphrase is wrong")]:
        with pytest.raises(InvalidArgumentError, match=why):
            PrivateKey.of_pem(text, "x", passphrase)
    with pytest.raises(InvalidArgumentError, match="not encrypted"):
        PrivateKey.of_pem(pem("signing"), "x", "open sesame")


def other_kinds() -> list[tuple[str, str, str]]:
    made: list[tuple[Any, str]] = [
        (generate_private_key(SECP384R1()), "secp384r1"),
        (generate_rsa_key(65537, 2048), "RSAPrivateKey|RSAPublicKey"),
    ]
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return [(k.private_bytes(*plain).decode(), k.public_key().public_bytes(*public).decode(), why) for k, why in made]


def test_other_kinds_of_keys_are_refused() -> None:
    for private, public, why in other_kinds():
        with pytest.raises(InvalidArgumentError, match=f"^file 'x' is .*({why}).*Ed25519 key or an ECDSA key"):
            PrivateKey.of_pem(private, "file 'x'")
        with pytest.raises(InvalidArgumentError, match=f"^file 'x' is .*({why}).*Ed25519 key or an ECDSA key"):
            PublicKey.of_pem(public, "file 'x'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one private key"),
        ("a password of old", "not one private key"),
        (ED25519.public_key.pem, "not one private key"),
        (pem("signing") + pem("other"), "not one private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be read|can be read"),
        ("-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----", "can be read"),
        ("schlüssel", "not ASCII"),
        ("x" * 70_000, "at most 65,536"),
    ],
)
def test_what_is_not_a_private_key_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^signing_conn_id='x'.*({why})") as caught:
        PrivateKey.of_pem(text, "signing_conn_id='x'")
    assert not text or len(text) < 10 or text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (pem("signing"), "holds a private key, where a public key is needed"),
        (ED25519.public_key.pem + pem("signing"), "holds a private key"),
        (ED25519.public_key.pem * 2, "not one public key"),
        ("", "not one public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "can be read"),
    ],
)
def test_what_is_not_a_public_key_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^file 'x'.*{why}") as caught:
        PublicKey.of_pem(text, "file 'x'")
    assert pem("signing").split("\n")[1] not in str(caught.value)


def test_a_private_key_is_never_shown() -> None:
    assert "PRIVATE" not in repr(ED25519)
    assert "Ed25519PrivateKey" not in repr(ED25519)
