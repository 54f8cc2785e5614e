"""How busy the rest of the machine was during a run: figures mean little if a shared machine was busy."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Busy:
    """CPU seconds used so far: by the whole machine, and by this process and the given servers; None if unknown."""

    at: float
    machine: float | None
    ours: float

    @classmethod
    def now(cls, servers: Sequence[int]) -> Busy:
        times = os.times()
        return cls(time.perf_counter(), _machine(), times.user + times.system + sum(map(_process, servers)))

    def cores_of_others(self, since: Busy, child_cpu: float) -> float | None:
        """Return how many cores others kept busy since then; `child_cpu` is the CPU of the measured process."""
        if self.machine is None or since.machine is None:
            return None
        others = self.machine - since.machine - (self.ours - since.ours) - child_cpu
        return max(others, 0.0) / max(self.at - since.at, 1e-9)


def _machine() -> float | None:
    """Return the user, nice, system, interrupt and stolen time of all cores."""
    with suppress(OSError, ValueError, IndexError):
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return None


def _process(pid: int) -> float:
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
