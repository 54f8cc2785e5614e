"""Pieces of a long range: a partition of what can be exported, on a grid that clipping does not move."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.clipping import Clipped, clip
from airflow_provider_curation.audit.errors import ExpiredWindowError, FutureWindowError, InvalidArgumentError
from airflow_provider_curation.audit.window import Window

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NOW = datetime(2026, 11, 22, 13, 5, 7, 250_000, tzinfo=timezone.utc)
RETENTION, SETTLE = timedelta(days=30), timedelta(minutes=5)

moments = st.integers(-60 * 86_400, 5 * 86_400).map(lambda seconds: NOW.replace(microsecond=0) + seconds * MINUTE / 60)
steps = st.integers(600, 40 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


def clipped(start: datetime, end: datetime, now: datetime = NOW, **limits: Any) -> Clipped:
    return clip(Window(start, end), now, **{"retention": RETENTION, "settle_time": SETTLE, **limits})


@UNHURRIED
@given(start=moments, end=moments, step=steps)
def test_pieces_are_a_partition_of_the_kept_part_on_the_grid(start: datetime, end: datetime, step: timedelta) -> None:
    assume(start < end)
    try:
        cut = clipped(start, end)
    except (ExpiredWindowError, FutureWindowError):
        return
    pieces = cut.pieces(step)

    assert cut.count(step) == len(pieces) > 0
    assert (pieces[0].start, pieces[-1].end) == (cut.kept.start, cut.kept.end)
    assert all(one.end == two.start for one, two in pairwise(pieces))
    assert all(timedelta() < piece.width <= step for piece in pieces)
    assert all((piece.end - start) % step == timedelta() for piece in pieces[:-1])
    assert start <= cut.kept.start
    assert cut.kept.end <= end


@UNHURRIED
@given(start=moments, end=moments)
def test_what_is_asked_for_is_kept_or_named(start: datetime, end: datetime) -> None:
    assume(start < end)
    first, last = NOW - RETENTION + HOUR, NOW - SETTLE
    try:
        cut = clipped(start, end)
    except ExpiredWindowError:
        assert end < first + MINUTE
        return
    except FutureWindowError:
        assert start > last - MINUTE
        return
    parts = [part for part in (cut.forgotten, cut.kept, cut.unsettled) if part]

    assert (parts[0].start, parts[-1].end) == (start, end)
    assert all(one.end == two.start for one, two in pairwise(parts))
    # Nothing that can be exported is cut off, apart from the minute.
    assert cut.forgotten is None or first <= cut.kept.start < first + MINUTE
    assert cut.unsettled is None or last - MINUTE < cut.kept.end <= last
    assert cut.kept.end <= last
    assert bool(cut.note) == (len(parts) > 1)


@UNHURRIED
@given(later=st.integers(0, 3 * 86_400), step=steps)
def test_a_later_run_moves_no_inner_edge(later: int, step: timedelta) -> None:
    start, end = NOW.replace(microsecond=0) - timedelta(days=28), NOW.replace(microsecond=0) - timedelta(days=1)
    before = clipped(start, end).pieces(step)
    after = clipped(start, end, NOW + timedelta(seconds=later)).pieces(step)

    assert after[1:] == before[len(before) - len(after) + 1 :]


def test_a_range_that_can_be_had_is_kept_whole() -> None:
    cut = clipped(NOW - 3 * DAY, NOW - DAY)

    assert cut.kept == cut.asked
    assert (cut.forgotten, cut.unsettled, cut.note) == (None, None, "")


def test_the_note_names_what_is_left_out() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    cut = clipped(midnight - 40 * DAY, midnight + DAY)

    assert str(cut.kept) == "[2026-10-23T14:06:00Z, 2026-11-22T13:00:00Z)"
    assert "[2026-10-13T00:00:00Z, 2026-10-23T14:06:00Z) is NOT exported: the server has forgotten it" in cut.note
    assert "[2026-11-22T13:00:00Z, 2026-11-23T00:00:00Z) is NOT exported: its events have not settled" in cut.note
    assert [str(piece) for piece in cut.pieces(DAY)][:2] == [
        "[2026-10-23T14:06:00Z, 2026-10-24T00:00:00Z)",
        "[2026-10-24T00:00:00Z, 2026-10-25T00:00:00Z)",
    ]


def test_the_first_piece_is_not_forgotten_while_it_waits() -> None:
    cut = clipped(NOW - 60 * DAY, NOW)

    assert cut.kept.start >= NOW + HOUR - RETENTION


def test_a_range_that_is_forgotten_is_refused() -> None:
    with pytest.raises(ExpiredWindowError, match=r"forgotten all of \[2026-10-03T13:05:07Z, .*retention="):
        clipped(NOW.replace(microsecond=0) - 50 * DAY, NOW.replace(microsecond=0) - 31 * DAY)


def test_a_range_of_which_nothing_has_settled_is_refused() -> None:
    with pytest.raises(FutureWindowError, match=r"Nothing of .* has settled: .* up to 2026-11-22T13:00"):
        clipped(NOW.replace(microsecond=0) - MINUTE, NOW + DAY)


@pytest.mark.parametrize("step", [timedelta(), timedelta(seconds=-1), timedelta(milliseconds=1500)], ids=str)
def test_a_step_that_is_no_width_is_refused(step: timedelta) -> None:
    cut = clipped(NOW - 3 * DAY, NOW - DAY)

    with pytest.raises(InvalidArgumentError, match="step="):
        cut.pieces(step)
    with pytest.raises(InvalidArgumentError, match="step="):
        cut.count(step)
