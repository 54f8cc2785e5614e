"""What happened is counted as the events say, once, and in bounded memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.reporting.activity import Names
from airflow_provider_curation.audit.reporting.figures import Activity
from airflow_provider_curation.audit.window import Window
from tests.support.archives import MemoryArchive
from tests.support.reports import DAY, START, WEEK, event, figures, policy, put_export

NOON = START + timedelta(hours=12)


def activity(events: list[dict[str, Any]], dry: list[dict[str, Any]] | None = None, **wanted: Any) -> Activity:
    archive = MemoryArchive()
    put_export(archive, WEEK, [{**each, "id": number} for number, each in enumerate(events, 1)])
    if dry:
        dry = [{**each, "id": number} for number, each in enumerate(dry, 1)]
        put_export(archive, WEEK, dry, stream="dry_run")
    found = figures(archive, **wanted).activity
    assert found is not None
    return found


def blocked(**changes: Any) -> dict[str, Any]:
    return event(1, NOON, **{"action": "blocked", "policies": [policy()], **changes})


def test_events_are_counted_by_action_day_and_type() -> None:
    later = NOON + DAY
    found = activity(
        [
            event(1, NOON),
            blocked(),
            event(1, later, action="passed"),
            event(1, later, package_type="PyPI", action="blocked"),
        ]
    )
    assert found.actions == {"blocked": 2, "approved": 1, "passed": 1}
    assert [(each.time, each.actions) for each in found.over_time] == [
        ("2026-03-01", {"approved": 1, "blocked": 1}),
        ("2026-03-02", {"blocked": 1, "passed": 1}),
    ]
    assert [(each.package_type, each.events, each.blocked, each.passed) for each in found.package_types] == [
        ("npm", 3, 1, 1),
        ("PyPI", 1, 1, 0),
    ]
    assert found.not_inspected == 1


def test_each_policy_and_condition_counts_an_event_once() -> None:
    both = [policy(), policy(), policy("strict", "Malicious package")]
    found = activity([blocked(policies=both), blocked(), blocked(policies=None)])
    assert [(each.name, each.blocked) for each in found.policies] == [("no-malware", 2), ("strict", 1)]
    assert [(each.name, each.category, each.blocked) for each in found.conditions] == [
        ("Malicious package", "security", 2)
    ]


def test_a_waived_policy_did_not_block() -> None:
    found = activity([blocked(policies=[policy(), policy("waived", "CVE", result="Waived")])])
    assert [each.name for each in found.policies] == ["no-malware"]


def test_dry_run_policies_stand_beside_the_conditions_that_block() -> None:
    trial = policy("trial", "Malicious package", dry_run=True)
    found = activity([blocked()], [event(1, NOON, action="approved", policies=[trial])] * 2)
    assert [(each.name, each.blocked, each.would_block) for each in found.conditions] == [("Malicious package", 1, 2)]
    assert [(each.name, each.blocked, each.would_block) for each in found.policies] == [
        ("no-malware", 1, 0),
        ("trial", 0, 2),
    ]
    assert (found.events, found.dry_run_events) == (1, 2)


def test_what_was_let_through_is_listed() -> None:
    found = activity([event(1, NOON, policies=[policy(result="Bypassed")]), event(2, NOON, policies=[])])
    assert found.let_through == 1
    [let] = found.let
    assert (let.package, let.policy, let.result, let.at) == (
        "left-pad",
        "no-malware",
        "Bypassed",
        "2026-03-01T12:00:00Z",
    )


@pytest.mark.parametrize(("people", "names"), [("off", []), ("masked", ["a•••"]), ("shown", ["ada"])])
def test_people_are_named_only_as_far_as_asked(people: Any, names: list[str]) -> None:
    found = activity([blocked()], people=people)
    assert [each.name for each in found.people] == names


def test_the_time_that_two_exports_cover_is_counted_once() -> None:
    archive = MemoryArchive()
    first, second = event(1, NOON), event(2, NOON + DAY)
    put_export(archive, Window(START, START + 2 * DAY), [first, second])
    put_export(archive, Window(START + DAY, WEEK.end), [second])
    found = figures(archive).activity
    assert found
    assert found.events == 2


def test_of_several_formats_one_is_read() -> None:
    archive = MemoryArchive()
    for form in ("jsonl", "parquet"):
        put_export(archive, WEEK, [event(1, NOON)], form=form)
    found = figures(archive).activity
    assert found
    assert (found.events, found.sources) == (1, ("acme.example, events, parquet",))


def test_events_outside_of_the_period_are_left_out() -> None:
    archive = MemoryArchive()
    put_export(archive, WEEK, [event(1, NOON), event(2, NOON + DAY)])
    found = figures(archive, Window(START, START + DAY)).activity
    assert found
    assert (found.events, found.bucket) == (1, "hour")
    assert [each.time for each in found.over_time] == ["2026-03-01T12"]


@pytest.mark.parametrize(
    "written", ["2026-03-01T12:00:00.999Z", "2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00.123456789Z"]
)
def test_a_time_in_another_form_is_of_its_own_day(written: str) -> None:
    found = activity([{**event(1, NOON), "created_at": written}])
    assert [each.time for each in found.over_time] == ["2026-03-01"]


def test_strangers_cannot_make_the_tables_grow() -> None:
    found = activity([event(1, NOON, action=f"action {number}", package_type=f"t{number}") for number in range(1000)])
    assert len(found.actions) == 13
    assert found.actions["(all others)"] == 988
    assert len(found.package_types) == 20
    assert sum(found.actions.values()) == 1000


def test_names_are_bounded_and_say_how_wrong_they_can_be() -> None:
    names = Names(most=10)
    for _ in range(50):
        names.add("frequent")
    for number in range(1000):
        names.add(f"rare {number}")
        names.add("frequent")
    assert names.top(1) == [("frequent", 1050)]
    assert names.too_low > 0
    assert len(names.top(10_000)) <= 20


def test_long_names_stay_apart() -> None:
    names = Names()
    for end in ("a", "b"):
        names.add("x" * 10_000 + end)
    assert [count for _, count in names.top()] == [1, 1]
    assert all(len(name) < 300 for name, _ in names.top())
