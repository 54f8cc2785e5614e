"""No piece of a cell is left that a spreadsheet could read as a formula, and nothing else changes."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.csv_safe import neutral
from tests.support.formulas import FORMULA_STARTS

SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
dangerous = st.lists(
    st.sampled_from([*SIGNS, *";\t\r\n \"'a1\u00a0\u3000\0\x1f\u200b\ufeff", "cmd|' /C calc'!A0"])
    | st.text(max_size=3),
    max_size=12,
).map("".join)


def pieces(text: str) -> list[str]:
    """What a spreadsheet may take for cells: text between separators, and what it skips before a formula left out."""
    cut = [text, *re.split("[;\t\r\n]", text)]
    return [re.sub(r"^[\s\0-\x1f\x7f\"\u200b-\u200f\u2060\ufeff]+", "", piece) for piece in cut]


@settings(deadline=None, max_examples=500)
@given(dangerous)
def test_no_piece_of_a_cell_is_a_formula(text: str) -> None:
    safe = neutral(text)
    assert not [piece for piece in pieces(safe) if piece.startswith(SIGNS)]
    assert not safe.startswith(FORMULA_STARTS)
    # Apostrophes were put in, and nothing else was changed; and only where it was needed.
    assert safe.replace("'", "") == text.replace("'", "")
    if not any(piece.startswith(SIGNS) for piece in pieces(text)) and not text.startswith(FORMULA_STARTS):
        assert safe == text
    assert neutral(safe) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1", "'=1"),
        (" =1", "' =1"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0d1", "'\uff0d1"),
        ("a;=1", "a;'=1"),
        ('a; "=1"', 'a;\' "=1"'),
        ("a\n@x;\t+1", "a\n'@x;\t'+1"),
        ("\0=1", "'\0=1"),
        ("a=1; b-c", "a=1; b-c"),
        ("'=1", "'=1"),
        ("", ""),
    ],
)
def test_what_is_put_before_a_formula(text: str, safe: str) -> None:
    assert neutral(text) == safe


@pytest.mark.parametrize("text", [" " * 200_000, "\n" * 200_000, ";" * 200_000, '"' * 200_000, "; " * 100_000])
def test_a_long_cell_takes_no_time(text: str) -> None:
    started = time.process_time()
    assert neutral(text + "=")
    assert time.process_time() - started < 2
