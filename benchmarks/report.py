"""How long does a report take, and does memory grow with the events?

python benchmarks/report.py        a month of a million events, and of a tenth of that; a year of hourly manifests
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
from bench import facts, made_archive, table
from bench.processes import run, run_reported
from bench.targets import Verdict, concluded
from bench.usage import measured

from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.simulator import Simulator, SimulatorSettings

MONTH_START = datetime(2026, 3, 1, tzinfo=timezone.utc)
MONTH = Window(MONTH_START, MONTH_START + timedelta(days=30))
#: The aims: seconds, bytes over the imports, bytes that ten times the events may add, and bytes of the page.
MONTH_SECONDS, YEAR_SECONDS, MEMORY, GROWTH, PAGE = 60.0, 30.0, 150e6, 30e6, 1.5e6
RUN_SECONDS = 1200
HEADER = ("run", "events", "manifests", "seconds", "CPU s", "MB over imports", "kB of page")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the month (1,000,000)")
    parser.add_argument("--hours", type=int, default=made_archive.HOURS_A_YEAR, help="manifests of the year (8760)")
    parser.add_argument("--once", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(_report(*chosen.once)))
        return 0
    print(facts.about(), flush=True)
    hours = Window(made_archive.hour(0).start, made_archive.hour(chosen.hours - 1).end)
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as name:
        month = _run(_month(Path(name, "month"), chosen.events), MONTH, "activity")
        tenth = _run(_month(Path(name, "tenth"), chosen.events // 10), MONTH, "activity")
        year = _run(_year(Path(name, "year"), chosen.hours), hours, "manifests")
    rows = [("a month", month), ("a month, a tenth", tenth), ("a year, hourly", year)]
    print(table.terminal(HEADER, [_row(label, each) for label, each in rows]))
    seconds, year_seconds, memory, page = month["seconds"], year["seconds"], month["memory"] or 0, month["page"]
    growth = memory - (tenth["memory"] or 0)
    return concluded(
        [
            Verdict(f"a month in under {MONTH_SECONDS:.0f} s", f"{seconds:.1f} s", seconds < MONTH_SECONDS),
            Verdict(f"a year in under {YEAR_SECONDS:.0f} s", f"{year_seconds:.1f} s", year_seconds < YEAR_SECONDS),
            Verdict(f"under {MEMORY / 1e6:.0f} MB", f"{memory / 1e6:.1f} MB", memory < MEMORY),
            Verdict(
                f"ten times the events add less than {GROWTH / 1e6:.0f} MB", f"{growth / 1e6:+.1f} MB", growth < GROWTH
            ),
            Verdict(f"a page under {PAGE / 1e6} MB", f"{page / 1e6:.2f} MB", page < PAGE),
        ]
    )


def _run(folder: Path, period: Window, what: str) -> dict[str, Any]:
    bounds = [format_utc(period.start), format_utc(period.end)]
    return run_reported([sys.executable, __file__, "--once", str(folder), *bounds, what], os.environ, RUN_SECONDS)


def _row(label: str, made: dict[str, Any]) -> list[str]:
    numbers = [f"{made['seconds']:.1f}", f"{made['cpu']:.1f}", f"{(made['memory'] or 0) / 1e6:.1f}"]
    return [label, f"{made['events']:,}", f"{made['manifests']:,}", *numbers, f"{made['page'] / 1e3:,.0f}"]


def _report(folder: str, start: str, end: str, what: str) -> dict[str, Any]:
    """Make a report, and return what it cost beyond the imports."""
    from airflow_provider_curation.report import create_report

    with measured() as usage:
        # The objects of a year were never written: each missing one is a finding, as it should be, and ignored here.
        report = create_report(folder, start, end, activity=what == "activity", ignore=["object_missing"])
    activity = report.figures.activity
    return {
        **asdict(usage),
        "page": len(report.html),
        "events": activity.events if activity else 0,
        "manifests": report.figures.trust.manifests,
    }


def _month(folder: Path, events: int) -> Path:
    """Write an archive of daily exports in which a verification finds nothing."""
    tenant = Simulator(SimulatorSettings(events=events, start=MONTH.start, end=MONTH.end))
    for day in MONTH.split(timedelta(days=1)):
        rows = list(tenant.truth(day.start, day.end))
        content = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        ids, times = [row["id"] for row in rows], [row["created_at"] for row in rows]
        relative, body = made_archive.relative_key(day), gzip.compress(content, 1, mtime=0)
        actions = dict(Counter(row["action"] for row in rows))
        _write(folder / relative, body)
        made = made_archive.manifest(day, relative, body, content, ids, times, actions)
        _write(folder / "_manifests" / f"{relative}.json", made)
    return folder


def _year(folder: Path, hours: int) -> Path:
    for number in range(hours):
        relative = made_archive.relative_key(made_archive.hour(number))
        _write(folder / "_manifests" / f"{relative}.json", made_archive.export(number)[1])
    return folder


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


if __name__ == "__main__":
    run(main)
