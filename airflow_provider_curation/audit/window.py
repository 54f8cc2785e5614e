"""Windows of time: half-open, in UTC and whole seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pendulum

from airflow_provider_curation.audit.errors import InvalidArgumentError, InvalidWindowError

_SECOND = timedelta(seconds=1)


def to_utc(moment: datetime | str, name: str = "time") -> datetime:
    """Return a time in UTC, rounded up to a whole second.

    The server's ``created_at`` has whole seconds. Rounding both ends of a window up therefore keeps adjacent windows
    adjacent, and puts an event of second ``s`` into the one window that contains ``s``.

    :param moment: an aware datetime (also pendulum's), or an ISO 8601 string with an offset or ``Z``.
    :param name: the argument's name, for the error.
    :raises InvalidWindowError: if it is naive or cannot be parsed.
    """
    parsed: object = moment
    if isinstance(moment, str):
        text = moment.strip()
        said = f"{name}={moment!r} is not an ISO 8601 time such as 2026-03-09T00:00:00Z."
        if not text[:1].isdigit():
            # pendulum also parses words such as "now".
            raise InvalidWindowError(said)
        try:
            parsed = pendulum.parse(text, tz=None)  # None keeps naive times naive
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidWindowError(said) from error
    if not isinstance(parsed, datetime):
        raise InvalidWindowError(f"{name}={moment!r} is not a time; give a datetime or an ISO 8601 string.")
    if parsed.tzinfo is None or parsed.utcoffset() is None:
        raise InvalidWindowError(
            f"{name}={str(moment)!r} has no time zone, so it means different times on different machines; "
            "add Z or an offset such as +02:00."
        )
    # A plain datetime: pendulum's own arithmetic is slower, and its repr differs between versions of Airflow.
    try:
        utc = parsed.astimezone(timezone.utc)
        whole = datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, tzinfo=timezone.utc)
        return whole + _SECOND if utc.microsecond else whole
    except OverflowError as error:
        raise InvalidWindowError(f"{name}={str(moment)!r} is out of range.") from error


def check_duration(duration: object, name: str) -> None:
    """Check that an argument is a duration of zero or more.

    :raises InvalidArgumentError: if it is not a timedelta, or negative.
    """
    if not isinstance(duration, timedelta) or duration < timedelta(0):
        raise InvalidArgumentError(
            f"{name}={duration!r} is not a duration; give a timedelta of zero or more, such as timedelta(minutes=5)."
        )


def before(moment: datetime, duration: timedelta) -> datetime:
    """Return the time that is ``duration`` earlier; the earliest datetime if the duration is longer than that."""
    try:
        return moment - duration
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def format_utc(moment: datetime) -> str:
    """Return a UTC time as the server writes it: ``2026-03-09T14:51:03Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, order=True)
class Window:
    """The time range ``[start, end)`` in UTC and whole seconds: ``start`` is inside, ``end`` is not."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise InvalidWindowError(
                f"The window's start ({format_utc(self.start)}) is not before its end ({format_utc(self.end)}), "
                "counted in whole seconds; an empty window holds no events by definition."
            )

    @classmethod
    def parse(cls, start: datetime | str, end: datetime | str) -> Window:
        """Return the window between two times in any time zone; see :func:`to_utc`."""
        return cls(to_utc(start, "start"), to_utc(end, "end"))

    @property
    def width(self) -> timedelta:
        return self.end - self.start

    def split(self, width: timedelta) -> Iterator[Window]:
        """Yield contiguous windows of at most ``width`` that together cover this one, in order of time."""
        start = self.start
        while start < self.end:
            end = min(start + width, self.end)
            yield Window(start, end)
            start = end

    @property
    def seconds(self) -> int:
        """The width in seconds."""
        return int(self.width.total_seconds())

    def divide(self, parts: int) -> Iterator[Window]:
        """Yield at most ``parts`` contiguous windows of nearly equal width that together cover this one, in order.

        Windows have whole seconds, so there are never more parts than seconds.
        """
        parts = max(1, min(parts, self.seconds))
        edges = (self.start + timedelta(seconds=self.seconds * part // parts) for part in range(parts + 1))
        for start, end in pairwise(edges):
            yield Window(start, end)

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"[{format_utc(self.start)}, {format_utc(self.end)})"
