"""How much a test does: little in every run, much more with ``HYPOTHESIS_PROFILE=explore``."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def effort(normal: T, explore: T) -> T:
    """Return the number of cases, or the cases, of this run."""
    return explore if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else normal
