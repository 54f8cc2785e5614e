"""The outcomes of a poll, shared by the sensor's poke and the trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.polling.batch import Batch

#: Consecutive polls that may fail before a passing fault counts as a lasting one.
MAX_FAILURES = 10
#: The longest Retry-After of a server that is followed, in seconds.
LONGEST_PAUSE = 600.0


class PollResult(str, Enum):
    """The five ways a poll can end."""

    FOUND = "found"  # a batch
    NOTHING = "nothing"  # not enough events yet
    OVER = "over"  # not enough events, and no more can be added
    PASSING = "passing"  # failed, but the next poll may succeed
    LASTING = "lasting"  # failed, and the next poll would too, or too many polls in a row have failed


@dataclass(frozen=True)
class Outcome:
    """How a poll ended.

    :param batch: the events that were found.
    :param error: why the poll failed.
    :param failures: consecutive failed polls, including this one.
    """

    result: PollResult
    batch: Batch | None = None
    error: Exception | None = None
    failures: int = 0

    def pause(self, interval: float) -> float:
        """Return the seconds until the next poll: ``interval``, or longer if the server asked for it."""
        asked_for = getattr(self.error, "retry_after", None) or 0.0
        return max(interval, min(asked_for, LONGEST_PAUSE))


class Judge:
    """Classifies how polls end, and counts consecutive failures.

    :param max_failures: how many consecutive passing faults make a lasting one.
    """

    def __init__(self, max_failures: int = MAX_FAILURES, failures: int = 0) -> None:
        self.failures = failures
        self._max_failures = max_failures

    def success(self, batch: Batch | None, over: bool) -> Outcome:
        """Return the outcome of a poll that was answered.

        :param over: no more events can be added.
        """
        self.failures = 0
        if batch is not None:
            return Outcome(PollResult.FOUND, batch)
        return Outcome(PollResult.OVER if over else PollResult.NOTHING)

    def fault(self, error: Exception) -> Outcome:
        """Return the outcome of a failed poll; if retrying the task cannot help, neither can another poll."""
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
    # Only the message was stored, not the constructor's arguments.
    error: errors.CurationAuditError = kind.__new__(kind)
    error.args = (message,)
    return error
