"""The limit on requests in flight, alone and against simulated servers, whose time is a number."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.concurrency import ConcurrencyLimit

PAGE = 2_000_000

#: What happens to requests: how many limits ago it was sent, and the seconds and bytes of its answer, or a refusal.
answers = st.tuples(st.integers(0, 2), st.floats(0, 100), st.integers(0, PAGE))
outcomes = st.lists(st.none() | answers, max_size=200)


def answer(limit: ConcurrencyLimit, number: int, seconds: float = 4.0, size: int = PAGE) -> None:
    for _ in range(number):
        limit.answered(limit.decreases, seconds, size)


@given(st.integers(1, 8), outcomes)
def test_the_limit_stays_between_one_and_the_most(most: int, outcomes: list[tuple[int, float, int] | None]) -> None:
    limit = ConcurrencyLimit(most)
    for outcome in outcomes:
        before = limit.limit
        if outcome is None:
            limit.refused(limit.decreases)
            assert limit.limit == (before + 1) // 2
        else:
            ago, seconds, size = outcome
            limit.answered(limit.decreases - ago, seconds, size)
            # Never by more than one up, and never by more than half down.
            assert (before + 1) // 2 <= limit.limit <= before + 1
        assert 1 <= limit.limit <= most


@given(st.integers(1, 8), outcomes, st.integers(0, 300))
def test_the_limit_recovers_whatever_happened(
    most: int, outcomes: list[tuple[int, float, int] | None], number: int
) -> None:
    """However slow the server has become: with one request in flight, its time is the usual one."""
    limit = ConcurrencyLimit(most)
    for outcome in outcomes:
        if outcome is None:
            limit.refused(limit.decreases)
        else:
            limit.answered(limit.decreases, *outcome[1:])
    answer(limit, 1000, seconds=50.0)
    assert limit.limit == most


def test_a_refusal_halves_the_limit_once_for_all_that_were_in_flight() -> None:
    limit = ConcurrencyLimit(8)
    sent = limit.decreases
    for _ in range(5):
        limit.refused(sent)
    assert limit.limit == 4
    limit.refused(limit.decreases)
    assert limit.limit == 2


def test_the_limit_grows_by_one_after_every_few_answers() -> None:
    limit = ConcurrencyLimit(4)
    limit.refused(0)
    limit.refused(1)
    grown = []
    for number in range(1, 100):
        before = limit.limit
        answer(limit, 1)
        if limit.limit > before:
            grown.append(number)
    assert grown == [8, 8 + 16, 8 + 16 + 24]
    assert limit.limit == 4


@pytest.mark.parametrize("slower", [1.9, 2.0])
def test_answers_are_slow_when_most_take_twice_the_usual_time(slower: float) -> None:
    limit = ConcurrencyLimit(4)
    answer(limit, 10)
    answer(limit, 8, seconds=4.0 * slower)
    assert limit.limit == (2 if slower == 2.0 else 4)


def test_one_pause_of_the_server_says_nothing() -> None:
    """All four in flight are delayed, once."""
    limit = ConcurrencyLimit(4)
    for _ in range(20):
        answer(limit, 12)
        answer(limit, 4, seconds=60.0)
    assert limit.limit == 4


def test_small_answers_are_not_compared() -> None:
    """Counts and last pages are quick, and pages are no slower for that."""
    limit = ConcurrencyLimit(4)
    answer(limit, 40, seconds=0.1, size=500)
    answer(limit, 40)
    answer(limit, 40, seconds=0.1, size=PAGE // 3)
    answer(limit, 40)
    assert (limit.limit, limit.decreases) == (4, 0)


def test_differences_that_a_busy_worker_makes_are_ignored() -> None:
    limit = ConcurrencyLimit(4)
    answer(limit, 40, seconds=0.01)
    answer(limit, 40, seconds=0.2)
    assert limit.decreases == 0
    answer(limit, 40, seconds=0.3)
    assert limit.decreases > 0


class Settled(NamedTuple):
    """The second half of a run: answers a second, and the share of requests that were refused."""

    throughput: float
    refused: float


def settled(most: int, capacity: int, refusing: bool, seconds: float, pages: int = 400) -> Settled:
    """Have a client read pages from a server, event by event.

    The client waits for its turn as :class:`Gate` does; a refused request is sent again after a second.

    :param capacity: requests that the server answers at a time in ``seconds``. It refuses more, or slows down by the
        square of the load.
    """
    limit = ConcurrencyLimit(most)
    events: list[tuple[float, int, str, int, float]] = []
    order: Iterator[int] = count()
    now, sent, open_, refused = 0.0, 0, 1, 0
    again: deque[None] = deque()
    answered: list[tuple[float, int]] = []

    def send() -> None:
        nonlocal sent
        sent += 1
        load = max(sent / capacity, 1.0)
        takes = seconds if refusing else seconds * load**2
        kind, at = ("refused", now + 0.01) if refusing and load > 1 else ("answered", now + takes)
        heapq.heappush(events, (at, next(order), kind, limit.decreases, takes))

    send()
    while len(answered) < pages:
        now, _, kind, decreases, takes = heapq.heappop(events)
        if kind == "again":
            again.append(None)
        else:
            sent -= 1
        if kind == "answered":
            open_ -= 1
            answered.append((now, refused))
            limit.answered(decreases, takes, PAGE)
        elif kind == "refused":
            refused += 1
            limit.refused(decreases)
            heapq.heappush(events, (now + 1.0, next(order), "again", 0, 0.0))
        while again and sent < limit.limit:
            again.popleft()
            send()
        while open_ < limit.limit:
            open_ += 1
            send()
    (begun, before), (ended, after) = answered[pages // 2], answered[-1]
    number = pages - pages // 2 - 1
    return Settled(number / (ended - begun), (after - before) / number)


@given(st.integers(1, 8), st.integers(1, 10), st.booleans(), st.floats(1.0, 10.0))
def test_throughput_settles_near_the_best_that_the_server_allows(
    most: int, capacity: int, refusing: bool, seconds: float
) -> None:
    best = min(most, capacity) / seconds
    found = settled(most, capacity, refusing, seconds)
    assert found.throughput >= 0.7 * best
    # A refusal is the price of asking for more: one or two for some dozen pages.
    assert found.refused <= 0.15
