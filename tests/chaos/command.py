"""``make chaos``: carry out schedules, judge them, and print those that fail with the command that repeats them."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.support.seeds import Outcome, airflow_home, carry_out, report

_REPEAT = "make chaos ARGS='--seed {} --schedules 1 --verbose'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness: 0 if every schedule ended as it may, else 1."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many seeds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--schedule", help="one line of JSON instead of a seed, or the name of a file that holds it")
    parser.add_argument("--shrink", action="store_true", help="leave out whatever the failure does not need")
    parser.add_argument("--verbose", action="store_true", help="print every error with its traceback")
    chosen = parser.parse_args(arguments)
    if chosen.schedule or chosen.shrink or chosen.verbose:
        return _one(chosen)
    seeds = range(chosen.seed, chosen.seed + chosen.schedules)
    return report(carry_out(by_seed, seeds, chosen.jobs, start, _REPEAT))


def by_seed(seed: int) -> Outcome:
    """Carry out and judge the schedule of a seed."""
    from tests.chaos.schedule import draw

    return _outcome(draw(seed))


def _outcome(schedule: Any, verbose: bool = False) -> Outcome:
    from tests.chaos.judge import judge
    from tests.chaos.run import carry_out

    try:
        facts = carry_out(schedule, _s3_url())
    except Exception as error:
        logging.getLogger(__name__).exception("the harness itself failed")
        return Outcome(schedule.seed, "harness failed", [f"the harness failed: {error!r}"], schedule.line())
    step = facts.step("disturbed")
    assert step is not None
    first = step.tries[0]
    ended = "killed" if first.killed else "exported" if first.fault is None else first.fault.name
    if verbose:
        for each in (each for step in facts.steps for each in step.tries):
            print(f"--- {each.name}: {each.result or (each.fault and each.fault.text) or 'killed'}")
        print(facts.logs)
    return Outcome(schedule.seed, ended, judge(schedule, facts), schedule.line())


def _one(chosen: argparse.Namespace) -> int:
    """Carry out one schedule, and leave out what its failure does not need if that is wanted."""
    start()
    from tests.chaos.schedule import Schedule, draw

    if chosen.schedule:
        text = chosen.schedule if chosen.schedule.startswith("{") else Path(chosen.schedule).read_text()
        schedule = Schedule.parse(text)
    else:
        schedule = draw(chosen.seed)
    outcome = _outcome(schedule, chosen.verbose)
    if outcome.verdicts and chosen.shrink:
        outcome = _shrunk(schedule, outcome)
    print(f"{outcome.ended}: {len(outcome.verdicts)} verdicts")
    if outcome.verdicts:
        outcome.tell(_REPEAT)
    return 1 if outcome.verdicts else 0


def _shrunk(schedule: Any, outcome: Outcome) -> Outcome:
    """Leave out each part in turn, as long as a verdict of the same beginning remains."""
    kept = True
    while kept:
        kept = False
        for smaller in _smaller(schedule):
            tried = _outcome(smaller)
            if {_kind(each) for each in tried.verdicts} & {_kind(each) for each in outcome.verdicts}:
                schedule, outcome, kept = smaller, tried, True
                break
    return outcome


def _kind(verdict: str) -> str:
    return " ".join(word for word in verdict.split() if not any(letter.isdigit() for letter in word))[:50]


def _smaller(schedule: Any) -> Any:
    empty = {"process": {}, "s3": {}, "s3_outage": [], "s3_seconds": 0.0, "faults": {}, "changes": {}, "late": []}
    empty |= {"removed": [], "forgotten": None, "before": "nothing"}
    now = asdict(schedule)
    yield from (replace(schedule, **{name: value}) for name, value in empty.items() if now[name] != value)
    for name, fixed in {"server": ("seed", "events"), "export": ("file_format", "compression")}.items():
        for part in now[name]:
            if part not in fixed:
                yield replace(schedule, **{name: {key: value for key, value in now[name].items() if key != part}})
    for name in ("faults", "s3", "changes"):
        for part in now[name] if len(now[name]) > 1 else ():
            yield replace(schedule, **{name: {key: value for key, value in now[name].items() if key != part}})


# The process


def start() -> None:
    """Give this process an Airflow home, quick waits and small parts; before Airflow and moto are imported."""
    airflow_home()
    os.environ["S3_UPLOAD_PART_MIN_SIZE"] = "1"
    import multiprocessing

    from tests.chaos.tries import PART_BYTES
    from tests.support import waits

    logging.getLogger().addHandler(logging.NullHandler())
    # Its processes end by themselves, while a pool's own workers may not have any.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.chaos.tries"])
    stack = ExitStack()
    stack.enter_context(waits.quick())
    stack.enter_context(waits.one_loader())
    stack.enter_context(waits.small_parts(PART_BYTES))
    stack.enter_context(waits.short_claims())
    atexit.register(stack.close)


@lru_cache(maxsize=1)
def _s3_url() -> str:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"
