"""Alerts: what strangers wrote stays text, wherever it is shown."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.alerts import MOST_CHARACTERS, blocked_line, plain

EVENT: dict[str, Any] = {
    "created_at": "2026-03-09T14:51:03Z",
    "package_type": "npm",
    "package_name": "left-pad_2",
    "package_version": "1.0.0",
    "curated_repository_name": "acme-npm-remote",
    "curated_project": "payments",
    "reason": "Policy violations",
    "username": "dev1@acme.example",
    "policies": [{"policy_name": "no-malware"}, {"policy_name": "licences"}],
}


def test_a_line_carries_what_people_need_and_names_nobody() -> None:
    assert blocked_line(EVENT) == (
        "2026-03-09T14:51:03Z npm left-pad_2 1.0.0 for acme-npm-remote (project payments): "
        "Policy violations: licences, no-malware"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\nb\r\u2028c", r"a\nb\r\u2028c"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("<!channel> <https://x.example|y>", "&lt;!channel&gt; &lt;https://x.example|y&gt;"),
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"),
        ("*bold* ~gone~ `code` a_b_c", r"\x2abold\x2a \x7egone\x7e \x60code\x60 a_b_c"),
        ("\u202egnp.exe\u200b", r"\u202egnp.exe\u200b"),
        ("\ud800", r"\ud800"),
        ("x" * 300, "x" * MOST_CHARACTERS + "…"),
    ],
)
def test_text_of_strangers_is_escaped(said: str, shown: str) -> None:
    assert plain(said) == shown
    for name in ("package_name", "package_version", "curated_repository_name", "curated_project", "reason"):
        assert shown in blocked_line({**EVENT, name: said})
    assert shown in blocked_line({**EVENT, "policies": [{"policy_name": said}]})


@given(st.dictionaries(st.sampled_from(sorted(EVENT)[:-3]), st.none() | st.text(max_size=300)))
def test_every_event_makes_one_printable_line(fields: dict[str, Any]) -> None:
    fields.pop("policies", None)
    line = blocked_line(fields)
    assert not set(line) & set("<>*~`\"'\n\r\x1b")
    assert not any(unicodedata.category(each).startswith("C") for each in line)
