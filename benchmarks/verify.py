"""How long is a year of hourly manifests verified, and does memory grow with the archive?

python benchmarks/verify.py                a year (8,760 manifests), and a month of archives of one and of ten years
python benchmarks/verify.py --moto         the year against moto's server as well, beside bare boto3
python benchmarks/verify.py --decade       all of ten years as well (87,600 manifests)
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import facts, table
from bench.contention import Busy
from bench.harness import _environment, interrupt
from bench.made_archive import HOURS_A_YEAR
from bench.processes import BENCHMARKS, Server

#: The aims: seconds for a year, and bytes that ten times the archive may add.
YEAR_SECONDS = 30.0
GROWTH = 8e6
MONTH = 30 * 24
#: Seconds after which a run is given up.
RUN_SECONDS = 1200
HEADER = ("run", "S3 API", "manifests", "seconds", "CPU s", "MB over imports", "others' cores")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=HOURS_A_YEAR, help="manifests of a year (8760)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (3)")
    parser.add_argument("--moto", action="store_true", help="against moto's server too")
    parser.add_argument("--decade", action="store_true", help="verify all of ten years too")
    chosen = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    print(f"Machine: {facts.machine()}\nVersions: {facts.versions()}\n", flush=True)
    hours = chosen.hours
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as name:
        bench = Bench(Path(name))
        year, _ = bench.run("bench.archive_api", hours, [("provider", 0, hours), ("bare", 0, hours)], chosen.rounds)
        [month] = bench.run("bench.archive_api", hours, [("provider", hours - MONTH, hours)], 1)
        runs = [("provider", 10 * hours - MONTH, 10 * hours)]
        if chosen.decade:
            runs.append(("provider", 0, 10 * hours))
        decade = bench.run("bench.archive_api", 10 * hours, runs, 1)
        if chosen.moto:
            bench.run("bench.made_objects", hours, [("provider", 0, hours), ("bare", 0, hours)], chosen.rounds)
    print(table.terminal(HEADER, bench.rows))
    growth = decade[0]["memory"] - month["memory"]
    aims = [
        (f"a year in under {YEAR_SECONDS:.0f} s", f"{year['seconds']:.1f} s", year["seconds"] < YEAR_SECONDS),
        (f"ten years' listing adds less than {GROWTH / 1e6:.0f} MB", f"{growth / 1e6:+.1f} MB", growth < GROWTH),
    ]
    print()
    for aim, measured, met in aims:
        print(f"{'met' if met else 'MISSED'}: {aim}: {measured}")
    return 0 if all(met for _, _, met in aims) else 1


class Bench:
    """Runs verifications as processes of their own, and keeps the rows of the table."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[list[str]] = []

    def run(self, server: str, hours: int, runs: list[tuple[str, int, int]], rounds: int) -> list[dict[str, Any]]:
        """Run each `rounds` times in turn against one server, and return their medians."""
        found: list[list[dict[str, Any]]] = [[] for _ in runs]
        with Server(server, "--hours", str(hours)) as s3:
            for _ in range(rounds):
                for number, (who, first, last) in enumerate(runs):
                    found[number].append(self._once(s3, who, first, last))
        medians = [sorted(each, key=lambda run: float(run["seconds"]))[len(each) // 2] for each in found]
        for (who, first, last), made in zip(runs, medians, strict=True):
            of = "all" if (first, last) == (0, hours) else "a month"
            cells = [f"{made['seconds']:.1f}", f"{made['cpu']:.1f}", f"{made['memory'] / 1e6:.1f}"]
            name = "this provider" if who == "provider" else "bare boto3"
            label = f"{name}, {of} of {hours:,} hours"
            others = "-" if made["others"] is None else f"{made['others']:.1f}"
            self.rows.append([label, server.split(".")[1], f"{made['manifests']:,}", *cells, others])
            print(f"  {self.rows[-1]}", file=sys.stderr, flush=True)
        return medians

    def _once(self, s3: Server, who: str, first: int, last: int) -> dict[str, Any]:
        env = _environment("http://127.0.0.1:1", s3.url, self._folder)
        command = [sys.executable, str(BENCHMARKS / "peers" / "verifier.py"), who, str(first), str(last)]
        before = Busy.now([s3.pid])
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise SystemExit(f"{who} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        made["others"] = Busy.now([s3.pid]).cores_of_others(before, made["process_cpu"])
        return made


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
