"""What a day is shown as, by its exports and the verification's findings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.reporting.figures import Day, DayState, Figures
from airflow_provider_curation.audit.window import Window
from tests.support.archives import MemoryArchive
from tests.support.reports import DAY, START, WEEK, days, event, figures, put_export

HOUR = timedelta(hours=1)


def archive(without: int | None = None, **of_day_2: Any) -> MemoryArchive:
    """A week with one event a day; a day may be left out, and the manifest of the third day be another one."""
    made = MemoryArchive()
    for number, day in enumerate(days()):
        if number != without:
            put_export(made, day, [event(number + 1, day.start + HOUR)], **(of_day_2 if number == 2 else {}))
    return made


def the_days(found: Figures) -> list[Day]:
    [series] = found.series
    return list(series.days)


def states(found: Figures) -> list[str]:
    return [day.state.value for day in the_days(found)]


def test_a_week_that_is_whole_is_complete() -> None:
    found = figures(archive())
    assert states(found) == ["complete"] * 7
    assert found.verdict.word == "complete"
    assert [(total.counted, total.kept) for total in found.totals] == [(7, 7)]
    assert the_days(found)[0].runs == ("export, scheduled__2026-03-01",)


def test_a_missing_day_can_be_recovered_until_its_first_second_is_forgotten() -> None:
    found = figures(archive(without=2), now=WEEK.end + 20 * DAY)
    day = the_days(found)[2]
    assert states(found) == ["complete"] * 2 + ["missing"] + ["complete"] * 4
    assert day.until == "2026-04-02T00:00:00Z"
    assert day.absent == ("[2026-03-03T00:00:00Z, 2026-03-04T00:00:00Z)",)
    assert found.verdict.word == "incomplete"
    assert found.verdict.sentence == "No: 1 day is missing and can still be recovered."


@pytest.mark.parametrize(("later", "state"), [(timedelta(0), "lost"), (-timedelta(seconds=1), "missing")])
def test_a_day_is_lost_once_the_server_begins_to_forget_it(later: timedelta, state: str) -> None:
    found = figures(archive(without=2), now=START + 2 * DAY + 30 * DAY + later)
    assert states(found)[2] == state
    assert (the_days(found)[2].until is None) == (state == "lost")


def test_an_empty_day_is_empty_and_the_archive_complete() -> None:
    made = archive(without=2)
    put_export(made, list(days())[2], [])
    found = figures(made)
    assert states(found)[2] == "empty"
    assert found.verdict.word == "complete"


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"reconciled": False, "total_before": None, "total_after": None}, "unreconciled"),
        ({"filters": {"actions": ["blocked"]}}, "filtered"),
    ],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_what_limits_the_proof_is_shown_even_if_it_is_ignored(facts: Any, state: str, ignored: bool) -> None:
    ignore = frozenset({FindingKind(state)}) if ignored else frozenset()
    found = figures(archive(**facts), check={"ignored": ignore})
    assert states(found)[2] == state
    assert found.verdict.word == "complete but"
    assert {each.kind: each.ignored for each in found.findings}[state] == ignored


def test_a_day_without_a_count_has_none() -> None:
    found = figures(archive(reconciled=False, total_before=None, total_after=None))
    assert the_days(found)[2].counted is None
    assert [(total.counted, total.uncounted, total.kept) for total in found.totals] == [(6, 1, 7)]


def test_a_vanished_object_makes_its_day_missing() -> None:
    made = archive()
    del made.objects[next(key for key in made.objects if key.startswith("curation/instance") and "03-05" in key)]
    found = figures(made)
    assert states(found)[4] == "missing"
    assert the_days(found)[4].findings == ("object_missing",)
    assert found.verdict.word == "incomplete"
    assert found.activity
    assert found.activity.unread_objects == 1


def test_hourly_exports_of_one_day_are_one_cell() -> None:
    made = MemoryArchive()
    period = Window(START, START + DAY)
    for number, hour in enumerate(period.split(HOUR)):
        events = [event(1, hour.start)] if number == 5 else []
        if number != 7:
            put_export(made, hour, events)
    found = figures(made, period)
    [day] = the_days(found)
    assert (day.state, day.exports, day.counted, len(day.manifests)) == (DayState.MISSING, 23, 1, 3)
    assert day.absent == ("[2026-03-01T07:00:00Z, 2026-03-01T08:00:00Z)",)


def test_an_export_of_a_week_covers_its_days_and_counts_on_the_first() -> None:
    made = MemoryArchive()
    put_export(made, WEEK, [event(1, START + 3 * DAY)])
    found = figures(made)
    assert states(found) == ["complete"] * 7
    assert [day.kept for day in the_days(found)] == [1, 0, 0, 0, 0, 0, 0]


def test_a_period_within_days_has_parts_of_days() -> None:
    period = Window(START + 6 * HOUR, START + 2 * DAY + 6 * HOUR)
    found = figures(archive(), period)
    assert [day.day for day in the_days(found)] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert found.beyond == 2


def test_an_archive_without_exports_is_incomplete() -> None:
    found = figures(MemoryArchive())
    assert found.verdict.word == "incomplete"
    assert found.series == ()


def test_only_what_was_asked_for_is_shown() -> None:
    made = archive()
    for day in days():
        put_export(made, day, [], instance="other.example")
        put_export(made, day, [], stream="dry_run")
    found = figures(made, servers=["acme.example"], streams=["events"])
    assert [(each.server, each.stream) for each in found.series] == [("acme.example", "events")]
    assert found.servers == ("acme.example",)
