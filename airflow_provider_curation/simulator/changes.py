"""Changes to the events while they are read, as on a live server between two requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any


class NewId(str, Enum):
    """The id of an inserted event."""

    NEXT = "next"  # the next of the sequence, after all others
    BETWEEN = "between"  # a free one next to those of the events of its time, so that the rows after it shift


@dataclass(frozen=True)
class Insert:
    """An event appears.

    :param created_at: aware; may lie in the past.
    :param fields: override the ordinary ones.
    :param lag: seconds that the event stays invisible after the change.
    """

    created_at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    id: int | NewId = NewId.NEXT
    dry_run: bool = False
    lag: float = 0.0


@dataclass(frozen=True)
class Delete:
    """An event disappears for good: the one with that id, or the first visible one at or after a time (aware)."""

    event: int | datetime


@dataclass(frozen=True)
class Hide:
    """Events with ``start <= created_at < end`` (aware) are invisible until they are revealed."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Reveal:
    """Everything hidden so far becomes visible, in its old place."""


Change = Insert | Delete | Hide | Reveal
