"""The events are a pure function, in order, with the density and the oddities that readers stumble over."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.simulator.dataset import Dataset

START = 1_773_014_400  # Monday 2026-03-09T00:00:00Z
WEEK = 7 * 86_400

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def week() -> Dataset:
    return Dataset(1, START, START + WEEK, 20_000)


def test_any_part_equals_the_same_part_of_the_whole(week: Dataset) -> None:
    whole = list(week.facts(0, week.count))
    for first, stop in ((0, 1), (399, 402), (5_000, 5_900), (19_990, 20_000)):
        assert list(week.facts(first, stop)) == whole[first:stop]
    for place in range(0, week.count, 37):
        assert (week.id(place), week.second(place)) == (whole[place].id, whole[place].second)


def test_a_seed_gives_the_same_events_and_another_seed_others(week: Dataset) -> None:
    assert list(Dataset(1, START, START + WEEK, 20_000).facts(0, 500)) == list(week.facts(0, 500))
    assert list(Dataset(2, START, START + WEEK, 20_000).facts(0, 500)) != list(week.facts(0, 500))


def test_ids_ascend_with_gaps(week: Dataset) -> None:
    ids = [facts.id for facts in week.facts(0, week.count)]
    steps = Counter(b - a for a, b in pairwise(ids))
    assert min(steps) == 1
    assert max(steps) > 1
    assert all(week.index_of_id(id_) == place for place, id_ in enumerate(ids[:2_000]))
    missing = next(id_ for id_ in range(ids[0], ids[-1]) if id_ not in set(ids))
    assert week.index_of_id(missing) is None
    assert week.index_of_id(ids[-1] + 100) is None


def test_times_never_go_back_and_stay_in_the_period(week: Dataset) -> None:
    seconds = [facts.second for facts in week.facts(0, week.count)]
    assert seconds == sorted(seconds)
    assert seconds[0] >= START
    assert seconds[-1] < START + WEEK


def test_bursts_of_more_than_twenty_share_a_second(week: Dataset) -> None:
    per_second = Counter(facts.second for facts in week.facts(0, week.count))
    assert sum(1 for count in per_second.values() if count > 20) >= week.count // 400 - 1


def test_office_hours_are_busier_than_nights_and_weekends(week: Dataset) -> None:
    per_hour = Counter((facts.second - START) // 3600 for facts in week.facts(0, week.count))
    tuesday_ten, tuesday_three, saturday_ten = per_hour[24 + 10], per_hour[24 + 3], per_hour[5 * 24 + 10]
    assert tuesday_ten > 5 * tuesday_three
    assert tuesday_ten > 3 * saturday_ten


@given(second=st.integers(START - 10, START + WEEK + 10))
@settings(max_examples=200, deadline=None)
def test_a_time_is_found_where_the_events_before_it_end(week: Dataset, second: int) -> None:
    place = week.index_at(second)
    assert place == 0 or week.second(place - 1) < second
    assert place == week.count or week.second(place) >= second


def test_dry_run_rows_are_counted_without_a_scan(week: Dataset) -> None:
    rows = 0
    owners = []
    for place in range(1_000):
        assert week.dry_rows_before(place) == rows
        owners += [place] * week.dry_rows_of(place)
        rows += week.dry_rows_of(place)
    assert [week.event_of_dry_row(row) for row in range(rows)] == owners
    assert {owners.count(place) for place in set(owners)} == {1, 2, 3, 4}


@pytest.mark.parametrize("count", [0, 1, 2, 9])
@pytest.mark.parametrize("length", [1, 59, 3_600, 5_000])
def test_few_events_in_a_short_period(count: int, length: int) -> None:
    dataset = Dataset(3, START + 1_234, START + 1_234 + length, count)
    seconds = [facts.second for facts in dataset.facts(0, count)]
    assert len(seconds) == count
    assert all(START + 1_234 <= second < START + 1_234 + length for second in seconds)
    assert dataset.index_at(START + 1_234 + length) == count


def test_ten_million_events_cost_nothing_until_they_are_read() -> None:
    dataset = Dataset(1, START, START + 30 * 86_400, 10_000_000)
    (last,) = dataset.facts(9_999_999, 10_000_000)
    assert last.second < START + 30 * 86_400
    assert dataset.index_of_id(last.id) == 9_999_999
    middle = dataset.index_at(START + 15 * 86_400)
    assert 4_000_000 < middle < 6_000_000
