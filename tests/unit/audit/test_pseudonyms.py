"""Pseudonyms: the values of the named fields are replaced, and not a byte more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer
from airflow_provider_curation.audit.secret_key import SecretKey
from tests.support.keys import OTHER_PSEUDONYM_SECRET, PSEUDONYM_SECRET
from tests.support.keys import PSEUDONYM_KEY as KEY

FIELDS = ("username", "user_mail")
MADE = Pseudonymizer(FIELDS, KEY)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"username":"a"', '\\"user_mail\\":', "username", "\\", '"', "\u2028", "é", "=1+1", "a,b", "p-0", '":"']
)
values = st.none() | st.booleans() | st.integers() | texts
members = st.dictionaries(st.sampled_from(["username", "user_mail", "id", "user", "é", 'user"name']) | texts, values)
events = st.dictionaries(
    st.sampled_from(["username", "user_mail", "id", "package_name", "policies"]) | texts,
    values | members | st.lists(members, max_size=2),
)
spacings = st.sampled_from([(",", ":"), (", ", ": "), (",\t", " :\t")])


def expected(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MADE.token(item if isinstance(item, str) else json.dumps(item, sort_keys=True))
            if name in FIELDS and item not in (None, "")
            else item
            if name in FIELDS
            else expected(item)
            for name, item in value.items()
        }
    return [expected(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=400)
@given(events, st.booleans(), spacings)
def test_the_values_and_nothing_else(event: dict[str, Any], ascii_only: bool, spacing: tuple[str, str]) -> None:
    raw = json.dumps(event, ensure_ascii=ascii_only, separators=spacing).encode()
    made = MADE.event(raw)
    # The separators and escapes of everything else are what they were.
    assert made == json.dumps(expected(event), ensure_ascii=ascii_only, separators=spacing).encode()


@settings(deadline=None, max_examples=200)
@given(texts)
def test_however_a_name_or_a_value_is_escaped(value: str) -> None:
    plain = json.dumps({"username": value, "id": 1}, ensure_ascii=False).encode()
    escaped = b'{"user\\u006eame": "' + b"".join(b"\\u%04x" % unit for unit in units(value)) + b'", "id": 1}'
    assert json.loads(escaped) == json.loads(plain)
    assert json.loads(MADE.event(escaped)) == json.loads(MADE.event(plain))
    assert json.loads(MADE.event(plain))["username"] == (MADE.token(value) if value else "")


def units(text: str) -> list[int]:
    packed = text.encode("utf-16-be")
    return [int.from_bytes(packed[place : place + 2], "big") for place in range(0, len(packed), 2)]


def test_every_member_of_a_name_that_comes_twice() -> None:
    made = MADE.event(b'{"username":"ann","user_mail":"","username":"ann"}')
    token = MADE.token("ann").encode()
    assert made == b'{"username":"' + token + b'","user_mail":"","username":"' + token + b'"}'


def test_a_token_is_of_the_value_and_the_key() -> None:
    other = Pseudonymizer(("username",), SecretKey(OTHER_PSEUDONYM_SECRET))
    assert MADE.token("ann") == Pseudonymizer(("user_mail",), KEY).token("ann")
    assert len({MADE.token("ann"), MADE.token("Ann"), other.token("ann")}) == 3
    assert MADE.token("ann").startswith("p-")
    assert "ann" not in MADE.token("ann")


@pytest.mark.parametrize("fields", ["username", (), ("id",), ("username", "password")])
def test_only_personal_fields(fields: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="pseudonymize="):
        Pseudonymizer(fields, KEY)


def test_a_key_is_long_enough_and_never_shown() -> None:
    with pytest.raises(InvalidArgumentError, match="32 random bytes") as caught:
        SecretKey(b"short-secret", "connection 'x'")
    assert "short-secret" not in str(caught.value)
    assert PSEUDONYM_SECRET.decode() not in repr(KEY) + repr(MADE.__dict__["key"])
