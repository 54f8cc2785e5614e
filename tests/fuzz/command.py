"""``make fuzz``: mutants of answers and stored files, and the command that repeats those that were not handled."""

from __future__ import annotations

import argparse
import gc
import logging
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.seeds import Outcome, airflow_home, carry_out, report

#: Of one mutant: what an answer may cost besides what is loaded anyway.
MOST_SECONDS = 10.0
#: Of the clock: a mutant that waits uses no CPU, and a busy machine is slow.
_MOST_SECONDS_OF_CLOCK = 300
MOST_MEGABYTES = 64.0
_ADDRESS_SPACE = 3 << 30


#: What is patched for as long as this process lives.
_for_life = ExitStack()


class TookTooLongError(BaseException):
    """A mutant kept the process busy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness: 0 if every mutant was handled, else 1."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=...", description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000, help="how many seeds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.seed, chosen.seed + chosen.mutants)
    return report(carry_out(by_seed, seeds, chosen.jobs, start, "make fuzz ARGS='--seed {} --mutants 1 --jobs 1'"))


def by_seed(seed: int) -> Outcome:
    """Make the mutant of a seed, and judge what came of it: one in five is a stored file."""
    from tests.fuzz import answers, files

    started, before = time.process_time(), _megabytes()
    try:
        with _limited():
            part: Any = files if seed % 5 == 0 else answers
            case = part.Case.draw(seed)
            ended, verdicts = part.carry_out(case)
    except TookTooLongError:
        ended, verdicts = "took too long", [f"it took {2 * MOST_SECONDS:.0f} CPU s or {_MOST_SECONDS_OF_CLOCK} s"]
    seconds, grown = time.process_time() - started, _megabytes() - before
    if seconds > MOST_SECONDS:
        verdicts.append(f"it took {seconds:.0f} CPU seconds")
    if grown > MOST_MEGABYTES and _warm():
        verdicts.append(f"it took {grown:.0f} MB of memory")
    return Outcome(seed, f"{case.part}: {ended}", verdicts, repr(case))


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise TookTooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGPROF, stop)
    signal.alarm(_MOST_SECONDS_OF_CLOCK)
    signal.setitimer(signal.ITIMER_PROF, 2 * MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


_cases = iter(range(1 << 60))


def _warm() -> bool:
    """Whether everything that is imported late has been imported."""
    return next(_cases) > 0


def start() -> None:
    """Give this process an Airflow home, quick waits, and too little memory to harm the machine."""
    airflow_home()
    from tests.fuzz import answers, files
    from tests.support import waits

    logging.disable(logging.CRITICAL)
    _for_life.enter_context(waits.quick())
    for part in (answers, files):
        for seed in range(1, 11):
            part.carry_out(part.Case.draw(seed))
    gc.collect()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, resource.RLIM_INFINITY))
