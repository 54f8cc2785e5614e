"""Windows that the server may have forgotten in part: it answers as if there had been no events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.errors import ExpiredWindowError
from airflow_provider_curation.audit.window import Window, before, format_utc


def forgotten(window: Window, retention: timedelta, now: datetime) -> str | None:
    """Describe which part of a window the server may have forgotten; ``None`` if it still has all of it.

    :param retention: how long the server remembers events.
    """
    remembered = before(now, retention)
    if window.start >= remembered:
        return None
    return (
        f"{window} begins before {format_utc(remembered + timedelta(seconds=1))}, the first second that a server "
        f"that keeps events for {format_duration(retention)} still has: an export would miss the events it has "
        "forgotten."
    )


def check_remembered(window: Window, retention: timedelta, now: datetime) -> None:
    """Refuse a window of which the server may have forgotten a part.

    :raises ExpiredWindowError: if it may have.
    """
    if said := forgotten(window, retention, now):
        raise ExpiredWindowError(
            f"{said} Give a later start, or retention= if your server keeps more. on_expired= decides whether such a "
            "window fails the task, skips it or is read anyway."
        )


def days_left(missing: Iterable[Window], archived_until: datetime, retention: timedelta, now: datetime) -> float:
    """Return how many days are left until the server forgets the oldest events that are not archived.

    What it has forgotten entirely no longer counts: nothing can save that.

    :param missing: windows that no export covers.
    :param archived_until: the end of what was to be archived; everything after it is not archived either.
    :param retention: how long the server remembers events.
    :return: days, with fractions; 0 if it is forgetting some of them now.
    """
    remembered = before(now, retention)
    oldest = min([archived_until, *(window.start for window in missing if window.end > remembered)])
    return max((oldest - remembered) / timedelta(days=1), 0.0)
