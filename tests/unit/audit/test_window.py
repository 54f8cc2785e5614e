"""Windows: what they accept, and that they part without gaps or overlaps."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.clipping import clip
from airflow_provider_curation.audit.endpoint import MAX_WIDTH, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import InvalidWindowError
from airflow_provider_curation.audit.retention import forgotten
from airflow_provider_curation.audit.window import Window, format_utc, to_utc

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

UTC = timezone.utc
START = datetime(2026, 3, 9, tzinfo=UTC)

zones = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=30)), ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")]
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=zones)
seconds = st.integers(1, 40 * 24 * 3600)
windows = st.builds(
    lambda start, width: Window(start, start + timedelta(seconds=width)),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    seconds,
)


def assert_partition(whole: Window, parts: list[Window]) -> None:
    assert parts[0].start == whole.start
    assert parts[-1].end == whole.end
    for before, after in pairwise(parts):
        assert before.end == after.start
    for part in parts:
        assert part.start < part.end
        assert part.start.microsecond == part.end.microsecond == 0


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-09T00:00:00Z", "2026-03-09T00:00:00Z"),
        (" 2026-03-09T00:00:00Z\n", "2026-03-09T00:00:00Z"),
        ("2026-03-09T02:00:00+02:00", "2026-03-09T00:00:00Z"),
        ("2026-03-08T19:00:00-0500", "2026-03-09T00:00:00Z"),
        ("2026-03-09 00:00:00+00:00", "2026-03-09T00:00:00Z"),
        ("20260309T000000Z", "2026-03-09T00:00:00Z"),
        ("2026-03-09T00:00:00.000001Z", "2026-03-09T00:00:01Z"),
        ("2026-03-09T23:59:59.999Z", "2026-03-10T00:00:00Z"),
        (START, "2026-03-09T00:00:00Z"),
        (datetime(2026, 3, 29, 3, tzinfo=ZoneInfo("Europe/Berlin")), "2026-03-29T01:00:00Z"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=0), "2026-10-25T00:30:00Z"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), "2026-10-25T01:30:00Z"),
        (pendulum.datetime(2026, 3, 9, tz="Europe/Berlin"), "2026-03-08T23:00:00Z"),
        (pendulum.datetime(2026, 3, 9, 0, 0, 0, 1, tz="UTC"), "2026-03-09T00:00:01Z"),
    ],
)
def test_moments_are_read_in_any_zone(moment: Any, expected: str) -> None:
    read = to_utc(moment)
    assert format_utc(read) == expected
    assert type(read) is datetime
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "yesterday",
        "P1D",
        "2026-02-30T00:00:00Z",
        "2026-03-09T00:00:00Z/2026-03-10T00:00:00Z",
        "{{ data_interval_start }}",
        None,
        date(2026, 3, 9),
        1_773_014_400,
    ],
)
def test_what_is_no_moment_is_refused_by_name(moment: Any) -> None:
    with pytest.raises(InvalidWindowError, match=r"^start=") as caught:
        to_utc(moment, "start")
    assert isinstance(caught.value, ValueError)
    assert not caught.value.retry_task


@pytest.mark.parametrize(
    "moment", ["2026-03-09", "2026-03-09T00:00:00", datetime(2026, 3, 9), pendulum.naive(2026, 3, 9)]
)
def test_naive_times_are_refused_with_the_cure(moment: Any) -> None:
    with pytest.raises(InvalidWindowError, match=r"^end=.*no time zone.*add Z or an offset"):
        to_utc(moment, "end")


def test_a_word_is_no_moment() -> None:
    with pytest.raises(InvalidWindowError):
        to_utc("now")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.5Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_moments_beyond_the_calendar_are_refused(moment: str) -> None:
    with pytest.raises(InvalidWindowError):
        to_utc(moment)


@settings(UNHURRIED)
@given(st.text(alphabet="0123456789-:TZ+. WPDnow/", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = to_utc(text)
    except InvalidWindowError:
        return
    assert read.tzinfo is UTC


@settings(UNHURRIED)
@given(moments)
def test_rounds_up_to_the_next_whole_second(moment: datetime) -> None:
    read = to_utc(moment)
    assert read.microsecond == 0
    assert timedelta(0) <= read - moment.astimezone(UTC) < timedelta(seconds=1)
    assert to_utc(read) == read
    assert to_utc(moment.astimezone(UTC).isoformat()) == read


@settings(UNHURRIED)
@given(moments, moments, moments)
def test_rounding_keeps_neighbours_neighbours(one: datetime, two: datetime, three: datetime) -> None:
    start, middle, end = sorted((one, two, three), key=lambda moment: moment.astimezone(UTC))
    edges = [to_utc(start), to_utc(middle), to_utc(end)]
    assert edges == sorted(edges)
    if edges[0] < edges[1] < edges[2]:
        assert_partition(Window.parse(start, end), [Window.parse(start, middle), Window.parse(middle, end)])


@settings(UNHURRIED)
@given(moments, st.integers(-3, 3))
def test_a_whole_second_is_in_the_window_that_began_before_it(moment: datetime, around: int) -> None:
    """The server's times have whole seconds: such an event is on the same side of the fraction and of its ceiling."""
    event = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=around)
    assert (event >= moment.astimezone(UTC)) == (event >= to_utc(moment))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-09T00:00:00Z", "2026-03-09T00:00:00Z"),
        ("2026-03-09T00:00:01Z", "2026-03-09T00:00:00Z"),
        ("2026-03-09T01:00:00+01:00", "2026-03-09T00:00:00Z"),
        ("2026-03-09T00:00:00.1Z", "2026-03-09T00:00:00.9Z"),
    ],
)
def test_windows_without_a_second_are_refused(start: str, end: str) -> None:
    with pytest.raises(InvalidWindowError, match="is not before its end"):
        Window.parse(start, end)


