"""Splits a long range into pieces of equal width, without the parts that are forgotten or have not settled yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.errors import ExpiredWindowError, FutureWindowError, InvalidArgumentError
from airflow_provider_curation.audit.window import Window, before, check_duration, format_utc

_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Clipped:
    """A range that was asked for, and the part of it that can be exported.

    :param asked: the range that was asked for.
    :param kept: the part that the server still has, and will still have when the first pieces are exported.
    """

    asked: Window
    kept: Window

    @property
    def forgotten(self) -> Window | None:
        """What the server has forgotten, or will have forgotten before it is exported."""
        return Window(self.asked.start, self.kept.start) if self.asked.start < self.kept.start else None

    @property
    def unsettled(self) -> Window | None:
        """What has not ended yet, or can still get late events."""
        return Window(self.kept.end, self.asked.end) if self.kept.end < self.asked.end else None

    @property
    def note(self) -> str:
        """A sentence about what is left out; empty if nothing is."""
        said = []
        if self.forgotten:
            said.append(f"{self.forgotten} is NOT exported: the server has forgotten it, or will within the hour.")
        if self.unsettled:
            said.append(f"{self.unsettled} is NOT exported: its events have not settled yet; export it later.")
        return " ".join(said)

    def pieces(self, step: timedelta) -> list[Window]:
        """Return contiguous windows that together cover the kept part.

        Their edges are at whole steps from the start that was asked for. Clipping therefore never moves an edge between
        two pieces, and a second run writes the same keys.

        :raises InvalidArgumentError: if the step is shorter than a second, or not a whole number of seconds.
        """
        return [Window(max(each.start, self.kept.start), each.end) for each in self._grid(step).split(step)]

    def count(self, step: timedelta) -> int:
        """Return the number of pieces, without creating them.

        :raises InvalidArgumentError: as :meth:`pieces`.
        """
        return -(-self._grid(step).width // step)

    def _grid(self, step: timedelta) -> Window:
        """The kept part, extended back to a whole step."""
        _check_step(step)
        passed = (self.kept.start - self.asked.start) // step
        return Window(self.asked.start + passed * step, self.kept.end)


def _check_step(step: timedelta) -> None:
    check_duration(step, "step")
    if step < timedelta(seconds=1) or step.microseconds:
        raise InvalidArgumentError(
            f"step={format_duration(step)} cannot be a window's width; give whole seconds, such as a day."
        )


def clip(
    asked: Window,
    now: datetime,
    *,
    retention: timedelta,
    settle_time: timedelta,
    headroom: timedelta = timedelta(hours=1),
) -> Clipped:
    """Clip a range to what can be exported, at whole minutes.

    :param asked: the range.
    :param now: the current time, in UTC.
    :param retention: how long the server remembers events.
    :param settle_time: how long after its end a window can be read.
    :param headroom: how long the first piece may wait to be exported without being forgotten meanwhile.
    :raises InvalidArgumentError: if a duration is not a timedelta, or negative.
    :raises ExpiredWindowError: if the server has forgotten the whole range.
    :raises FutureWindowError: if nothing of it has settled.
    """
    check_duration(retention, "retention")
    check_duration(settle_time, "settle_time")
    first, last = _next_minute(before(now, retention) + headroom), _minute(before(now, settle_time))
    if last <= asked.start:
        raise FutureWindowError(
            f"Nothing of {asked} has settled: events are exported up to {format_utc(last)} now. Give an earlier start."
        )
    if asked.end <= first:
        raise ExpiredWindowError(
            f"The server has forgotten all of {asked}: it keeps events for {format_duration(retention)}, and what "
            f"began before {format_utc(first)} would be forgotten while it is exported. Give a later end, or "
            "retention= if your server keeps more."
        )
    return Clipped(asked, Window(max(asked.start, first), min(asked.end, last)))


def _minute(moment: datetime) -> datetime:
    return moment - (moment - _EPOCH) % _MINUTE


def _next_minute(moment: datetime) -> datetime:
    return -(-(moment - _EPOCH) // _MINUTE) * _MINUTE + _EPOCH
