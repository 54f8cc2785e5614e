"""What is visible at a moment: the events of the dataset, plus those inserted, minus those deleted or hidden."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import RLock
from typing import Any

from airflow_provider_curation.simulator.changes import Change, Delete, Hide, Insert, NewId, Reveal
from airflow_provider_curation.simulator.dataset import Dataset
from airflow_provider_curation.simulator.settings import SimulatorSettings


@dataclass(frozen=True, eq=False)
class Inserted:
    """An event that was added; ``second`` is its created_at, ``visible_from`` a time of the monotonic clock."""

    id: int
    second: int
    fields: Mapping[str, Any]
    dry_run: bool
    visible_from: float


@dataclass(frozen=True)
class Run:
    """Adjacent rows of the dataset: rows ``first <= row < stop`` of the stream."""

    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


Piece = Run | Inserted


@dataclass(frozen=True)
class Rows:
    """The visible rows of a window and stream in ascending order, in few pieces; nothing is rendered yet."""

    pieces: tuple[Piece, ...]
    total: int

    def part(self, first: int, stop: int) -> list[Piece]:
        """Return the pieces of the rows ``first <= row < stop``."""
        found: list[Piece] = []
        at = 0
        for piece in self.pieces:
            length = len(piece) if isinstance(piece, Run) else 1
            low, high = max(first - at, 0), min(stop - at, length)
            if low < high:
                found.append(Run(piece.first + low, piece.first + high) if isinstance(piece, Run) else piece)
            at += length
            if at >= stop:
                break
        return found


@dataclass(frozen=True)
class _Overlay:
    """What was changed; it is never altered, only replaced, so a reader needs no lock."""

    gone: tuple[int, ...] = ()  # indexes of deleted events, ascending
    veils: tuple[tuple[int, int], ...] = ()  # hidden spans of time, seconds
    inserted: tuple[Inserted, ...] = ()  # by id


class Store:
    """The events of a tenant, with every change made to them."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        now = int(settings.clock().timestamp())
        end = now if settings.end is None else int(settings.end.timestamp())
        start = end - 30 * 86_400 if settings.start is None else int(settings.start.timestamp())
        if start >= end:
            raise ValueError("start must be before end")
        self.dataset = Dataset(settings.seed, start, end, settings.events)
        self._overlay = _Overlay()
        self._lock = RLock()

    def rows(self, start: int, end: int, dry_run: bool = False) -> Rows:
        """Return the visible rows with ``start <= created_at < end`` (seconds since the epoch)."""
        overlay, dataset = self._overlay, self.dataset
        now = int(self.settings.clock().timestamp())
        if self.settings.retention is not None:
            start = max(start, now - int(self.settings.retention.total_seconds()))
        end = min(end, now + 1)
        first, stop = dataset.index_at(start), dataset.index_at(end)
        spans = _without(first, stop, self._hidden(overlay, first, stop, now))
        if dry_run:
            spans = [(dataset.dry_rows_before(low), dataset.dry_rows_before(high)) for low, high in spans]
        inserted = [event for event in overlay.inserted if self._shows(event, overlay, start, end, dry_run)]
        pieces = tuple(self._woven(spans, inserted, dry_run))
        return Rows(pieces, sum(len(piece) if isinstance(piece, Run) else 1 for piece in pieces))

    def apply(self, change: Change) -> int | None:
        """Make a change, and return the id of an event that was inserted or deleted."""
        with self._lock:
            if isinstance(change, Insert):
                return self._insert(change)
            if isinstance(change, Delete):
                return self._delete(change.event)
            if isinstance(change, Hide):
                veil = (epoch_second(change.start), epoch_second(change.end))
                self._overlay = replace(self._overlay, veils=(*self._overlay.veils, veil))
            elif isinstance(change, Reveal):
                self._overlay = replace(self._overlay, veils=())
            else:
                raise TypeError(f"not a change: {change!r}")
            return None

    def _insert(self, change: Insert) -> int:
        second = epoch_second(change.created_at)
        id_ = self._new_id(second) if change.id is NewId.BETWEEN else change.id
        if id_ is NewId.NEXT:
            id_ = max([self.dataset.id(self.dataset.count), *(event.id + 1 for event in self._overlay.inserted)])
        if not change.dry_run and self._taken(int(id_)):
            raise ValueError(f"an event with the id {id_} already exists")
        event = Inserted(int(id_), second, dict(change.fields), change.dry_run, time.monotonic() + change.lag)
        inserted = sorted((*self._overlay.inserted, event), key=_by_id)
        self._overlay = replace(self._overlay, inserted=tuple(inserted))
        return event.id

    def _new_id(self, second: int) -> int:
        """Return a free id next to those of the events of that time."""
        index = self.dataset.index_at(second + 1)
        taken = {event.id for event in self._overlay.inserted}
        low = self.dataset.id(index - 1) if index else self.dataset.first_id - 1
        candidate = low + 1
        while candidate in taken or self.dataset.index_of_id(candidate) is not None:
            candidate += 1
        return candidate

    def _taken(self, id_: int) -> bool:
        index = self.dataset.index_of_id(id_)
        if index is not None and index not in self._overlay.gone:
            return True
        return any(event.id == id_ and not event.dry_run for event in self._overlay.inserted)

    def _delete(self, event: int | datetime) -> int:
        id_ = self._first_from(epoch_second(event)) if isinstance(event, datetime) else event
        kept = tuple(inserted for inserted in self._overlay.inserted if inserted.id != id_)
        index = self.dataset.index_of_id(id_)
        gone = set(self._overlay.gone)
        if len(kept) == len(self._overlay.inserted) and (index is None or index in gone):
            raise KeyError(f"there is no event with the id {id_}")
        if index is not None:
            gone.add(index)
        self._overlay = replace(self._overlay, inserted=kept, gone=tuple(sorted(gone)))
        return id_

    def _first_from(self, second: int) -> int:
        pieces = self.rows(second, self.dataset.end + 1).part(0, 1)
        if not pieces:
            raise KeyError("there is no visible event at or after that time")
        piece = pieces[0]
        return piece.id if isinstance(piece, Inserted) else self.dataset.id(piece.first)

    def _hidden(self, overlay: _Overlay, first: int, stop: int, now: int) -> list[tuple[int, int]]:
        """Return ascending spans of indexes of events that must not be shown; they may overlap."""
        dataset = self.dataset
        hidden = [(index, index + 1) for index in overlay.gone if first <= index < stop]
        hidden += [(dataset.index_at(low), dataset.index_at(high)) for low, high in overlay.veils]
        if self.settings.late_rate:
            late_from = dataset.index_at(now - int(self.settings.late_by.total_seconds()) + 1)
            late = range(max(first, late_from), stop)
            hidden += [(index, index + 1) for index in late if dataset.chance(index) < self.settings.late_rate]
        return sorted(hidden)

    def _shows(self, event: Inserted, overlay: _Overlay, start: int, end: int, dry_run: bool) -> bool:
        return (
            event.dry_run == dry_run
            and start <= event.second < end
            and event.visible_from <= time.monotonic()
            and not any(low <= event.second < high for low, high in overlay.veils)
        )

    def _woven(self, spans: list[tuple[int, int]], inserted: Sequence[Inserted], dry_run: bool) -> Iterator[Piece]:
        """Yield spans of rows and inserted events, in ascending order of id."""
        rank = self._dry_rank if dry_run else self.dataset.index_from_id
        waiting = [(rank(event.id), event) for event in inserted]
        at = 0
        for low, high in spans:
            while at < len(waiting) and waiting[at][0] < high:
                row, event = waiting[at]
                if row > low:
                    yield Run(low, row)
                    low = row
                yield event
                at += 1
            if low < high:
                yield Run(low, high)
        for _, event in waiting[at:]:
            yield event

    def _dry_rank(self, id_: int) -> int:
        # An inserted row of an id that exists comes after the rows of that id.
        return self.dataset.dry_rows_before(self.dataset.index_from_id(id_ + 1))


def _by_id(event: Inserted) -> int:
    return event.id


def epoch_second(moment: datetime) -> int:
    """Return an aware time as whole seconds since the epoch."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return int(moment.timestamp())


def _without(first: int, stop: int, hidden: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what remains of ``first`` to ``stop`` without the hidden spans (ascending)."""
    spans = []
    for low, high in hidden:
        if first < min(low, stop):
            spans.append((first, min(low, stop)))
        first = max(first, high)
    if first < stop:
        spans.append((first, stop))
    return spans
