"""What a server may have forgotten: its silence about that would look like no events."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_provider_curation.audit.errors import ExpiredWindowError
from airflow_provider_curation.audit.window import Window, before, format_utc


def forgotten(window: Window, retention: timedelta, now: datetime) -> str | None:
    """Say in words that the server may have forgotten a part of a window; ``None`` if it has not.

    :param retention: how long the server remembers events.
    """
    remembered = before(now, retention)
    if window.start >= remembered:
        return None
    return (
        f"{window} begins before {format_utc(remembered + timedelta(seconds=1))}, the first second that can still "
        f"be had from a server that keeps events for {retention}: an export would miss what was forgotten."
    )


def check_remembered(window: Window, retention: timedelta, now: datetime) -> None:
    """Refuse a window of which the server may have forgotten a part.

    :raises ExpiredWindowError: if it may have.
    """
    if said := forgotten(window, retention, now):
        raise ExpiredWindowError(
            f"{said} Give a later start, or retention= if your server keeps more; on_expired= says whether such a "
            "window fails the task, skips it or is read nevertheless."
        )
