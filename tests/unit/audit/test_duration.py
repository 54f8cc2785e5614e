"""Durations in messages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.duration import format_duration


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (timedelta(days=30), "30 days"),
        (timedelta(days=1), "1 day"),
        (timedelta(minutes=90), "1 hour 30 minutes"),
        (timedelta(days=2, hours=3, minutes=1, seconds=5), "2 days 3 hours 1 minute 5 seconds"),
        (timedelta(0), "0 seconds"),
        (timedelta(milliseconds=250), "0.25 seconds"),
        (timedelta(seconds=1, milliseconds=250), "1.25 seconds"),
        (timedelta(minutes=1, milliseconds=250), "1 minute"),
        (timedelta(hours=-2), "minus 2 hours"),
        (timedelta.max, "999,999,999 days 23 hours 59 minutes 59 seconds"),
    ],
)
def test_reads_as_people_write_it(duration: timedelta, said: str) -> None:
    assert format_duration(duration) == said


@given(st.integers(0, 10**9))
def test_no_second_is_lost(seconds: int) -> None:
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    parts = re.findall(r"([\d,]+) (day|hour|minute|second)s?", format_duration(timedelta(seconds=seconds)))
    assert sum(int(number.replace(",", "")) * units[unit] for number, unit in parts) == seconds
