"""What came of repairing, and when it is an incident."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.conclusion import conclude, unsealed
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
    assert (conclusion.failed, str(conclusion)) == (False, "Nothing was found, and nothing was repaired.")


def test_gaps_and_late_events_are_repaired_quietly() -> None:
    conclusion = conclude(report(("gap", None), ("late_events", "a")), report())
    assert not conclusion.failed
    assert str(conclusion).splitlines() == [
        "Found: 1 gap, 1 late_events. Repaired: 1 gap, 1 late_events. Lost: nothing.",
        r"- repaired: gap: : \x1b[2J",
        r"- repaired: late_events: a: \x1b[2J",
    ]


@pytest.mark.parametrize("kind", sorted(INCIDENTS))
def test_what_was_altered_or_had_vanished_fails_though_it_was_repaired(kind: FindingKind) -> None:
    before = report((kind.value, "a"))
    assert conclude(before, report()).failed
    assert f"were altered or had vanished ({kind.value})" in str(conclude(before, report()))
    assert not conclude(before, report(), [kind.value]).failed
    # What is lost is never tolerated.
    assert conclude(before, before, [kind.value]).failed


def test_what_is_lost_fails() -> None:
    conclusion = conclude(report(("gap", "a"), ("gap", "b")), report(("gap", "b")))
    assert (conclusion.failed, conclusion.repaired, conclusion.lost) == (True, {"gap": 1}, {"gap": 1})
    assert conclusion.lines == (r"- lost: gap: b: \x1b[2J", r"- repaired: gap: a: \x1b[2J")


def test_many_findings_are_counted() -> None:
    conclusion = conclude(report(*[("gap", str(number)) for number in range(200)], more=100), report())
    assert conclusion.repaired == {"gap": 300}
    assert len(conclusion.lines) == 51
    # Of what a report does not name, it is not known what became of it.
    assert conclude(report(("gap", "a")), report(more=1)).lines == ()


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="tolerate: 'gaps' is not a kind"):
        conclude(report(), report(), ["gaps"])


@pytest.mark.parametrize(
    ("sealed_until", "start"),
    [
        (None, "2025-01-02T00:00:00Z"),
        ("2025-01-05T00:00:00Z", "2025-01-05T00:00:00Z"),
        # What lies between the last seal and the period is not left out.
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2025-01-09T00:00:00Z", None),
        ("2025-01-10T00:00:00Z", None),
    ],
)
def test_what_no_seal_covers_begins_where_the_last_one_ends(sealed_until: str | None, start: str | None) -> None:
    verified = {"start": "2025-01-02T00:00:00Z", "end": "2025-01-09T00:00:00Z", "sealed_until": sealed_until}
    assert unsealed(verified) == ([{"start": start, "end": "2025-01-09T00:00:00Z"}] if start else [])


@pytest.mark.parametrize("events", [7, 8])
def test_what_was_repaired_after_it_was_sealed_is_an_incident_and_no_loss(events: int) -> None:
    replaced = {**report(("replaced_after_sealing", "a"))["findings"][0], "sealed_events": 7, "events": events}
    after = {"counts": {"replaced_after_sealing": 1}, "findings": [replaced]}
    before = report(("late_events", "a"))
    conclusion = conclude(before, after)
    assert (conclusion.failed, conclusion.repaired, conclusion.lost) == (True, {"late_events": 1}, {})
    assert conclusion.incidents == ("replaced_after_sealing",)
    assert [line.split(":")[0] for line in conclusion.lines] == ["- rewritten", "- repaired"]
    # The next runs find it, too.
    assert conclude(after, after).failed
    tolerated = conclude(after, after, ["replaced_after_sealing"])
    assert not tolerated.failed
    assert "- rewritten: replaced_after_sealing: a" in str(tolerated)


def test_a_sealed_export_with_fewer_events_is_lost_whatever_is_tolerated() -> None:
    replaced = {**report(("replaced_after_sealing", "a"))["findings"][0], "sealed_events": 7, "events": 6}
    after = {"counts": {"replaced_after_sealing": 1}, "findings": [replaced]}
    conclusion = conclude(after, after, ["replaced_after_sealing"])
    assert (conclusion.failed, conclusion.lost) == (True, {"replaced_after_sealing": 1})
