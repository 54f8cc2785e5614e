"""How a poll ended, the same for a sensor's poke and for a trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.polling.batch import Batch

#: Polls in a row that may fail in passing before the fault counts as lasting.
MAX_FAILURES = 10
#: Seconds that a server's Retry-After is followed for at the most.
LONGEST_PAUSE = 600.0


class PollResult(str, Enum):
    """The five ways a poll can end."""

    FOUND = "found"  # a batch
    NOTHING = "nothing"  # not enough events yet
    OVER = "over"  # not enough events, and none can be added any more
    PASSING = "passing"  # a fault that the next poll may not meet
    LASTING = "lasting"  # a fault that the next poll would meet again, or one too many passing ones


@dataclass(frozen=True)
class Outcome:
    """How a poll ended.

    :param batch: what was found.
    :param error: the fault.
    :param failures: polls in a row that failed, this one included.
    """

    result: PollResult
    batch: Batch | None = None
    error: Exception | None = None
    failures: int = 0

    def pause(self, interval: float) -> float:
        """Return the seconds until the next poll: longer if the server asked for it."""
        asked_for = getattr(self.error, "retry_after", None) or 0.0
        return max(interval, min(asked_for, LONGEST_PAUSE))


class Judge:
    """Judges how polls end, and counts those that fail in a row.

    :param max_failures: how many passing faults in a row make a lasting one.
    """

    def __init__(self, max_failures: int = MAX_FAILURES, failures: int = 0) -> None:
        self.failures = failures
        self._max_failures = max_failures

    def success(self, batch: Batch | None, over: bool) -> Outcome:
        """Judge a poll that was answered.

        :param over: no event can be added any more.
        """
        self.failures = 0
        if batch is not None:
            return Outcome(PollResult.FOUND, batch)
        return Outcome(PollResult.OVER if over else PollResult.NOTHING)

    def fault(self, error: Exception) -> Outcome:
        """Judge a poll that failed: if no retry of the task can help, another poll cannot either."""
        self.failures += 1
        passing = getattr(error, "retry_task", True) and self.failures < self._max_failures
        return Outcome(PollResult.PASSING if passing else PollResult.LASTING, error=error, failures=self.failures)


def describe(error: Exception) -> dict[str, str]:
    """Return an error as JSON values, to travel from a trigger to its task."""
    return {"error": type(error).__name__, "message": str(error)}


def revive(described: Mapping[str, str]) -> errors.CurationAuditError:
    """Return the error that was described, of its own class if that is one of this provider's."""
    name, message = described.get("error", ""), described.get("message", "")
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.CurationAuditError)):
        return errors.PollFailedError(f"{name}: {message}")
    # What it was raised with did not travel: its text did.
    error: errors.CurationAuditError = kind.__new__(kind)
    error.args = (message,)
    return error
