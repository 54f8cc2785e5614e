"""What the work of this process costs: seconds, CPU, and memory over what it held before."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Usage:
    """Seconds, CPU seconds (user and system), and bytes of peak memory over what was held before; None if unknown."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int | None = None


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure the work inside; call it after the imports."""
    usage = Usage()
    # VmHWM forgets what only the imports needed; where that is not allowed, the figure is a little lower.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, cpu, began = _status_bytes("VmRSS"), _cpu(), time.perf_counter()
    yield usage
    usage.seconds, usage.cpu = time.perf_counter() - began, _cpu() - cpu
    peak = _status_bytes("VmHWM")
    usage.memory = peak - before if peak is not None and before is not None else None


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _status_bytes(name: str) -> int | None:
    """Return a line of /proc/self/status in bytes; None on systems that have no such file."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return None
