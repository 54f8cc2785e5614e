"""Reads signing keys from Airflow connections: a private key in PEM, a key in AWS KMS, or a ring of public keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError, SigningError
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.keys import PrivateKey, PublicKey
from airflow_provider_curation.compat import AirflowNotFoundException, get_connection, mask_secret

#: Longer messages are given to KMS as their SHA-256, which signs the same.
_MOST_KMS_BYTES: Final = 4096
_ALGORITHM: Final = "ECDSA_SHA_256"
#: KMS's answers if the connection or the key is wrong, so that a retry cannot help.
_FINAL: Final = (
    "AccessDeniedException",
    "DisabledException",
    "InvalidArnException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
    "NotFoundException",
    "UnrecognizedClientException",
    "UnsupportedOperationException",
    "ValidationException",
)


def signer_of_connection(conn_id: str, argument: str) -> Signer:
    """Return the signing key of a connection, and mask its secrets in logs.

    A connection of type ``aws`` names a key in AWS KMS in its extra ``kms_key_id``. Any other one contains a private
    key in PEM, in its password or its extra ``private_key``, and its ``passphrase`` in an extra if it is encrypted.

    :param argument: the operator's argument that names the connection, for errors.
    :raises InvalidArgumentError: if there is no such connection, or it has no usable key.
    :raises SigningError: if KMS does not return the public key.
    """
    connection, source = _connection(conn_id, argument), f"{argument}={conn_id!r}"
    extra = connection.extra_dejson
    if connection.conn_type == "aws":
        if not extra.get("kms_key_id"):
            raise InvalidArgumentError(
                f"{source}: the connection is of type aws, and its extra has no kms_key_id. Set it to the id, ARN or "
                "alias of an asymmetric KMS key (ECC_NIST_P256, SIGN_VERIFY)."
            )
        return KmsKey.of_connection(conn_id, str(extra["kms_key_id"]), source)
    pem = connection.password or extra.get("private_key")
    if not pem:
        raise InvalidArgumentError(
            f"{source}: the connection has no private key. Put it in PEM into the password or the extra private_key; "
            "make one with: openssl genpkey -algorithm ed25519"
        )
    passphrase = extra.get("passphrase")
    for secret in (pem, passphrase):
        if secret:
            _mask(str(secret))
    return PrivateKey.of_pem(str(pem), source, passphrase and str(passphrase))


def key_ring_of_connection(conn_id: str, argument: str) -> KeyRing:
    """Return a connection's public keys: in PEM or as a key ring's JSON, in its extra ``key_ring``.

    :param argument: the operator's argument that names the connection, for errors.
    :raises InvalidArgumentError: if there is no such connection, or it has no usable key ring.
    """
    connection, source = _connection(conn_id, argument), f"{argument}={conn_id!r}"
    ring = connection.extra_dejson.get("key_ring")
    if isinstance(ring, dict):
        ring = json.dumps(ring)
    if not isinstance(ring, str) or not ring:
        raise InvalidArgumentError(
            f"{source}: the connection's extra has no key_ring. Set it to a public key in PEM, or to "
            '{"keys": [{"public_key": "-----BEGIN PUBLIC KEY-----...", "valid_until": "2027-01-01T00:00:00Z"}]}.'
        )
    return KeyRing.of_text(ring, source)


@dataclass(frozen=True)
class KmsKey:
    """A key in AWS KMS, which never leaves it.

    :param client: boto3's client of KMS.
    :param kms_key_id: its id, ARN or alias.
    :param source: where it comes from, for errors.
    """

    client: Any
    kms_key_id: str
    public_key: PublicKey
    source: str

    @classmethod
    def of_connection(cls, aws_conn_id: str, kms_key_id: str, source: str) -> KmsKey:
        """Ask KMS for the public key of a key.

        :param aws_conn_id: connection of type ``aws``.
        :raises InvalidArgumentError: if there is no such key, or it is not ECDSA on P-256.
        :raises SigningError: if KMS does not answer.
        """
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        client = AwsBaseHook(aws_conn_id=aws_conn_id, client_type="kms").get_conn()
        answer = _ask(client.get_public_key, source, KeyId=kms_key_id)
        algorithms = answer.get("SigningAlgorithms") or ["nothing"]
        if _ALGORITHM not in algorithms:
            raise InvalidArgumentError(
                f"{source}: the KMS key {kms_key_id!r} signs with {', '.join(algorithms)}. Use an asymmetric key with "
                "the key spec ECC_NIST_P256 and the key usage SIGN_VERIFY."
            )
        public = PublicKey.of_der(answer["PublicKey"], f"{source}: the KMS key {kms_key_id!r}")
        return cls(client, kms_key_id, public, source)

    @property
    def key_id(self) -> str:
        return self.public_key.id

    def sign(self, message: bytes) -> bytes:
        """Return a signature over a message, in DER.

        :raises InvalidArgumentError: if the connection may not sign with the key.
        :raises SigningError: if KMS does not answer, or answers with another key's signature.
        """
        short = len(message) <= _MOST_KMS_BYTES
        answer = _ask(
            self.client.sign,
            self.source,
            KeyId=self.kms_key_id,
            Message=message if short else hashlib.sha256(message).digest(),
            MessageType="RAW" if short else "DIGEST",
            SigningAlgorithm=_ALGORITHM,
        )
        signature = bytes(answer["Signature"])
        # The alias may have moved to another key meanwhile.
        if not self.public_key.verifies(signature, message):
            raise SigningError(
                f"{self.source}: KMS signed with a different key than {self.kms_key_id!r} had when the task started. "
                "Nothing was signed; the next try uses the new key."
            )
        return signature


def _ask(call: Any, source: str, **arguments: Any) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    asked = f"{source}: KMS was asked for {call.__name__} with the key {arguments['KeyId']!r}"
    try:
        return dict(call(**arguments))
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _FINAL:
            raise InvalidArgumentError(
                f"{asked}, and answered {code}. Check the key, and grant kms:GetPublicKey and kms:Sign."
            ) from error
        raise SigningError(f"{asked}, and answered {code}. Nothing was signed; try again.") from error
    except BotoCoreError as error:
        raise SigningError(f"{asked}, and did not answer ({type(error).__name__}). Check the connection.") from error


def _connection(conn_id: str, argument: str) -> Any:
    try:
        return get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidArgumentError(f"{argument}={conn_id!r}: there is no such connection. Create it.") from error


def _mask(secret: str) -> None:
    """Mask a secret in logs, also line by line, since a log shows a key in PEM that way."""
    mask_secret(secret)
    for line in secret.replace("\\n", "\n").split("\n"):
        if len(line) >= 16 and not line.startswith("-----"):
            mask_secret(line)
