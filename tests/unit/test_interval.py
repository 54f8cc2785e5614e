"""The window of a run, over the runs that each of Airflow's schedules makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables import trigger
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_curation.audit.errors import InvalidArgumentError, InvalidWindowError, UndefinedWindowError
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.interval import window_of_run

AIRFLOW = int(airflow_version.partition(".")[0])
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    """A moment of November 2026: "21" or "21T13:05"."""
    day, _, time = text.partition("T")
    hour, minute = (time or "0:0").split(":")
    return datetime(2026, 11, int(day), int(hour), int(minute), tzinfo=timezone.utc)


def window(start: str, end: str) -> Window:
    return Window(utc(start), utc(end))


# What a run gives its tasks, and what they make of it

EMPTY = "empty data interval"
NONE = "run has no data interval"
PARTITION = "has a partition"

#: What the message must name, so that the reader can go on.
CURES = {
    EMPTY: (
        "CronDataIntervalTimetable('@daily', timezone='UTC')",
        "start and end",
        "Specify Manually",
        "REST API",
        "'@daily'",
    ),
    NONE: ("start and end", "assets", "without a logical date", "a schedule that has intervals"),
    PARTITION: ("start and end", 'start="{{ partition_date }}"', 'end="{{ partition_date', "(2026-11-2"),
}


def context_of(interval: Any, partition: Any = None) -> dict[str, Any]:
    """What a task sees of a run: without an interval the keys are absent, as Airflow's task runner has it."""
    context: dict[str, Any] = {"ti": None}
    if AIRFLOW >= 3:
        key, date = partition or (None, None)
        context |= {"partition_key": key, "partition_date": date}
    if interval is not None:
        context |= {"data_interval_start": interval.start, "data_interval_end": interval.end}
    return context


def outcome(context: dict[str, Any]) -> Window | str:
    """The window, or the kind of error: its message must then name the cure."""
    try:
        return window_of_run(context)
    except UndefinedWindowError as error:
        [kind] = [kind for kind in CURES if kind in str(error)]
        missing = [cure for cure in CURES[kind] if cure not in str(error)]
        assert missing == []
        return kind


# Airflow's own timetables

REFUSED = "refused"


@dataclass(frozen=True)
class Schedule:
    """A row of the table of schedules: what its runs must lead to."""

    name: str
    schedule: Callable[[], Any]
    scheduled: Window | str | None
    backfill: list[Window | str] | str
    tested: Window | str
    earliest: str = "21"


DAYS = [window("21", "22"), window("22", "23")]
#: The logical dates of both days and of the midnight after them.
TICKS = 3


def daily_rows(name: str, schedule: Callable[[], Any]) -> Schedule:
    """Real intervals of a day each."""
    return Schedule(name, schedule, window("21", "22"), [*DAYS, window("23", "24")], window("09", "10"))


def momentary(name: str, schedule: Callable[[], Any]) -> Schedule:
    """Runs that start and end at one moment."""
    return Schedule(name, schedule, EMPTY, [EMPTY] * TICKS, EMPTY)


def partitions() -> Any:
    return trigger.CronPartitionTimetable("@daily", timezone="UTC")


def assets() -> Any:
    from airflow.providers.common.compat.sdk import Asset

    return [Asset("curation-audit-events")]


SCHEDULES = [
    daily_rows('CronDataIntervalTimetable("@daily", "UTC")', lambda: CronDataIntervalTimetable("@daily", "UTC")),
    Schedule(
        'CronTriggerTimetable("@daily", interval=1 day)',
        lambda: CronTriggerTimetable("@daily", timezone="UTC", interval=DAY),
        window("21", "22"),
        [window("20", "21"), *DAYS],
        window("09T13:05", "10T13:05"),
        earliest="22",
    ),
    momentary('CronTriggerTimetable("@daily")', lambda: CronTriggerTimetable("@daily", timezone="UTC")),
    Schedule(
        "DeltaDataIntervalTimetable(1 day)",
        lambda: DeltaDataIntervalTimetable(DAY),
        window("21", "22"),
        [*DAYS, window("23", "24")],
        window("09T13:05", "10T13:05"),
    ),
    Schedule("@continuous", lambda: "@continuous", window("21", "22T13:05"), REFUSED, EMPTY),
    Schedule("None", lambda: None, None, REFUSED, EMPTY),
    Schedule("@once", lambda: "@once", EMPTY, REFUSED, EMPTY),
]
if AIRFLOW >= 3:
    SCHEDULES += [
        momentary("@daily", lambda: "@daily"),
        momentary("a cron string", lambda: "0 0 * * *"),
        momentary("timedelta", lambda: DAY),
        Schedule("assets", assets, None, REFUSED, EMPTY),
    ]
    if hasattr(trigger, "CronPartitionTimetable"):
        SCHEDULES.append(Schedule("CronPartitionTimetable", partitions, PARTITION, [PARTITION] * TICKS, EMPTY))
