"""Does the provider's memory grow with the export? Peak memory over the imports for ever more events, in each format.

python benchmarks/memory.py            10 thousand and 1 million events
python benchmarks/memory.py --huge     and 10 million (7 GB of JSON: takes minutes, and disk space for the objects)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta

from bench import facts, table
from bench.harness import RunFailed, arena
from bench.peers import PROVIDER, PROVIDER_CSV, PROVIDER_PARQUET
from bench.processes import run
from bench.targets import MEMORY_MB, MEMORY_PARQUET_MB, allowed_requests, memory_verdict

FORMATS = ("jsonl", "csv", "parquet")
SIZES = (10_000, 1_000_000)
HUGE = 10_000_000
HEADER = ("format", "events", "MB over imports", "", "execute() s", "events/s", "requests")
#: The part of the day that is exported first, so that everything is compiled.
WARM_UP = timedelta(minutes=5)
#: Seconds that an export may take, and more for each event.
SECONDS, SECONDS_AN_EVENT = 300, 0.0005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--huge", action="store_true", help="10 million events too")
    parser.add_argument("--events", type=int, action="append", help="other numbers of events; may be given again")
    parser.add_argument("--format", choices=FORMATS, action="append", help="only this format")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="added to each request (0)")
    args = parser.parse_args()
    print(facts.about(), flush=True)
    found = [
        row
        for size in args.events or [*SIZES, *([HUGE] if args.huge else [])]
        for row in _measure(size, args.format or FORMATS, args.latency)
    ]
    print(table.terminal(HEADER, [cells for cells, _ in found]))
    return 0 if all(met for _, met in found) else 1


def _measure(size: int, formats: Sequence[str], latency: float) -> list[tuple[list[str], bool]]:
    found = []
    with arena(size) as place:
        for peer in (PROVIDER, PROVIDER_CSV, PROVIDER_PARQUET):
            if peer.writes not in formats:
                continue
            first = [str(peer.writes), f"{size:,}"]
            try:
                # What the operator imports late would count as its memory while it is compiled.
                place.run(peer, 0, end=place.start + WARM_UP)
                measured = place.run(peer, latency, timeout=SECONDS + SECONDS_AN_EVENT * size)
            except RunFailed as fault:
                print(f"FAILED {fault}", file=sys.stderr)
                found.append(([*first, "-", "failed", "", "", ""], False))
                continue
            limits = MEMORY_PARQUET_MB if peer is PROVIDER_PARQUET else MEMORY_MB
            verdict = memory_verdict("", measured.memory / 1e6 if measured.memory is not None else None, limits)
            work = measured.work or measured.wall
            requests = f"{measured.requests}"
            if peer is PROVIDER:
                requests += f" of {allowed_requests(size, measured.windows)}"
            cells = [*first, verdict.measured, verdict.word, f"{work:.1f}", f"{size / work:,.0f}", requests]
            found.append((cells, verdict.met is not False))
    return found


if __name__ == "__main__":
    run(main)
