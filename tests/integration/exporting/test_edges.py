"""Events at the very edges of windows, and of the parts that windows are read in."""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path

import pytest

from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import NewId, Simulator
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.exports import END, START, csv_of, csv_rows, simulated, truth_csv

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

SECOND = timedelta(seconds=1)
BOUNDS = pytest.mark.parametrize("bound", CHOICES["end_bound"])


def hold(simulator: Simulator, start: datetime, end: datetime, folder: Path, dry_run: bool = False) -> None:
    """Hold what the hook reads of a window against the truth."""
    hook = CurationAuditHook()
    truth = list(simulator.truth(start, end, dry_run))
    assert list(hook.iter_events(start, end, dry_run)) == truth
    assert hook.count_events(start, end, dry_run) == len(truth)
    hook.download_csv(start, end, folder / "audit.zip", dry_run)
    assert csv_of((folder / "audit.zip").read_bytes()) == truth_csv(simulator, start, end, dry_run)


@BOUNDS
@pytest.mark.parametrize("dry_run", [False, True], ids=["events", "dry-run"])
def test_a_window_that_ends_or_starts_at_an_event(bound: str, dry_run: bool, tmp_path: Path) -> None:
    with simulated(end_bound=bound) as simulator:
        times = sorted({datetime.fromisoformat(event["created_at"].replace("Z", "+00:00"))
                        for event in simulator.truth(START, END, dry_run)})  # fmt: skip
        for moment in (times[0], times[len(times) // 2], times[-1]):
            if moment > START:
                hold(simulator, START, moment, tmp_path, dry_run)
            hold(simulator, moment, moment + SECOND, tmp_path, dry_run)
            hold(simulator, moment, END, tmp_path, dry_run)


@BOUNDS
def test_a_second_that_holds_many_events(bound: str, tmp_path: Path) -> None:
    with simulated(page_size=7, end_bound=bound) as simulator:
        moment = START + timedelta(hours=9)
        for _ in range(30):
            simulator.insert(moment, id=NewId.BETWEEN)
        hold(simulator, moment, moment + SECOND, tmp_path)
        hold(simulator, START, moment, tmp_path)
        hold(simulator, moment - SECOND, moment + SECOND, tmp_path)


@BOUNDS
def test_slices_that_meet_within_busy_seconds(bound: str, tmp_path: Path) -> None:
    end = START + timedelta(minutes=10)
    with simulated(events=1500, end=end, slice_rows=100, end_bound=bound) as simulator:
        hold(simulator, START, end, tmp_path)


@BOUNDS
def test_parts_of_a_wide_window_that_meet_at_events(bound: str, tmp_path: Path) -> None:
    end = START + timedelta(days=13)
    with simulated(events=200, end=end, end_bound=bound) as simulator:
        for edge in (START + timedelta(days=6), START + timedelta(days=12)):
            for moment in (edge - SECOND, edge, edge + SECOND):
                simulator.insert(moment, id=NewId.BETWEEN)
        simulator.insert(end - SECOND, id=NewId.BETWEEN)
        # An id can be higher than those of a later part: parts come in order of time, ids ascend within each.
        events = sorted(CurationAuditHook().iter_events(START, end), key=itemgetter("id"))
        assert events == list(simulator.truth(START, end))
        CurationAuditHook().download_csv(START, end, tmp_path / "audit.zip")
        rows = csv_rows(csv_of((tmp_path / "audit.zip").read_bytes()))
        assert sorted(map(str, rows)) == sorted(map(str, csv_rows(truth_csv(simulator, START, end))))


def test_fractions_of_a_second_leave_no_hole(tmp_path: Path) -> None:
    with simulated() as simulator:
        hook = CurationAuditHook()
        [first, *_] = simulator.truth(START + timedelta(hours=9), END)
        moment = datetime.fromisoformat(first["created_at"].replace("Z", "+00:00"))
        middle = moment + timedelta(microseconds=1)
        both = [*hook.iter_events(START, middle), *hook.iter_events(middle, END)]
        assert both == list(simulator.truth(START, END))
