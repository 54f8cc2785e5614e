"""The rules by which a signature counts, one by one; the numbers are those of the module's docstring."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence import signature
from airflow_provider_curation.audit.evidence.dsse import MOST_ENVELOPE_BYTES, Envelope
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.audit.evidence.signature import SignatureCheck, SignatureStatus, check_signature, sign
from airflow_provider_curation.audit.evidence.statement import PAYLOAD_TYPE, Purpose, Statement
from tests.support.keys import ED25519, OTHER, P256

NOW = datetime(2026, 3, 9, tzinfo=timezone.utc)
DAY = timedelta(days=1)
FILES = {"events/a.jsonl.gz": "11" * 32, "_manifests/events/a.jsonl.gz.json": "22" * 32}
RING = KeyRing((TrustedKey(ED25519.public_key, "audit.pub"), TrustedKey(P256.public_key, "kms.pub")))


def signed(key: PrivateKey = ED25519, purpose: Purpose = Purpose.MANIFEST) -> bytes:
    return sign(purpose, FILES, key, NOW)


def check(body: bytes | None, ring: KeyRing = RING, proven_at: datetime | None = None) -> SignatureCheck:
    return check_signature(body, ring, Purpose.MANIFEST, FILES, proven_at)


def dated(**dates: datetime) -> KeyRing:
    return KeyRing((TrustedKey(ED25519.public_key, "audit.pub", **dates),))


def of_payload(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    return Envelope.seal(payload, payload_type, ED25519).to_json()


@pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p-256"])
def test_a_trusted_signature_counts(key: PrivateKey) -> None:
    found = check(signed(key))
    assert (found.status, found.counts, found.key_id, found.signed_at) == (
        SignatureStatus.SIGNED,
        True,
        key.key_id,
        NOW,
    )
    assert "2026-03-09T00:00:00Z" in found.detail


def test_rule_1_the_exact_bytes_and_their_type_are_signed() -> None:
    envelope = Envelope.parse(signed())
    same = json.dumps(json.loads(envelope.payload), indent=1).encode()
    for changed in (
        replace(envelope, payload=same),
        replace(envelope, payload=envelope.payload + b" "),
        replace(envelope, payload=b"nothing that could be parsed"),
        replace(envelope, payload_type="application/json"),
    ):
        assert check(changed.to_json()).status is SignatureStatus.BAD


def test_rule_2_only_keys_of_the_ring_count() -> None:
    found = check(signed(OTHER))
    assert (found.status, found.counts) == (SignatureStatus.UNKNOWN_KEY, False)
    assert OTHER.key_id in found.detail
    # The id of a trusted key makes no signature of another one good.
    envelope = Envelope.parse(signed(OTHER))
    named = replace(envelope, signatures=(replace(envelope.signatures[0], key_id=ED25519.key_id),))
    assert check(named.to_json()).status is SignatureStatus.BAD


def test_rule_3_one_signature_that_counts_is_enough() -> None:
    one, two = Envelope.parse(signed()), Envelope.parse(signed(OTHER))
    assert one.payload == two.payload
    both = replace(one, signatures=(*two.signatures, *one.signatures))
    assert check(both.to_json()).key_id == ED25519.key_id
    assert check(replace(one, signatures=[*two.signatures, *two.signatures]).to_json()).counts is False


def test_rule_4_the_payload_is_a_statement() -> None:
    statement = Statement(Purpose.MANIFEST, FILES, NOW).to_json()
    assert check(of_payload(statement)).counts
    assert check(of_payload(statement, "application/json")).status is SignatureStatus.WRONG_TYPE
    assert check(of_payload(b"{}")).status is SignatureStatus.WRONG_TYPE
    assert check(of_payload(statement[:-1] + b',"subject":[]}')).status is SignatureStatus.WRONG_TYPE


def test_rule_5_a_signature_counts_for_its_own_purpose_only() -> None:
    assert check(signed(purpose=Purpose.SEAL)).status is SignatureStatus.WRONG_PURPOSE
    assert check_signature(signed(purpose=Purpose.SEAL), RING, Purpose.SEAL, FILES).counts
    assert check_signature(signed(), RING, Purpose.SEAL, FILES).status is SignatureStatus.WRONG_PURPOSE


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {**FILES, "events/a.jsonl.gz": "33" * 32},
            f"other bytes: events/a.jsonl.gz was signed with SHA-256 {'11' * 32}",
        ),
        ({"events/b.jsonl.gz": "11" * 32}, "does not name events/b.jsonl.gz"),
        ({**FILES, "more": "44" * 32}, "does not name more"),
        (dict(list(FILES.items())[:1]), "more files than these"),
    ],
)
def test_rule_6_exactly_these_files_are_signed(files: dict[str, str], why: str) -> None:
    found = check_signature(signed(), RING, Purpose.MANIFEST, files)
    assert found.status is SignatureStatus.OTHER_FILES
    assert why in found.detail


def test_the_signature_of_another_export_of_the_same_files_is_told_from_an_edited_file() -> None:
    """An export that is killed between signature and manifest leaves it; both files differ then."""
    found = check_signature(signed(), RING, Purpose.MANIFEST, dict.fromkeys(FILES, "99" * 32))
    assert found.status is SignatureStatus.OTHER_FILES
    assert "made at 2026-03-09T00:00:00Z" in found.detail
    assert "Export the window again" in found.detail
    edited = check_signature(signed(), RING, Purpose.MANIFEST, {**FILES, list(FILES)[-1]: "99" * 32})
    assert "Export the window again" not in edited.detail


def test_rule_7_a_key_counts_in_its_validity_period() -> None:
    assert check(signed(), dated(valid_from=NOW, valid_until=NOW + DAY)).counts
    early = check(signed(), dated(valid_from=NOW + DAY))
    late = check(signed(), dated(valid_until=NOW))
    assert (early.status, late.status) == (SignatureStatus.NOT_YET_VALID, SignatureStatus.EXPIRED)
    assert "2026-03-10T00:00:00Z" in early.detail
    # Proof of its age makes no expired key's signature good.
    assert not check(signed(), dated(valid_until=NOW), proven_at=NOW - DAY).counts


def test_rule_8_a_revoked_key_counts_for_what_is_proven_to_be_older() -> None:
    ring = dated(revoked_from=NOW + DAY)
    # It is dated before the revocation, but whoever has the key can write any date.
    found = check(signed(), ring)
    assert found.status is SignatureStatus.REVOKED
    assert "neither a time stamp nor a trusted seal" in found.detail
    assert check(signed(), ring, proven_at=NOW).counts
    assert not check(signed(), ring, proven_at=NOW + DAY).counts


def test_rule_9_without_a_key_ring_nothing_counts() -> None:
    assert check(signed(), KeyRing()).status is SignatureStatus.UNCHECKED
    assert check(b"whatever", KeyRing()).status is SignatureStatus.UNCHECKED
    assert check(None, KeyRing()).status is SignatureStatus.UNSIGNED
    assert check(None).status is SignatureStatus.UNSIGNED


def test_rule_10_an_envelope_is_bounded() -> None:
    envelope = Envelope.parse(signed())
    assert (
        check(replace(envelope, signatures=list(envelope.signatures) * 17).to_json()).status
        is SignatureStatus.UNREADABLE
    )
    assert check(signed() + b" " * MOST_ENVELOPE_BYTES).status is SignatureStatus.UNREADABLE


@given(st.binary(max_size=300), st.sampled_from(["payload", "sig", "whole"]))
def test_rule_10_whatever_comes_is_a_result(noise: bytes, place: str) -> None:
    facts = json.loads(signed())
    text = base64.b64encode(noise).decode()
    if place == "payload":
        body = of_payload(noise)
    elif place == "sig":
        body = json.dumps({**facts, "signatures": [{"keyid": P256.key_id, "sig": text}]}).encode()
    else:
        body = noise
    assert check(body).counts is False


def test_rule_11_an_envelope_has_one_spelling() -> None:
    for changed in (b"\xef\xbb\xbf" + signed(), signed() + b"\n", json.dumps(json.loads(signed())).encode()):
        assert check(changed).status is SignatureStatus.UNREADABLE


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_a_signed_file_can_change(place: int, change: int) -> None:
    body = bytearray(signed())
    place %= len(body)
    body[place] ^= change
    assert check(bytes(body)).counts is False


def test_each_rule_has_its_test() -> None:
    numbered = set(re.findall(r"^(\d+)\. ", signature.__doc__ or "", re.MULTILINE))
    tested = {found[1] for name in globals() if (found := re.match(r"test_rule_(\d+)_", name))}
    assert numbered == tested != set()
