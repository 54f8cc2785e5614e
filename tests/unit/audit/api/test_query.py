"""One request's parameters."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.window import Window

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")


def test_asks_for_what_the_reference_names() -> None:
    assert Query(WINDOW, 2000).params() == {
        "created_at_start": "2026-03-09T00:00:00Z",
        "created_at_end": "2026-03-10T00:00:00Z",
        "order_by": "id",
        "direction": "asc",
        "num_of_rows": "2000",
        "offset": "0",
        "dry_run": "false",
        "format": "json",
    }


def test_says_everything_that_differs() -> None:
    query = Query(WINDOW, 1, 1999, direction="desc", include_total=True, dry_run=True)
    assert (
        query.params() | {"direction": "desc", "include_total": "true", "dry_run": "true", "offset": "1999"}
        == query.params()
    )


def test_csv_is_never_asked_for_a_total() -> None:
    """A server refuses it."""
    assert "include_total" not in Query(WINDOW, 500_000, format="csv").params()
    assert Query(WINDOW, 500_000, format="csv").params()["format"] == "csv"


@settings(UNHURRIED)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(timezone.utc)),
    st.integers(2, 10**6),
    st.booleans(),
    st.booleans(),
)
def test_both_bounds_are_always_there_in_utc_and_whole_seconds(
    start: datetime, width: int, inclusive: bool, csv: bool
) -> None:
    window = Window.parse(start, start + timedelta(seconds=width))
    query = Query(window, 10, format="csv" if csv else "json", end_inclusive=inclusive)
    params = query.params()
    for name, moment in (
        ("created_at_start", window.start),
        ("created_at_end", window.end - timedelta(seconds=1) if inclusive else window.end),
    ):
        assert datetime.strptime(params[name], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc) == moment
    assert "+" not in urlencode(params)
    assert parse_qs(urlencode(params)) == {name: [value] for name, value in params.items()}


def test_an_inclusive_end_of_one_second_asks_for_that_second() -> None:
    second = Window.parse("2026-03-09T00:00:00Z", "2026-03-09T00:00:01Z")
    params = Query(second, 1, end_inclusive=True).params()
    assert params["created_at_start"] == params["created_at_end"] == "2026-03-09T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            Query(WINDOW, 2000, 1999),
            "GET /xray/api/v1/curation/audit/packages for [2026-03-09T00:00:00Z, 2026-03-10T00:00:00Z) "
            "(json, events, offset 1999, 2000 rows)",
        ),
        (
            Query(WINDOW, 5, dry_run=True, format="csv"),
            "GET /xray/api/v1/curation/audit/packages for [2026-03-09T00:00:00Z, 2026-03-10T00:00:00Z) "
            "(csv, dry-run events, offset 0, 5 rows)",
        ),
    ],
)
def test_an_error_can_say_what_was_asked(query: Query, said: str) -> None:
    assert str(query.asked) == said


def test_what_has_no_window_says_its_path() -> None:
    assert str(Asked("/xray/api/v1/system/version")) == "GET /xray/api/v1/system/version"
