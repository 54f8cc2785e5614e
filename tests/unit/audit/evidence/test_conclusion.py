"""What came of mending, and when it is an incident."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.conclusion import conclude
from airflow_provider_curation.audit.evidence.findings import INCIDENTS, FindingKind


def report(*findings: tuple[str, str | None], more: int = 0) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for kind, _ in findings:
        counts[kind] = counts.get(kind, 0) + 1
    if more:
        counts["gap"] = counts.get("gap", 0) + more
    return {"counts": counts, "findings": [{"kind": kind, "key": key, "detail": "\x1b[2J"} for kind, key in findings]}


def test_nothing_was_found() -> None:
    conclusion = conclude(report(), report())
    assert (conclusion.failed, str(conclusion)) == (False, "Nothing was found, and nothing was mended.")


def test_gaps_and_late_events_are_mended_quietly() -> None:
    conclusion = conclude(report(("gap", None), ("late_events", "a")), report())
    assert not conclusion.failed
    assert str(conclusion).splitlines() == [
        "Found: 1 gap, 1 late_events. Mended: 1 gap, 1 late_events. Lost: nothing.",
        r"- mended: gap: : \x1b[2J",
        r"- mended: late_events: a: \x1b[2J",
    ]


@pytest.mark.parametrize("kind", sorted(INCIDENTS))
def test_what_was_altered_or_had_vanished_fails_though_it_was_mended(kind: FindingKind) -> None:
    before = report((kind.value, "a"))
    assert conclude(before, report()).failed
    assert f"were altered or had vanished ({kind.value})" in str(conclude(before, report()))
    assert not conclude(before, report(), [kind.value]).failed
    # What is lost is never tolerated.
    assert conclude(before, before, [kind.value]).failed


def test_what_is_lost_fails() -> None:
    conclusion = conclude(report(("gap", "a"), ("gap", "b")), report(("gap", "b")))
    assert (conclusion.failed, conclusion.mended, conclusion.lost) == (True, {"gap": 1}, {"gap": 1})
    assert conclusion.lines == (r"- lost: gap: b: \x1b[2J", r"- mended: gap: a: \x1b[2J")


def test_many_findings_are_counted() -> None:
    conclusion = conclude(report(*[("gap", str(number)) for number in range(200)], more=100), report())
    assert conclusion.mended == {"gap": 300}
    assert len(conclusion.lines) == 51
    # Of what a report does not name, it is not known what became of it.
    assert conclude(report(("gap", "a")), report(more=1)).lines == ()


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="tolerate: 'gaps' is not a kind"):
        conclude(report(), report(), ["gaps"])
