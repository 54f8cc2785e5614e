"""The events that a poller looks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.window import check_duration


@dataclass(frozen=True)
class Search:
    """Events of a window that may be open.

    :param start: the first moment of interest.
    :param end: the end of interest, exclusive; ``None`` for no end.
    :param min_events: events that make a batch.
    :param sample_size: events of a batch that are shown.
    :param personal_fields: show who asked for the package.
    :param settle_time: how long after it was created an event can become visible.
    """

    start: datetime
    end: datetime | None = None
    wanted: EventFilter = field(default_factory=EventFilter)
    min_events: int = 1
    sample_size: int = 20
    personal_fields: bool = False
    settle_time: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.min_events < 1:
            raise InvalidArgumentError(f"min_events={self.min_events!r} is not a positive number.")
        if self.sample_size < 0:
            raise InvalidArgumentError(f"sample_size={self.sample_size!r} is negative; 0 shows no event.")
        check_duration(self.settle_time, "settle_time")

    def over(self, now: datetime) -> bool:
        """Return whether the window has ended and settled, so that no event can be added any more."""
        return self.end is not None and now >= self.end + self.settle_time
