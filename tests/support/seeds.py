"""Seeds carried out by a few processes: what failed, how to repeat it, and what it cost."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    :param ended: how it ended, in a few words; they are counted.
    :param verdicts: what must not have happened.
    :param case: what was drawn.
    """

    seed: int
    ended: str
    verdicts: list[str] = field(default_factory=list)
    case: str = ""

    def tell(self, repeat: str) -> None:
        """Print the verdicts, the command that repeats them, and the case."""
        print(f"FAILED seed {self.seed}; repeat: {repeat.format(self.seed)}")
        for verdict in self.verdicts:
            print(f"    {verdict}")
        print(f"    {self.case}", flush=True)


@dataclass
class Summary:
    """What many seeds came to."""

    cases: int = 0
    failed: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    most_megabytes: float = 0.0


def carry_out(
    case: Callable[[int], Outcome], seeds: Iterable[int], jobs: int, start: Callable[[], None], repeat: str
) -> Summary:
    """Carry out every seed, by ``jobs`` processes that each call ``start`` first, and tell of those that failed.

    :param repeat: the command that repeats a seed, with ``{}`` in the seed's place.
    """
    started = time.monotonic()
    summary = Summary()
    for outcome, cpu, megabytes in _outcomes(case, seeds, jobs, start):
        summary.cases += 1
        summary.ended[outcome.ended] += 1
        summary.cpu_seconds += cpu
        summary.most_megabytes = max(summary.most_megabytes, megabytes)
        if outcome.verdicts:
            summary.failed += 1
            outcome.tell(repeat)
    summary.seconds = time.monotonic() - started
    return summary


def report(summary: Summary) -> int:
    """Print a summary, and return the exit code of the command."""
    for ended, times in summary.ended.most_common():
        print(f"{times:6} {ended}")
    print(
        f"{summary.cases} seeds, {summary.failed} failed; {summary.seconds:.0f} s, {summary.cpu_seconds:.0f} CPU "
        f"seconds without starting, {summary.most_megabytes:.0f} MB at most"
    )
    return 1 if summary.failed else 0


def airflow_home() -> None:
    """Give this process an Airflow home of its own; before Airflow is imported for the first time."""
    home = tempfile.mkdtemp(prefix="airflow-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def _outcomes(
    case: Callable[[int], Outcome], seeds: Iterable[int], jobs: int, start: Callable[[], None]
) -> Iterator[tuple[Outcome, float, float]]:
    if jobs == 1:
        start()
        yield from map(_Measured(case), seeds)
        return
    # Each process starts anew, since threads and signal handlers do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(jobs, start) as pool:
        yield from pool.imap_unordered(_Measured(case), seeds)


@dataclass(frozen=True)
class _Measured:
    case: Callable[[int], Outcome]

    def __call__(self, seed: int) -> tuple[Outcome, float, float]:
        before = _cpu()
        outcome = self.case(seed)
        return outcome, _cpu() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