else:
    SCHEDULES += [
        daily_rows("@daily", lambda: "@daily"),
        daily_rows("a cron string", lambda: "0 0 * * *"),
        Schedule(
            "timedelta", lambda: DAY, window("21", "22"), [*DAYS, window("23", "24")], window("09T13:05", "10T13:05")
        ),
        Schedule("assets", assets, None, REFUSED, EMPTY),
    ]

each_schedule = pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: row.name)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only "@continuous" asks what time it is."""
    import airflow.timetables.simple as simple

    clock = SimpleNamespace(**{**vars(simple.timezone), "utcnow": lambda: pendulum.instance(utc("22T13:05"))})
    monkeypatch.setattr(simple, "timezone", clock)


def scheduler_dag(row: Schedule) -> Any:
    """The DAG as the scheduler has it, with one of Airflow's core timetables."""
    dag = DAG("any", schedule=row.schedule(), start_date=utc(row.earliest), max_active_runs=1, catchup=True)
    if AIRFLOW < 3:
        return dag
    from airflow.serialization import serialized_objects

    # Renamed in Airflow 3.2.
    kind = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    return kind.deserialize_dag(kind.serialize_dag(dag))


def context_of_info(info: Any) -> dict[str, Any]:
    key = getattr(info, "partition_key", None)
    return context_of(info.data_interval, (key, info.partition_date) if key else None)


@each_schedule
def test_of_a_scheduled_run(row: Schedule) -> None:
    timetable = scheduler_dag(row).timetable
    restriction = TimeRestriction(earliest=pendulum.instance(utc(row.earliest)), latest=None, catchup=True)
    if hasattr(timetable, "next_dagrun_info_v2"):
        info = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    else:
        info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)

    if row.scheduled is None:
        assert info is None
    else:
        assert outcome(context_of_info(info)) == row.scheduled


@each_schedule
def test_of_a_backfill(row: Schedule) -> None:
    dag = scheduler_dag(row)

    if row.backfill == REFUSED:
        assert not dag.timetable.periodic
    else:
        infos: Iterator[Any] = dag.iter_dagrun_infos_between(pendulum.instance(utc("21")), pendulum.instance(utc("23")))
        assert [outcome(context_of_info(info)) for info in infos] == row.backfill


@each_schedule
def test_of_dag_test(row: Schedule) -> None:
    timetable = scheduler_dag(row).timetable
    interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(utc("10T13:05")))

    assert outcome(context_of(interval)) == row.tested


def test_of_a_run_that_assets_trigger() -> None:
    if AIRFLOW >= 3:
        # No logical date, and so neither key.
        assert outcome(context_of(None)) == NONE
        return
    timetable = scheduler_dag(next(row for row in SCHEDULES if row.name == "assets")).timetable
    source = SimpleNamespace(data_interval_start=utc("21"), data_interval_end=utc("22"))
    from_a_run = SimpleNamespace(source_dag_run=source, timestamp=utc("22T13:05"))
    from_outside = SimpleNamespace(source_dag_run=None, timestamp=utc("22T13:05"))

    # Airflow 2 hands on the interval of the run that updated the asset.
    assert outcome(context_of(timetable.data_interval_for_events(utc("23"), [from_a_run]))) == window("21", "22")
    assert outcome(context_of(timetable.data_interval_for_events(utc("23"), [from_outside]))) == EMPTY


def test_of_a_trigger_without_a_logical_date() -> None:
    assert outcome(context_of(None)) == NONE


def test_of_a_trigger_with_an_interval_through_the_rest_api() -> None:
    interval = SimpleNamespace(start=pendulum.instance(utc("03T07:00")), end=pendulum.instance(utc("05T09:00")))
    assert outcome(context_of(interval)) == window("03T07:00", "05T09:00")


@pytest.mark.parametrize("start", [None, utc("21")])
def test_of_an_interval_with_a_missing_end(start: datetime | None) -> None:
    with pytest.raises(UndefinedWindowError):
        window_of_run({"data_interval_start": start, "data_interval_end": None})


def test_of_an_interval_that_ends_before_it_starts() -> None:
    with pytest.raises(UndefinedWindowError):
        window_of_run({"data_interval_start": utc("22"), "data_interval_end": utc("21")})


# Arguments

INTERVAL = {"data_interval_start": utc("21"), "data_interval_end": utc("22")}
MOMENT = {"data_interval_start": utc("21"), "data_interval_end": utc("21")}


