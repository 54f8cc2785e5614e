"""Stored text that is shown: it cannot clear a screen or forge a line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ärger & 日本", "plain, ärger & 日本"),
        ("\x1b[2J\x1b[HNothing is missing.", r"\x1b[2J\x1b[HNothing is missing."),
        ("a\r\nb\tc\x00\x7f\x9b", r"a\r\nb\tc\x00\x7f\x9b"),
        ("\u202edetrever\u2028\ufeff", r"\u202edetrever\u2028\ufeff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_controls_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=50))
def test_nothing_that_acts_is_left(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    finding = Finding(FindingKind.FILTERED, text, text, None, Series(text, text, text))
    assert "\n" not in str(finding) + finding.as_dict()["detail"]


def test_long_text_is_cut() -> None:
    assert printable("x" * 5000) == "x" * 1000 + "… (5,000 characters)"
