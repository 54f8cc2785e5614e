"""What happened in a run: data for the judge, and nothing of the code under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support import keys

#: Of the tokens that a schedule may ask for.
PSEUDONYM_KEY = keys.PSEUDONYM_SECRET.decode()


@dataclass(frozen=True)
class Fault:
    """How a try failed.

    :param kinds: the names of the exception's class and its bases.
    :param text: the message and the whole traceback, causes included.
    :param by_s3: an error of S3's client, or the named error for one, is among the causes.
    """

    kinds: tuple[str, ...]
    message: str
    text: str
    by_s3: bool

    @property
    def name(self) -> str:
        return self.kinds[0]


@dataclass(frozen=True)
class Try:
    """One execution of the operator: a result, a fault, or neither if its process was killed."""

    name: str
    result: dict[str, Any] | None = None
    fault: Fault | None = None
    killed: bool = False
    #: Something was raised in it, or it was asked to stop.
    disturbed: bool = False


@dataclass(frozen=True)
class State:
    """What the server held at a moment: the window's events as objects, and the rows of its CSV by column."""

    events: list[dict[str, Any]]
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class Stored:
    """What the bucket held at a moment."""

    objects: dict[str, bytes]
    uploads: list[str]

    @property
    def data(self) -> dict[str, bytes]:
        """The objects that are not about an export, but the export."""
        return {key: body for key, body in self.objects.items() if not _is_about(key)}

    @property
    def manifests(self) -> dict[str, bytes]:
        return {
            key: body for key, body in self.objects.items() if _is_about(key) and not key.endswith((".dsse", ".sig"))
        }


def _is_about(key: str) -> bool:
    return "manifest" in key.rpartition("/")[2] or "_manifests/" in key


@dataclass
class Step:
    """A part of a run: its tries, what the server held meanwhile, and what lay in the bucket after it.

    :param states: all that the server held while it ran, in order; at least one.
    :param s3_failed: numbers of the S3 requests that failed, or whose answers were lost.
    """

    name: str
    tries: list[Try] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    stored: Stored = field(default_factory=lambda: Stored({}, []))
    s3_failed: list[int] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Facts:
    """A whole run."""

    steps: list[Step]
    logs: str
    secrets: list[str]

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)


def least_and_most(collections: Iterable[Counter[str]]) -> tuple[Counter[str], Counter[str]]:
    """Return what was there in every state, and what was there in any."""
    least: Counter[str] | None = None
    most: Counter[str] = Counter()
    for each in collections:
        least = Counter(each) if least is None else least & each
        most |= each
    return least or Counter(), most
