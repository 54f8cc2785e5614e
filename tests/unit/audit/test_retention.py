"""What a server has forgotten, and how long until it forgets more."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_curation.audit.errors import ExpiredWindowError
from airflow_provider_curation.audit.retention import check_remembered, days_left
from airflow_provider_curation.audit.window import Window

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
RETENTION = timedelta(days=30)


def days_ago(first: float, last: float) -> Window:
    return Window(NOW - timedelta(days=first), NOW - timedelta(days=last))


@pytest.mark.parametrize(
    ("missing", "archived_until", "left"),
    [
        ([], 0, 30),
        ([], 1, 29),
        ([days_ago(5, 4)], 0, 25),
        ([days_ago(3, 2), days_ago(20, 19.5)], 1, 10),
        # The server is forgetting this one, and still has a part of it.
        ([days_ago(31, 29)], 0, 0),
        # This one cannot be saved any more, so nothing is about to be lost.
        ([days_ago(40, 35)], 1, 29),
        # Nothing was archived for longer than the server remembers.
        ([], 100, 0),
    ],
)
def test_counts_the_days_until_the_oldest_missing_moment_is_forgotten(
    missing: list[Window], archived_until: float, left: float
) -> None:
    assert days_left(missing, NOW - timedelta(days=archived_until), RETENTION, NOW) == left


def test_an_endless_retention_leaves_endless_time() -> None:
    assert days_left([days_ago(900, 800)], NOW, timedelta.max, NOW) > 100_000


def test_the_error_says_the_retention_as_people_do() -> None:
    with pytest.raises(ExpiredWindowError, match="if it keeps events for 30 days"):
        check_remembered(days_ago(31, 29), RETENTION, NOW)
