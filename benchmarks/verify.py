"""How long does a year of hourly manifests take to verify, and does memory grow with the archive?

python benchmarks/verify.py                a year (8,760 manifests), and a month of archives of one and of ten years
python benchmarks/verify.py --moto         the year against moto's server as well, beside bare boto3
python benchmarks/verify.py --decade       all of ten years as well (87,600 manifests)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import facts, table
from bench.contention import Busy
from bench.harness import environment
from bench.made_archive import HOURS_A_YEAR
from bench.processes import BENCHMARKS, Server, run, run_reported, server
from bench.targets import Verdict, concluded

#: The aims: seconds for a year, and bytes that ten times the archive may add.
YEAR_SECONDS = 30.0
GROWTH = 8e6
MONTH = 30 * 24
#: Seconds after which a run is given up.
RUN_SECONDS = 1200
NAMES = {"provider": "this provider", "sealed": "this provider, signed and sealed", "bare": "bare boto3"}
HEADER = ("run", "S3 API", "manifests", "seconds", "CPU s", "MB over imports", "others' cores")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=HOURS_A_YEAR, help="manifests of a year (8760)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many runs counts (3)")
    parser.add_argument("--moto", action="store_true", help="against moto's server too")
    parser.add_argument("--decade", action="store_true", help="verify all of ten years too")
    chosen = parser.parse_args()
    print(facts.about(), flush=True)
    hours = chosen.hours
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as name:
        bench = Bench(Path(name))
        year, _ = bench.run("archive_api", hours, [("provider", 0, hours), ("bare", 0, hours)], chosen.rounds)
        [sealed] = bench.run("archive_api", hours, [("sealed", 0, hours)], chosen.rounds, "--sealed")
        [month] = bench.run("archive_api", hours, [("provider", max(0, hours - MONTH), hours)], 1)
        runs = [("provider", max(0, 10 * hours - MONTH), 10 * hours)]
        if chosen.decade:
            runs.append(("provider", 0, 10 * hours))
        decade = bench.run("archive_api", 10 * hours, runs, 1)
        if chosen.moto:
            bench.run("objects", hours, [("provider", 0, hours), ("bare", 0, hours)], chosen.rounds)
    print(table.terminal(HEADER, bench.rows))
    growth = (decade[0]["memory"] or 0) - (month["memory"] or 0)
    return concluded(
        [
            *(
                Verdict(
                    f"{of} in under {YEAR_SECONDS:.0f} s", f"{made['seconds']:.1f} s", made["seconds"] < YEAR_SECONDS
                )
                for of, made in (("a year", year), ("a signed and sealed year", sealed))
            ),
            Verdict(
                f"ten years' listing adds less than {GROWTH / 1e6:.0f} MB", f"{growth / 1e6:+.1f} MB", growth < GROWTH
            ),
        ]
    )


class Bench:
    """Runs verifications as processes of their own, and keeps the rows of the table."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[list[str]] = []

    def run(
        self, api: str, hours: int, runs: list[tuple[str, int, int]], rounds: int, *options: str
    ) -> list[dict[str, Any]]:
        """Run each `rounds` times in turn against one server, and return their medians."""
        found: list[list[dict[str, Any]]] = [[] for _ in runs]
        with server(f"bench.{api}", "--hours", str(hours), *options) as s3:
            for _ in range(rounds):
                for number, (who, first, last) in enumerate(runs):
                    found[number].append(self._once(s3, who, first, last))
        medians = [sorted(each, key=lambda made: float(made["seconds"]))[len(each) // 2] for each in found]
        for (who, first, last), made in zip(runs, medians, strict=True):
            of = "all" if (first, last) == (0, hours) else "a month"
            label = f"{NAMES[who]}, {of} of {hours:,} hours"
            memory, others = (made["memory"] or 0) / 1e6, made["others"]
            cells = [f"{made['seconds']:.1f}", f"{made['cpu']:.1f}", f"{memory:.1f}"]
            self.rows.append([label, api, f"{made['manifests']:,}", *cells, "-" if others is None else f"{others:.1f}"])
            print(f"  {self.rows[-1]}", file=sys.stderr, flush=True)
        return medians

    def _once(self, s3: Server, who: str, first: int, last: int) -> dict[str, Any]:
        command = [sys.executable, str(BENCHMARKS / "peers" / "verifier.py"), who, str(first), str(last)]
        before = Busy.now([s3.pid])
        made = run_reported(command, environment("http://127.0.0.1:1", s3.url, self._folder), RUN_SECONDS)
        made["others"] = Busy.now([s3.pid]).cores_of_others(before, made["process_cpu"])
        return made


if __name__ == "__main__":
    run(main)
