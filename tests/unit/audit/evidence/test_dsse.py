"""The envelope: its encoding is DSSE's, and nothing but an envelope is read as one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.dsse import (
    MOST_ENVELOPE_BYTES,
    Envelope,
    EnvelopeError,
    Signature,
    pre_authentication_encoding,
)
from tests.support.keys import ED25519


def test_the_encoding_is_that_of_the_specification() -> None:
    # The example of DSSE's protocol.md.
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(st.text(max_size=20), st.binary(max_size=20), st.text(max_size=20), st.binary(max_size=20))
def test_no_two_pairs_of_type_and_bytes_are_encoded_alike(one: str, first: bytes, other: str, second: bytes) -> None:
    try:
        same = pre_authentication_encoding(one, first) == pre_authentication_encoding(other, second)
    except UnicodeEncodeError:
        return
    assert same == ((one, first) == (other, second))


@given(st.binary(max_size=200))
def test_an_envelope_survives_being_written(payload: bytes) -> None:
    made = Envelope.seal(payload, "a/b", ED25519)
    read = Envelope.parse(made.to_json())
    assert read == made
    assert (read.payload, read.payload_type, read.signatures[0].key_id) == (payload, "a/b", ED25519.key_id)
    assert ED25519.public_key.verifies(read.signatures[0].value, read.signed_bytes)


def without(name: str, **changed: Any) -> bytes:
    facts = json.loads(Envelope(b"x", "a/b", (Signature("k", b"s"),)).to_json())
    facts.pop(name, None)
    return json.dumps({**facts, **changed}).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no json", "not JSON"),
        (without("payload"), "no payload"),
        (without("payload", payload="%"), "payload is not base64"),
        (without("payload", payload="YQ=="[:3]), "payload is not base64"),
        (without("payload", payload=7), "no payload"),
        (without("payloadType"), "type of its payload"),
        (without("signatures"), "1 to 16 signatures"),
        (without("signatures", signatures=[]), "1 to 16 signatures"),
        (without("signatures", signatures=[{"keyid": "k", "sig": "YQ=="}] * 17), "1 to 16 signatures"),
        (without("signatures", signatures=["x"]), "not a JSON object"),
        (without("signatures", signatures=[{"keyid": 1, "sig": "YQ=="}]), "key id"),
        (without("signatures", signatures=[{"keyid": "k"}]), "no sig"),
        (without("", padding="x" * MOST_ENVELOPE_BYTES), "more than the 1,048,576"),
        (without("")[:-1] + b',"payload":"YQ=="}', "two members named 'payload'"),
    ],
)
def test_what_is_not_an_envelope_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(EnvelopeError, match=why):
        Envelope.parse(body)


WRITTEN = Envelope(b"xy", "a/b", (Signature("k", b"s"),)).to_json()


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + WRITTEN,
        WRITTEN + b"\n",
        WRITTEN.replace(b"\n ", b"\n\t", 1),
        WRITTEN.replace(b"a/b", b"\\u0061/b"),
        WRITTEN.replace(b'"sig"', b'"note": 1, "sig"'),
        WRITTEN.replace(b'"payload"', b'"note": 1, "payload"', 1),
        WRITTEN.replace(b"eHk=", b"eHl="),
        json.dumps(json.loads(WRITTEN)).encode(),
    ],
    ids=["bom", "line", "tab", "escape", "member of a signature", "member", "bits behind base64", "one line"],
)
def test_an_envelope_that_is_written_differently_is_refused(body: bytes) -> None:
    assert body != WRITTEN
    with pytest.raises(EnvelopeError):
        Envelope.parse(body)


@given(st.data())
def test_every_change_to_an_envelope_shows(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WRITTEN)))
    end = data.draw(st.integers(place, len(WRITTEN)))
    body = WRITTEN[:place] + data.draw(st.binary(max_size=3)) + WRITTEN[end:]
    try:
        read = Envelope.parse(body)
    except EnvelopeError:
        return
    assert body == WRITTEN or read != Envelope.parse(WRITTEN)


def test_a_signature_has_a_key_id() -> None:
    body = without("", signatures=[{"sig": base64.b64encode(b"s").decode()}])
    with pytest.raises(EnvelopeError, match="key id"):
        Envelope.parse(body)
