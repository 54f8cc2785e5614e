"""A watcher's heartbeat: what it keeps, and when it is too old."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import PollFailedError, WatcherSilentError
from airflow_provider_curation.audit.polling.batch import Batch
from airflow_provider_curation.audit.polling.heartbeat import Heartbeat
from airflow_provider_curation.audit.polling.outcome import Judge

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
FAILED = Judge().fault(PollFailedError("a message with dev1@acme.example in it"))
ANSWERED = Judge().success(None, over=False)
FOUND = Judge().success(Batch(1, 1, 1, NOW, NOW + HOUR), over=False)


def test_it_keeps_the_last_of_each() -> None:
    heartbeat = Heartbeat().after(FOUND, NOW).after(ANSWERED, NOW + HOUR).after(FAILED, NOW + 2 * HOUR)

    assert heartbeat.as_dict() == {
        "polled": "2026-11-01T13:00:00Z",
        "found": "2026-11-01T12:00:00Z",
        "failed": "2026-11-01T14:00:00Z",
        "error": "PollFailedError",
    }
    assert Heartbeat.of(heartbeat.as_dict()) == heartbeat


@pytest.mark.parametrize("stored", [None, [], "text", {}, {"polled": "yesterday"}, {"polled": 7, "error": ["x"]}])
def test_what_cannot_be_read_is_no_heartbeat(stored: Any) -> None:
    assert Heartbeat.of(stored) == Heartbeat()


def test_an_answer_within_the_hour_is_a_life() -> None:
    Heartbeat(polled=NOW - HOUR, failed=NOW, error="TimedOutError").check(NOW, HOUR)


def test_an_older_answer_is_not() -> None:
    heartbeat = Heartbeat(polled=NOW - 2 * HOUR, failed=NOW - HOUR, error="UnauthorizedError")

    with pytest.raises(WatcherSilentError) as raised:
        heartbeat.check(NOW, HOUR)

    asked, error, advice, _ = [*raised.value.explained(), ""]
    assert "within 1 hour" in asked
    assert "last at 2026-11-01T10:00:00Z" in asked
    assert error == "Its last error was UnauthorizedError at 2026-11-01T11:00:00Z."
    assert "triggerer" in advice


def test_a_watcher_that_was_never_seen_is_silent() -> None:
    with pytest.raises(WatcherSilentError, match="it had one never"):
        Heartbeat().check(NOW, HOUR)
