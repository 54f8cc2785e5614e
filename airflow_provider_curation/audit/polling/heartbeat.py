"""What a watcher last did, so that a canary can tell a quiet server from a watcher that sees nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.errors import InvalidArgumentError, WatcherSilentError
from airflow_provider_curation.audit.polling.outcome import Outcome
from airflow_provider_curation.audit.window import format_utc, to_utc

#: The heartbeat's name in Airflow's asset state store.
HEARTBEAT_KEY = "curation_watcher_heartbeat"


@dataclass(frozen=True)
class Heartbeat:
    """A watcher's last moments, by the triggerer's clock; ``None`` for what has not happened.

    :param polled: when the server last answered a poll.
    :param found: when a poll last found a batch.
    :param failed: when a poll last failed.
    :param error: the class of that poll's error; the triggerer's log has its message.
    """

    polled: datetime | None = None
    found: datetime | None = None
    failed: datetime | None = None
    error: str | None = None

    def after(self, outcome: Outcome, now: datetime) -> Heartbeat:
        """Return the heartbeat after another poll."""
        if outcome.error is not None:
            return replace(self, failed=now, error=type(outcome.error).__name__)
        return replace(self, polled=now, found=now if outcome.batch is not None else self.found)

    def as_dict(self) -> dict[str, Any]:
        """Return the heartbeat as JSON values."""
        times = {"polled": self.polled, "found": self.found, "failed": self.failed}
        return {**{name: at and format_utc(at) for name, at in times.items()}, "error": self.error}

    @classmethod
    def of(cls, stored: object) -> Heartbeat:
        """Return a stored heartbeat; an empty one if it is missing or cannot be read."""
        if not isinstance(stored, Mapping):
            return cls()
        times = {name: stored.get(name) for name in ("polled", "found", "failed")}
        error = stored.get("error")
        try:
            read = {name: to_utc(at, name) if isinstance(at, str) else None for name, at in times.items()}
        except InvalidArgumentError:
            return cls()
        return cls(**read, error=error if isinstance(error, str) else None)

    def check(self, now: datetime, silence: timedelta) -> None:
        """Check that the server has answered a poll lately.

        :param silence: how long the watcher may go without an answer.
        :raises WatcherSilentError: it has not for longer, or never.
        """
        if self.polled is not None and now - self.polled <= silence:
            return
        since = "never" if self.polled is None else f"last at {format_utc(self.polled)}"
        raise WatcherSilentError(
            f"The watcher was to have an answer from the server within {format_duration(silence)}; it had one {since}. "
            + (f"Its last error was {self.error} at {format_utc(self.failed)}. " if self.failed and self.error else "")
            + "Check that a triggerer runs and look for this trigger in its log; test the connection."
        )
