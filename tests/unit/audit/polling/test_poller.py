"""How far a poll came: to the window's end, to where the next one goes on, or nowhere; over a source in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.polling import poller as module
from airflow_provider_curation.audit.polling.poller import Poller
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.reading.source import Counted
from airflow_provider_curation.audit.window import Window, format_utc

NOON = datetime(2026, 3, 9, 12, tzinfo=timezone.utc)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
RARE = EventFilter.of(package_types=["Rare"])
#: Polls that would be enough for anything here.
MANY = 100


class Source:
    """Gives the events that were added, and a count of its own of them.

    :param total: makes the count that is given of the true one; ``None`` gives none.
    """

    rows = 10
    overlap = 1
    slice_rows = 20_000
    concurrency = most_concurrent = 1
    end_inclusive = False

    def __init__(self, total: Callable[[int], int] | None = lambda count: count) -> None:
        self.total = total
        self.requests = 0
        self.given = 0
        self._events: list[dict[str, Any]] = []

    def add(self, at: datetime, package_type: str = "npm", **fields: Any) -> None:
        number = len(self._events) + 1
        event = {"id": number, "created_at": format_utc(at), "action": "blocked", "package_type": package_type}
        self._events.append({**event, **fields})

    def spread(self, number: int, window: Window) -> None:
        for place in range(number):
            self.add(window.start + place * window.width / number)

    def entitled(self) -> bool:
        return True

    def count(self, window: Window, stop: threading.Event) -> Counted:
        self.requests += 1
        events = self._within(window)
        return Counted(self._total(len(events)), max((event["id"] for event in events), default=None))

    def first_page(self, window: Window, stop: threading.Event) -> Page:
        return self._page(window, 0, False)

    def page(self, window: Window, offset: int, remaining: int | None, stop: threading.Event) -> Page:
        return self._page(window, offset, offset > 0)

    def tail(self, window: Window, known: int, stop: threading.Event) -> Page:
        return self._page(window, max(known - 1, 0), known > 0)

    def _page(self, window: Window, offset: int, overlaps: bool) -> Page:
        self.requests += 1
        events = self._within(window)
        rows = events[offset : offset + self.rows]
        self.given += len(rows)
        total = self._total(len(events))
        answer = json.dumps({"data": rows, "meta": {} if total is None else {"total_count": total}})
        return json_page(Query(window, self.rows, offset), answer.encode(), RARE, overlaps, marked=True)

    def _total(self, count: int) -> int | None:
        return None if self.total is None else self.total(count)

    def _within(self, window: Window) -> list[dict[str, Any]]:
        low, high = format_utc(window.start), format_utc(window.end)
        return [event for event in self._events if low <= event["created_at"] < high]


class Unhurried(threading.Event):
    """Lets a reader that would wait go on at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def poller(source: Any, start: datetime, end: datetime | None = None, **arguments: Any) -> Poller:
    return unhurried(Poller(source, Search(start, end, RARE, **arguments)))


def restarted(it: Poller) -> Poller:
    """The poller that goes on from the cursor, as it comes back from a database."""
    return unhurried(Poller(it._source, it.search, json.loads(json.dumps(it.state()))))


def unhurried(it: Poller) -> Poller:
    it._stop = Unhurried()
    return it


# More than one poll reads


@pytest.fixture
def day() -> Window:
    """A day that ended and settled long ago."""
    return Window(NOON - 3 * DAY, NOON - 2 * DAY)


@pytest.mark.parametrize("again", [lambda it: it, restarted], ids=["same process", "from its cursor"])
def test_a_window_is_over_only_when_it_was_read_to_its_end(
    day: Window, monkeypatch: pytest.MonkeyPatch, again: Callable[[Poller], Poller]
) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 3)
    source = Source(total=None)
    source.spread(600, day)
    source.add(day.end - 5 * SECOND, "Rare")
    it = poller(source, day.start, day.end)
    polls = 1
    while (batch := it.poll(NOON)) is None:
        assert not it.caught_up
        assert not it.over(NOON)
        it = again(it)
        polls += 1
        assert polls < MANY
    assert batch.count == 1
    assert polls > 3
    # It goes on where it stopped: nearly nothing is read twice.
    assert source.given < 1.5 * 600
    assert it.poll(NOON) is None
    assert it.over(NOON)


def test_a_window_that_was_read_at_once_is_over_at_once(day: Window) -> None:
    source = Source()
    source.spread(600, day)
    it = poller(source, day.start, day.end)
    assert not it.over(NOON)
    assert it.poll(NOON) is None
    assert it.over(NOON)
    assert not it.over(day.end)


