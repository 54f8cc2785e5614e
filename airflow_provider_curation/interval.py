"""The window of a DAG run: explicit arguments, else the run's data interval, else an error that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_curation.audit.errors import InvalidArgumentError, UndefinedWindowError
from airflow_provider_curation.audit.window import Window, to_utc


def window_of_run(
    context: Mapping[str, Any], start: datetime | str | None = None, end: datetime | str | None = None
) -> Window:
    """Return the window that a task must read.

    :param context: the task's context. Many schedules of Airflow 3 give it an empty data interval, or none.
    :param start: start, inclusive; default: the data interval's start.
    :param end: end, exclusive; default: the data interval's end.
    :raises InvalidWindowError: for a naive or unreadable time, or an end that is not after the start.
    :raises UndefinedWindowError: if there is neither an argument nor a data interval to take it from.
    """
    if start is not None and end is not None:
        return Window.parse(_moment(start, "start"), _moment(end, "end"))
    interval_start, interval_end = context.get("data_interval_start"), context.get("data_interval_end")
    if interval_start is None or interval_end is None or not interval_start < interval_end:
        raise UndefinedWindowError(_cure(context, interval_start, start, end))
    return Window.parse(
        interval_start if start is None else _moment(start, "start"),
        interval_end if end is None else _moment(end, "end"),
    )


def start_of_search(
    context: Mapping[str, Any], start: datetime | str | None = None, lookback: timedelta | None = None
) -> datetime:
    """Return the start of a task's search, the same in every try and poke of a run.

    :param context: the task's context.
    :param start: the start itself; default: the start of the data interval.
    :param lookback: how long before the run's start, if the run has no data interval.
    :raises UndefinedWindowError: if there is neither an argument nor a data interval.
    """
    if start is not None:
        return to_utc(_moment(start, "start"), "start")
    interval_start, interval_end = context.get("data_interval_start"), context.get("data_interval_end")
    if interval_start is not None and interval_end is not None and interval_start < interval_end:
        return to_utc(interval_start, "data_interval_start")
    if lookback is not None:
        began = getattr(context.get("dag_run"), "start_date", None) or datetime.now(timezone.utc)
        return to_utc(began - lookback, "lookback")
    had = "an empty" if interval_start is not None else "no"
    raise UndefinedWindowError(
        f"This run has {had} data interval, and neither start nor lookback was given, so the search has no start. "
        "Give the sensor lookback=timedelta(...) or start, or use a schedule with intervals, such as "
        "CronDataIntervalTimetable('@hourly', timezone='UTC')."
    )


def end_of_search(end: datetime | str | None, start: datetime) -> datetime | None:
    """Return the end of a task's search, exclusive; ``None`` for no end.

    :raises InvalidWindowError: if it is not after the start.
    """
    return None if end is None else Window(start, to_utc(_moment(end, "end"), "end")).end


def _moment(value: datetime | str, name: str) -> datetime | str:
    if isinstance(value, str) and value.strip() in ("", "None"):
        raise InvalidArgumentError(f"{name}={value!r}: the template rendered to nothing; leave the argument out.")
    return value


def _cure(context: Mapping[str, Any], interval_start: datetime | None, start: object, end: object) -> str:
    given = "start" if start is not None else "end" if end is not None else None
    missing = {"start": "end", "end": "start"}.get(given or "", "start and end")
    asked = f"Only {given} was given, and this" if given else "This"
    if context.get("partition_key") is not None:
        return (
            f"{asked} run has a partition ({context['partition_key']}) and no data interval. Give the operator "
            f'{missing} made from partition_date, such as start="{{{{ partition_date }}}}" and '
            'end="{{ partition_date + macros.timedelta(days=1) }}".'
        )
    if interval_start is None:
        return (
            f"{asked} run has no data interval, as when assets trigger it or it is triggered without a logical date. "
            f"Give the operator {missing}, or export on a schedule that has intervals and let assets trigger the rest."
        )
    return (
        f"{asked} run has an empty data interval (it starts and ends at {interval_start}): on Airflow 3, presets such "
        "as '@daily', cron strings, timedelta, None and '@once' give no interval. Use "
        f"schedule=CronDataIntervalTimetable('@daily', timezone='UTC'), or give the operator {missing}. For a past day "
        "by hand, choose Trigger, Data Interval, Specify Manually in Airflow 3's UI, or give a logical date and the "
        "data interval's start and end through the REST API."
    )
