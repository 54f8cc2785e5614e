"""Schedules are the same for a seed, can be printed, and reach every switch and fault there is."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from airflow_provider_curation.simulator import Fault
from airflow_provider_curation.simulator.settings import TYPES
from tests.chaos.schedule import SWITCHES, Schedule, draw
from tests.support.s3_proxy import Failure

SEEDS = range(1, 1001)
#: Settings that the harness chooses for every schedule, or that only cost time.
ALWAYS = {
    "seed", "events", "start", "end", "now", "retention", "changes", "tokens", "users", "fault_schedule", "retry_after",
    "hang",
}  # fmt: skip
LEFT_OUT = {
    "late_rate": "of events of the present; changes make events late",
    "late_by": "likewise",
    "max_width": "a narrower one is a server that the provider is not made for",
    "certificate": "TLS has tests of its own",
    "private_key": "likewise",
    "content_type_refused": "is on",
    "version": "an old server has no events",
    "forbidden_tokens": "ends every export in the same way",
    "latency": "costs time",
    "latency_per_row": "costs time",
    "latency_per_skipped_row": "costs time",
    "capacity": "429 is among the faults",
    "over_capacity": "costs time",
    "fault_rate": "faults are scheduled",
    "fault_kinds": "likewise",
    "faults_everywhere": "the other paths have tests of their own",
    "login_url": "has tests of its own",
}  # fmt: skip


def test_a_seed_is_one_schedule_and_a_schedule_one_line() -> None:
    for seed in range(100):
        assert draw(seed) == draw(seed) == Schedule.parse(draw(seed).line())
        assert "\n" not in draw(seed).line()
    assert draw(1).line() != draw(2).line()


def test_every_switch_of_the_simulator_is_drawn_or_left_out_for_a_reason() -> None:
    assert set(TYPES) == set(SWITCHES) | ALWAYS | set(LEFT_OUT)


def test_everything_that_can_be_drawn_is_drawn() -> None:
    drawn: dict[str, set[Any]] = defaultdict(set)
    for schedule in map(draw, SEEDS):
        for name, value in schedule.server.items():
            drawn[f"server {name}"].add(value)
        for name in schedule.export:
            drawn["arguments"].add(name)
        drawn["faults"] |= set(schedule.faults.values())
        drawn["s3"] |= set(schedule.s3.values())
        drawn["before"].add(schedule.before)
        drawn["kinds"].add(schedule.process.get("kind"))
        drawn["changes"] |= {verb for verb, _ in schedule.changes.values()}
        drawn["widths"].add(min(schedule.window[1] - schedule.window[0], 86_401))
    for name, values in SWITCHES.items():
        assert drawn[f"server {name}"] == {getattr(value, "value", value) for value in values}, name
    # A drip costs its client as long as the server likes.
    assert drawn["faults"] == {fault.value for fault in Fault} - {Fault.DRIP.value}
    assert drawn["s3"] == {failure.value for failure in Failure}
    assert drawn["before"] == {"nothing", "same", "filtered", "wider", "foreign", "scribbled"}
    assert drawn["kinds"] == {None, "raise", "stop", "sigterm", "sigkill", "two-tries"}
    assert drawn["changes"] == {"insert", "insert-between", "delete", "hide", "reveal"}
    assert {1, 86_400, 86_401} <= drawn["widths"]
    assert {"allow_shrink", "replace", "dry_run", "on_expired", "pseudonymize", "csv_safe"} <= drawn["arguments"]
