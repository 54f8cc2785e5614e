"""Tests that neither wait nor fail because the machine is slow."""

from __future__ import annotations

import threading

from hypothesis import HealthCheck, settings

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Unhurried(threading.Event):
    """Lets a reader that would wait go on at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()
