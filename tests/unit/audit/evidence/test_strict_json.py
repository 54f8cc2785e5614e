"""Only what every JSON reader understands in the same way is read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.strict_json import MOST_LEVELS, StrictJsonError, read_object

WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.booleans())
def test_ordinary_objects_are_read_as_json_reads_them(value: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    try:
        assert read_object(body, len(body)) == value
    except StrictJsonError as error:
        if "levels" not in str(error):
            raise


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"events":7,"events":8}', "two members named 'events'"),
        (b'{"a":{"b":1,"\\u0062":2}}', "two members named 'b'"),
        (b'{"a":NaN}', "not finite"),
        (b'{"a":-Infinity}', "not finite"),
        (b'{"a":1e999}', "not finite"),
        (b'{"a":9223372036854775808}', "outside 64 bits"),
        (b'{"a":' + b"9" * 5000 + b"}", "outside 64 bits"),
        (b'{"a":"\\ud800"}', "half a surrogate pair"),
        (b'{"\\udfff":1}', "half a surrogate pair"),
        (b'{"a":["\xed\xa0\x80"]}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{\x00"\x00a\x00', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (nested(MOST_LEVELS + 1), "more than 16 levels"),
        (b"[" * 200_000, "more than 16 levels"),
        (b'{"a":' * 200_000, "more than 16 levels"),
        (b"[1]", "not an object"),
        (b"", "not JSON"),
        (b'{"a":1} {}', "not JSON"),
        (b'{"a":1}' + b" " * 1_000_000, "1,000,007 bytes, more than the 1,000,000"),
    ],
)
def test_what_readers_could_understand_differently_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(StrictJsonError, match=why):
        read_object(body, 1_000_000)


def test_brackets_in_text_are_not_levels() -> None:
    assert read_object(nested(MOST_LEVELS), 1000)["a"] is not None
    assert read_object(b'{"a":"' + b'[\\"{' * 50 + b'"}', 1000) == {"a": '["{' * 50}


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_comes_the_error_is_a_named_one(body: bytes) -> None:
    with contextlib.suppress(StrictJsonError):
        read_object(body, 100)
