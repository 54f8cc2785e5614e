"""Decides whether a signature counts, by these rules, each of which has a test (``test_signature.py``).

1. Nothing is read from an envelope before a signature over its exact bytes and their type has been verified.
2. Only keys in the key ring count. The key id in an envelope only selects the key to try; the signature decides.
3. One signature that counts is enough, whatever is beside it: two keys sign while one replaces the other.
4. The payload is an in-toto Statement according to its type, which the signature covers.
5. The statement is made for the purpose at hand: a seal's signature is not valid for a manifest, or the reverse.
6. It names exactly the files at hand, by path below the root and SHA-256: none is missing, and none is added.
7. Its date is within the key's validity period, from ``valid_from`` on and before ``valid_until``.
8. A revoked key's dates prove nothing. Its signature counts only if a time stamp, or a trusted seal that names the
   file, proves that it is older than ``revoked_from``.
9. Without a key ring, no signature counts; the caller learns whether there is one.
10. An envelope has at most 1 MiB and 16 signatures; whatever is in it, the check returns a result and never raises.
11. An envelope is exactly as this package writes it: one with added members, white space or different base64 does not
    count, although it says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from airflow_provider_curation.audit.evidence.dsse import Envelope, EnvelopeError, Signature, Signer
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.statement import PAYLOAD_TYPE, Purpose, Statement, StatementError
from airflow_provider_curation.audit.window import format_utc


class SignatureStatus(str, Enum):
    """The result of checking a signature; only ``SIGNED`` counts."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    UNCHECKED = "unchecked"  # there is a signature, but no key ring to check it with
    UNREADABLE = "unreadable"  # not an envelope
    UNKNOWN_KEY = "unknown_key"
    BAD = "bad"  # a trusted key's id, but not a signature by that key over these bytes
    WRONG_TYPE = "wrong_type"  # signed by a trusted key, but not a statement
    WRONG_PURPOSE = "wrong_purpose"
    OTHER_FILES = "other_files"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"

    __str__ = str.__str__


@dataclass(frozen=True)
class SignatureCheck:
    """The result of checking one file's signature.

    :param detail: in words that follow "the manifest" or "the seal", such as "is not signed".
    :param key_id: of the key that signed, or that the envelope names; ``None`` if there is none.
    :param signed_at: the date in the statement, in UTC, if a trusted key signed it.
    """

    status: SignatureStatus
    detail: str
    key_id: str | None = None
    signed_at: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether a trusted key signed the file at a time when the key was valid."""
        return self.status is SignatureStatus.SIGNED


def sign(purpose: Purpose, subjects: Mapping[str, str], signer: Signer, now: datetime) -> bytes:
    """Return a signature's file.

    :param subjects: SHA-256 in hexadecimal of the files that it covers, by path below the archive's root.
    :param now: the date of the signature, in UTC.
    """
    return Envelope.seal(Statement(purpose, subjects, now).to_json(), PAYLOAD_TYPE, signer).to_json()


def check_signature(
    body: bytes | None,
    ring: KeyRing,
    purpose: Purpose,
    subjects: Mapping[str, str],
    proven_at: datetime | None = None,
) -> SignatureCheck:
    """Check a signature by the rules of this module.

    :param body: the signature's file; ``None`` if there is none.
    :param subjects: SHA-256 in hexadecimal of the files at hand, by path below the archive's root.
    :param proven_at: a time at which these exact files are proven to have existed, signed.
    """
    if body is None:
        return SignatureCheck(SignatureStatus.UNSIGNED, "is not signed")
    if not ring:
        return SignatureCheck(SignatureStatus.UNCHECKED, "is signed, but no public key was given to check it with")
    try:
        envelope = Envelope.parse(body)
    except EnvelopeError as error:
        return SignatureCheck(SignatureStatus.UNREADABLE, f"has a signature that cannot be read: {error}")
    checks = [_check_one(envelope, each, ring, purpose, subjects, proven_at) for each in envelope.signatures]
    return next((check for check in checks if check.counts), checks[0])


def _check_one(
    envelope: Envelope,
    signature: Signature,
    ring: KeyRing,
    purpose: Purpose,
    subjects: Mapping[str, str],
    proven_at: datetime | None,
) -> SignatureCheck:
    key = ring.get(signature.key_id)
    if key is None:
        named = repr(signature.key_id[:64])
        return SignatureCheck(SignatureStatus.UNKNOWN_KEY, f"is signed by a key that is not trusted ({named})")
    key_id = key.public_key.id

    def failed(status: SignatureStatus, detail: str, signed_at: datetime | None = None) -> SignatureCheck:
        return SignatureCheck(status, detail, key_id, signed_at)

    if not key.public_key.verifies(signature.value, envelope.signed_bytes):
        return failed(SignatureStatus.BAD, f"has a signature that key {key.name} did not make")
    if envelope.payload_type != PAYLOAD_TYPE:
        return failed(
            SignatureStatus.WRONG_TYPE, f"has a signature over {envelope.payload_type[:100]!r}, not a statement"
        )
    try:
        statement = Statement.parse(envelope.payload)
    except StatementError as error:
        return failed(SignatureStatus.WRONG_TYPE, f"has a signature over something other than a statement: {error}")
    if statement.purpose != purpose:
        return failed(
            SignatureStatus.WRONG_PURPOSE, f"has a signature for another purpose ({statement.purpose[:200]!r})"
        )
    if dict(statement.subjects) != dict(subjects):
        return failed(
            SignatureStatus.OTHER_FILES, f"has a signature of key {key.name} for {_difference(statement, subjects)}"
        )
    return _check_time(key, statement.signed_at, proven_at)


def _check_time(key: TrustedKey, signed_at: datetime, proven_at: datetime | None) -> SignatureCheck:
    status, detail = SignatureStatus.SIGNED, f"is signed by key {key.name} at {format_utc(signed_at)}"
    if key.valid_from is not None and signed_at < key.valid_from:
        status = SignatureStatus.NOT_YET_VALID
        detail += f", before the key is valid ({format_utc(key.valid_from)})"
    elif key.valid_until is not None and signed_at >= key.valid_until:
        status = SignatureStatus.EXPIRED
        detail += f", when the key is no longer valid (from {format_utc(key.valid_until)})"
    elif key.revoked_from is not None and (proven_at is None or proven_at >= key.revoked_from):
        status = SignatureStatus.REVOKED
        detail += (
            f", which was revoked from {format_utc(key.revoked_from)} on, and neither a time stamp nor a trusted seal "
            "proves that the signature is older"
        )
    return SignatureCheck(status, detail, key.public_key.id, signed_at)


def _difference(statement: Statement, subjects: Mapping[str, str]) -> str:
    """Describe how the statement's files differ from those at hand."""
    if statement.subjects.keys() == subjects.keys() and all(
        statement.subjects[each] != subjects[each] for each in subjects
    ):
        signed = ", ".join(f"{path} with SHA-256 {sha256[:64]}" for path, sha256 in statement.subjects.items())
        return (
            f"other bytes of the same files, made at {format_utc(statement.signed_at)}: {signed}. An export that is "
            "killed between signature and manifest leaves an older manifest with its new signature; so does an older "
            "manifest that was put back. Export the window again"
        )
    for path, sha256 in subjects.items():
        if path not in statement.subjects:
            return f"other files: it does not name {path}"
        if statement.subjects[path] != sha256:
            return f"other bytes: {path} was signed with SHA-256 {statement.subjects[path][:64]}, and has {sha256}"
    return "more files than these"