def test_a_poll_that_failed_has_not_caught_up(day: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    it = poller(source, day.start, day.end)
    assert it.poll(NOON) is None
    assert it.caught_up
    monkeypatch.delattr(Source, "tail")
    with pytest.raises(AttributeError):
        it.poll(NOON)
    assert not it.caught_up


def test_a_search_that_has_not_begun_leaves_nothing_unread() -> None:
    source = Source()
    it = poller(source, NOON + HOUR, NOON + DAY)
    assert it.poll(NOON) is None
    assert it.caught_up
    assert not it.over(NOON)
    assert source.requests == 0


def test_a_first_part_that_grew_smaller_is_read_all_the_same(day: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(total=lambda count: count + 1)
    source.spread(300, day)
    it = poller(source, day.start, day.end)
    assert it.poll(NOON) is None
    source.total = lambda count: count
    source.add(day.end - SECOND, "Rare")
    monkeypatch.setattr(module, "_PART_EVENTS", 50)
    batch = it.poll(NOON)
    assert batch is not None
    assert batch.count == 1
    assert it.over(NOON)


# Counts that do not agree with what is given


@pytest.mark.parametrize("off", [1, -1], ids=["too many", "too few"])
@pytest.mark.parametrize("again", [lambda it: it, restarted], ids=["same process", "from its cursor"])
def test_a_count_that_never_agrees_is_an_error_until_it_does(
    day: Window, off: int, again: Callable[[Poller], Poller]
) -> None:
    source = Source(total=lambda count: count and count + off)
    source.spread(30, day)
    source.add(NOON - MINUTE, "Rare")
    it = poller(source, day.start)
    for _ in range(module._DISAGREEMENTS - 1):
        assert it.poll(NOON) is None
        assert not it.caught_up
        it = again(it)
    for _ in range(3):
        with pytest.raises(IncompleteExportError) as caught:
            it.poll(NOON)
        it = again(it)
    message = str(caught.value)
    assert format_utc(day.start) in message
    assert "30 events" in message
    assert f"counts {30 + off}" in message
    source.total = lambda count: count
    batch = it.poll(NOON)
    assert batch is not None
    assert batch.count == 1
    assert it.caught_up


def test_disagreement_is_not_hidden_by_what_comes_later() -> None:
    source = Source(total=lambda count: count + 1)
    source.spread(30, Window(NOON - 3 * HOUR, NOON - 2 * HOUR))
    it = poller(source, NOON - 3 * HOUR)

    def go_on() -> None:
        for minute in range(10):
            now = NOON + minute * MINUTE
            source.add(now - SECOND)
            source.add(now - 66 * MINUTE)
            it.poll(now)

    with pytest.raises(IncompleteExportError):
        go_on()


def test_events_that_are_counted_before_they_are_given_are_no_fault() -> None:
    # Counted by the server before it gives them: none of these polls finds as many as are counted.
    source = Source(total=lambda count: count + 1)
    it = poller(source, NOON)
    for minute in range(20):
        source.add(NOON + minute * MINUTE - SECOND, "npm" if minute else "Early")
        assert it.poll(NOON + minute * MINUTE) is None
    source.total = lambda count: count
    source.add(NOON + 20 * MINUTE, "Rare")
    assert it.poll(NOON + 20 * MINUTE) is not None


def test_a_quiet_open_window_whose_count_does_not_agree_is_a_fault() -> None:
    source = Source(total=lambda count: count + 1)
    source.add(NOON - MINUTE)
    it = poller(source, NOON - HOUR)
    for _ in range(module._DISAGREEMENTS):
        assert it.poll(NOON) is None
    with pytest.raises(IncompleteExportError):
        it.poll(NOON)


def test_one_agreement_begins_the_count_of_disagreements_anew(day: Window) -> None:
    source = Source()
    source.spread(30, day)
    it = poller(source, day.start, day.end)
    for _ in range(3):
        source.total = lambda count: count + 1
        for _ in range(module._DISAGREEMENTS - 1):
            assert it.poll(NOON) is None
        source.total = lambda count: count
        assert it.poll(NOON) is None
        assert it.caught_up


def test_what_was_found_is_given_before_the_error(day: Window) -> None:
    source = Source(total=lambda count: count + 1)
    source.spread(30, day)
    it = poller(source, day.start, day.end, min_events=2)
    source.add(day.start + HOUR, "Rare")
    for _ in range(module._DISAGREEMENTS - 1):
        assert it.poll(NOON) is None
    source.add(day.end - SECOND, "Rare")
    batch = it.poll(NOON)
    assert batch is not None
    assert batch.count == 2
    assert not it.over(NOON)
    with pytest.raises(IncompleteExportError):
        it.poll(NOON)


def test_a_cursor_of_a_poller_that_did_not_count_disagreements_is_read(day: Window) -> None:
    source = Source()
    source.spread(30, day)
    it = poller(source, day.start, day.end)
    it.poll(NOON)
    state = it.state()
    assert set(state) == {"version", "since", "newest", "seconds", "given"}
    source.requests = 0
    again = restarted(it)
    assert again.poll(NOON) is None
    assert again.over(NOON)


# What a cursor holds of people


@pytest.mark.parametrize("shown", [True, False])
def test_a_cursor_shows_people_only_while_that_is_wanted(shown: bool) -> None:
    source = Source()
    it = poller(source, NOON - HOUR, min_events=2, personal_fields=True)
    source.add(NOON - MINUTE, "Rare", username="dev1", user_mail="dev1@acme.example")
    assert it.poll(NOON) is None
    state = json.loads(json.dumps(it.state()))
    it = unhurried(Poller(it._source, replace(it.search, personal_fields=shown), state))
    assert ("dev1" in json.dumps(it.state())) is shown
    source.add(NOON, "Rare", username="dev2", user_mail="dev2@acme.example")
    batch = it.poll(NOON)
    assert batch is not None
    assert [event["id"] for event in batch.sample] == [1, 2]
    assert [event.get("username") for event in batch.sample] == (["dev1", "dev2"] if shown else [None, None])
    assert all(("user_mail" in event) is shown for event in batch.sample)
