"""Signing keys from Airflow connections: in PEM, and in AWS KMS behind a real API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError, SigningError
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.hooks.signing import KmsKey, key_ring_of_connection, signer_of_connection
from tests.support.exports import aws_connection
from tests.support.keys import ED25519, P256, encrypted, pem

pytestmark = pytest.mark.integration

Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Set the connection ``signing``."""

    def connect(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SIGNING", json.dumps({"conn_type": "generic", **fields}))

    return connect


@pytest.fixture
def kms(s3_url: str) -> Any:
    """A client of KMS, which the same server offers."""
    credentials = {"aws_access_key_id": "made-up-key", "aws_secret_access_key": "made-up-secret"}
    return boto3.client("kms", endpoint_url=s3_url, region_name="us-east-1", **credentials)


def new_key(kms: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    return str(kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"])


def connect_kms(connect: Connect, url: str, **extra: Any) -> None:
    connection = aws_connection(url)
    connect(**{**connection, "extra": {**connection["extra"], **extra}})


# PEM


@pytest.mark.parametrize("kind", ["ed25519", "p-256"])
def test_a_key_is_the_password_or_an_extra(connect: Connect, kind: str) -> None:
    key = ED25519 if kind == "ed25519" else P256
    text = pem("signing", kind)
    for fields in ({"password": text}, {"password": text.replace("\n", " ")}, {"extra": {"private_key": text}}):
        connect(**fields)
        signer = signer_of_connection("signing", "signing_conn_id")
        assert signer.key_id == key.key_id
        assert key.public_key.verifies(signer.sign(b"message"), b"message")


def test_an_encrypted_key_has_its_passphrase_in_an_extra(connect: Connect) -> None:
    connect(password=encrypted("signing", "open sesame"), extra={"passphrase": "open sesame"})
    assert signer_of_connection("signing", "signing_conn_id").key_id == ED25519.key_id


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "the connection has no private key"),
        ({"password": "a-password-of-old"}, "not one private key"),
        ({"password": ED25519.public_key.pem}, "not one private key"),
        ({"password": encrypted("signing", "open sesame")}, "no passphrase"),
        ({"conn_type": "aws"}, "its extra has no kms_key_id"),
    ],
)
def test_what_is_not_a_key_is_refused(connect: Connect, fields: dict[str, Any], why: str) -> None:
    connect(**fields)
    with pytest.raises(InvalidArgumentError, match=f"^signing_conn_id='signing'.*{why}") as caught:
        signer_of_connection("signing", "signing_conn_id")
    assert "a-password-of-old" not in str(caught.value)
    with pytest.raises(InvalidArgumentError, match="signing_conn_id='nowhere': there is no such connection"):
        signer_of_connection("nowhere", "signing_conn_id")


def test_a_key_is_masked_line_by_line(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_curation.hooks.signing.mask_secret", masked.append)
    text = pem("signing", "p-256")
    connect(password=text)
    signer_of_connection("signing", "signing_conn_id")
    assert set(text.split("\n")[1:-2]) <= set(masked)
    assert text in masked


def test_a_key_ring_is_an_extra(connect: Connect) -> None:
    listed = {"keys": [{"public_key": ED25519.public_key.pem, "revoked_from": "2026-01-01T00:00:00Z"}]}
    for ring in (json.dumps(listed), listed):
        connect(extra={"key_ring": ring})
        assert key_ring_of_connection("signing", "key_ring_conn_id").get(ED25519.key_id).revoked_from
    connect(extra={"key_ring": P256.public_key.pem.replace("\n", " ")})
    assert key_ring_of_connection("signing", "key_ring_conn_id").get(P256.key_id)
    for extra in ({}, {"key_ring": 7}, {"key_ring": ""}):
        connect(extra=extra)
        with pytest.raises(InvalidArgumentError, match=r"^key_ring_conn_id='signing'.*no key_ring"):
            key_ring_of_connection("signing", "key_ring_conn_id")


# AWS KMS


def test_a_key_of_kms_signs_there(connect: Connect, kms: Any, s3_url: str) -> None:
    key_id = new_key(kms)
    kms.create_alias(AliasName="alias/audit", TargetKeyId=key_id)
    for named in (key_id, "alias/audit"):
        connect_kms(connect, s3_url, kms_key_id=named)
        signer = signer_of_connection("signing", "signing_conn_id")
        ring = KeyRing.of_pem(signer.public_key.pem, "what KMS gave")
        signature = signer.sign(b"message")
        assert ring.get(signer.key_id).public_key.verifies(signature, b"message")
    # What KMS itself says of the signature.
    arguments = {"KeyId": key_id, "Message": b"message", "MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert kms.verify(Signature=signature, **arguments)["SignatureValid"]
    kms.delete_alias(AliasName="alias/audit")


@pytest.mark.parametrize(
    ("spec", "usage", "why"),
    [
        ("ECC_NIST_P384", "SIGN_VERIFY", "signs with ECDSA_SHA_384.*ECC_NIST_P256"),
        ("RSA_2048", "SIGN_VERIFY", "signs with RSASSA.*ECC_NIST_P256"),
    ],
)
def test_other_keys_of_kms_are_refused(
    connect: Connect, kms: Any, s3_url: str, spec: str, usage: str, why: str
) -> None:
    connect_kms(connect, s3_url, kms_key_id=new_key(kms, spec, usage))
    with pytest.raises(InvalidArgumentError, match=f"^signing_conn_id='signing'.*{why}"):
        signer_of_connection("signing", "signing_conn_id")


def test_a_key_that_kms_does_not_have_is_named(connect: Connect, s3_url: str) -> None:
    connect_kms(connect, s3_url, kms_key_id="alias/nowhere")
    with pytest.raises(InvalidArgumentError, match=r"get_public_key.*'alias/nowhere'.*NotFoundException"):
        signer_of_connection("signing", "signing_conn_id")


def test_a_kms_that_does_not_answer_is_worth_another_try(connect: Connect) -> None:
    connect_kms(connect, "http://127.0.0.1:9", kms_key_id="alias/audit")
    with pytest.raises(SigningError, match=r"did not answer \(EndpointConnectionError\)") as caught:
        signer_of_connection("signing", "signing_conn_id")
    assert caught.value.retry_task


class Kms:
    """Signs as KMS does, in either form of a message."""

    def __init__(self) -> None:
        self.key = P256
        self.types: list[str] = []

    def sign(self, **asked: Any) -> dict[str, Any]:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA256

        self.types.append(asked["MessageType"])
        if asked["MessageType"] == "RAW":
            assert len(asked["Message"]) <= 4096
            return {"Signature": self.key.sign(asked["Message"])}
        assert isinstance(self.key.key, EllipticCurvePrivateKey)
        return {"Signature": self.key.key.sign(asked["Message"], ECDSA(Prehashed(SHA256())))}


def test_messages_of_any_length_are_signed_alike() -> None:
    kms = Kms()
    key = KmsKey(kms, "alias/audit", P256.public_key, "x")
    for length in (0, 4096, 4097, 100_000):
        message = b"m" * length
        assert P256.public_key.verifies(key.sign(message), message)
    assert kms.types == ["RAW", "RAW", "DIGEST", "DIGEST"]


def test_an_alias_that_moved_to_another_key_signs_nothing() -> None:
    kms = Kms()
    key = KmsKey(kms, "alias/audit", P256.public_key, "x")
    kms.key = ED25519
    with pytest.raises(SigningError, match="a different key"):
        key.sign(b"message")
