"""Finds windows that the server may have partly forgotten: it answers as if there had been no events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.errors import ExpiredWindowError
from airflow_provider_curation.audit.window import Window, before, format_utc


def forgotten(window: Window, retention: timedelta, now: datetime) -> str | None:
    """Return a sentence about the part of a window that the server may have forgotten; ``None`` if it has all of it.

    :param retention: how long the server remembers events.
    """
    remembered = before(now, retention)
    if window.start >= remembered:
        return None
    return (
        f"{window} begins before {format_utc(remembered + timedelta(seconds=1))}, the first second that the server "
        f"still has if it keeps events for {format_duration(retention)}: an export would miss the events it has "
        "forgotten."
    )


def check_remembered(window: Window, retention: timedelta, now: datetime) -> None:
    """Refuse a window that the server may have partly forgotten.

    :raises ExpiredWindowError: if it may have.
    """
    if said := forgotten(window, retention, now):
        raise ExpiredWindowError(
            f"{said} Give a later start, or retention= if your server keeps more. on_expired= decides whether such a "
            "window fails the task, skips it or is read anyway."
        )


def days_left(missing: Iterable[Window], archived_until: datetime, retention: timedelta, now: datetime) -> float:
    """Return how many days are left until the server forgets the oldest events that are not archived.

    Windows that it has forgotten completely do not count, since they cannot be recovered.

    :param missing: windows that no export covers.
    :param archived_until: the end of the period that should be archived; everything after it is not archived either.
    :param retention: how long the server remembers events.
    :return: days, with fractions; 0 if it is forgetting some of them now.
    """
    remembered = before(now, retention)
    oldest = min([archived_until, *(window.start for window in missing if window.end > remembered)])
    return max((oldest - remembered) / timedelta(days=1), 0.0)