@pytest.mark.parametrize(
    "context", [{}, INTERVAL, MOMENT, context_of(None, ("2026-11-21", utc("21")))], ids=["none", "day", "empty", "part"]
)
def test_both_arguments_win_over_any_run(context: dict[str, Any]) -> None:
    assert window_of_run(context, utc("01"), utc("02")) == window("01", "02")


def test_one_argument_takes_the_other_bound_from_the_interval() -> None:
    assert window_of_run(INTERVAL, start=utc("20")) == window("20", "22")
    assert window_of_run(INTERVAL, end=utc("23T01:00")) == window("21", "23T01:00")


@pytest.mark.parametrize(
    ("context", "kind"), [(MOMENT, EMPTY), ({}, NONE), (context_of(None, ("a-part", utc("21"))), None)]
)
@pytest.mark.parametrize(("given", "missing"), [("start", "end"), ("end", "start")])
def test_one_argument_without_an_interval_names_the_other(
    context: dict[str, Any], kind: str | None, given: str, missing: str
) -> None:
    with pytest.raises(UndefinedWindowError) as refused:
        window_of_run(context, **{given: utc("01")})
    said = str(refused.value)
    assert said.startswith(f"Only {given} was given, and this run has ")
    assert f"Give the operator {missing}" in said or f"give the operator {missing}" in said
    assert "start and end" not in said.replace("interval's start and end", "")
    assert kind is None or kind in said


def test_one_argument_beyond_the_interval_is_refused() -> None:
    with pytest.raises(InvalidWindowError, match="not before its end"):
        window_of_run(INTERVAL, start=utc("22"))
    with pytest.raises(InvalidWindowError, match="not before its end"):
        window_of_run(INTERVAL, end=utc("21"))


@pytest.mark.parametrize("text", ["", " ", "None"])
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_template_that_gave_nothing_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name}={text!r}: the template"):
        window_of_run(INTERVAL, **{name: text})
    with pytest.raises(InvalidArgumentError, match=f"^{name}={text!r}: the template"):
        window_of_run({}, **{"start": str(utc("01")), "end": str(utc("02")), name: text})


@pytest.mark.parametrize("moment", [datetime(2026, 11, 1), "2026-11-01T00:00:00", "2026-11-01"])
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_naive_time_is_refused(name: str, moment: datetime | str) -> None:
    with pytest.raises(InvalidWindowError, match=f"^{name}=.*has no time zone"):
        window_of_run(INTERVAL, **{name: moment})


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01T00:00:00Z", 20261101])
@pytest.mark.parametrize("name", ["start", "end"])
def test_what_is_no_time_is_refused(name: str, moment: Any) -> None:
    with pytest.raises(InvalidWindowError, match=f"^{name}="):
        window_of_run(INTERVAL, **{name: moment})


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01T02:00:00+02:00", "2026-11-02T01:00:00+01:00"),
        (pendulum.datetime(2026, 11, 1, 9, tz="Asia/Tokyo"), pendulum.datetime(2026, 11, 1, 19, tz="America/New_York")),
        ("2026-11-01 00:00:00+00:00", " 2026-11-02T00:00:00Z "),  # as Jinja writes a datetime
    ],
)
def test_time_zones(start: Any, end: Any) -> None:
    assert window_of_run({}, start, end) == window("01", "02")


def test_a_day_that_is_an_hour_longer() -> None:
    # In New York clocks went back on the 1st of November 2026.
    interval = CronDataIntervalTimetable("@daily", "America/New_York").infer_manual_data_interval(
        run_after=pendulum.datetime(2026, 11, 2, 12, tz="America/New_York")
    )
    found = outcome(context_of(interval))
    assert isinstance(found, Window)
    assert found == window("01T04:00", "02T05:00")
    assert found.width == timedelta(hours=25)


def test_microseconds_are_rounded_up_so_that_neighbours_stay_neighbours() -> None:
    first, second, third = (utc("21T13:05") + timedelta(seconds=n, microseconds=7) for n in (0, 30, 60))

    before = window_of_run({"data_interval_start": first, "data_interval_end": second})
    after = window_of_run({"data_interval_start": second, "data_interval_end": third})

    assert before.start == utc("21T13:05") + timedelta(seconds=1)
    assert before.end == after.start == utc("21T13:05") + timedelta(seconds=31)


def test_an_interval_within_a_second_is_refused() -> None:
    moment = utc("21") + timedelta(microseconds=1)
    with pytest.raises(InvalidWindowError, match="whole seconds"):
        window_of_run({"data_interval_start": moment, "data_interval_end": moment + timedelta(microseconds=1)})
