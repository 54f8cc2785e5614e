"""Formats durations as people write them."""

from __future__ import annotations

from datetime import timedelta

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def format_duration(duration: timedelta) -> str:
    """Return a duration in words, as in ``30 days`` or ``1 hour 30 minutes``; fractions only below a minute."""
    if duration < timedelta(0):
        return f"minus {format_duration(-duration)}"
    if duration.microseconds and duration < timedelta(minutes=1):
        return f"{round(duration.total_seconds(), 3):g} seconds"
    left = duration.days * 86_400 + duration.seconds
    said = []
    for unit, seconds in _UNITS:
        number, left = divmod(left, seconds)
        if number:
            said.append(f"{number:,} {unit}{'s' * (number != 1)}")
    return " ".join(said) or "0 seconds"