@settings(UNHURRIED)
@given(windows, st.sampled_from([REQUEST_WIDTH, MAX_WIDTH]) | seconds.map(lambda number: timedelta(seconds=number)))
def test_split_gives_a_partition(window: Window, width: timedelta) -> None:
    width = max(width, timedelta(seconds=window.width // timedelta(seconds=500)))  # so that there are not too many
    parts = list(window.split(width))
    assert_partition(window, parts)
    assert all(part.width == width for part in parts[:-1])
    assert parts[-1].width <= width
    assert len(parts) == -(-window.width // width)


@settings(UNHURRIED)
@given(windows, st.integers(0, 200))
def test_divide_gives_a_partition_of_even_parts(window: Window, number: int) -> None:
    parts = list(window.divide(number))
    assert_partition(window, parts)
    assert len(parts) == max(1, min(number, int(window.width.total_seconds())))
    widths = [part.width for part in parts]
    assert max(widths) - min(widths) <= timedelta(seconds=1)


def test_width_of_a_request_is_allowed_by_the_server() -> None:
    assert timedelta(hours=144) == REQUEST_WIDTH < MAX_WIDTH == timedelta(hours=168)
    assert len(list(Window(START, START + REQUEST_WIDTH).split(REQUEST_WIDTH))) == 1
    assert len(list(Window(START, START + REQUEST_WIDTH + timedelta(seconds=1)).split(REQUEST_WIDTH))) == 2


def test_start_is_inside_and_end_is_not() -> None:
    window = Window(START, START + timedelta(days=1))
    assert window.start in window
    assert window.end not in window
    assert window.end - timedelta(seconds=1) in window
    assert window.start - timedelta(seconds=1) not in window
    assert str(window) == "[2026-03-09T00:00:00Z, 2026-03-10T00:00:00Z)"
    assert hash(window) == hash(Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z"))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.5Z"])
def test_a_moment_beyond_the_calendar_is_refused_by_name(moment: str) -> None:
    with pytest.raises(InvalidWindowError, match="start="):
        to_utc(moment, "start")


def test_a_retention_may_mean_for_ever() -> None:
    now = datetime(2026, 3, 9, tzinfo=timezone.utc)
    window = Window.parse("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z")
    assert forgotten(window, timedelta.max, now) is None
    week = Window.parse("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z")
    assert clip(week, now, retention=timedelta.max, settle_time=timedelta(0)).kept == week
