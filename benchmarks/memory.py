"""Does the provider's memory grow with the export? Peak memory over the imports for ever more events, JSONL and CSV.

python benchmarks/memory.py            10 thousand and 1 million events
python benchmarks/memory.py --huge     and 10 million (10 GB of JSON: takes minutes and disk space for the objects)
"""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import timedelta

from bench import facts, table
from bench.harness import RunFailed, arena, interrupt
from bench.peers import PROVIDER, PROVIDER_CSV
from bench.targets import allowed_requests, memory_verdict

SIZES = (10_000, 1_000_000)
HUGE = 10_000_000
#: The part of the day that is exported first, so that everything is compiled.
WARM_UP = timedelta(minutes=5)
#: Seconds that one export may take, and for every event besides.
SECONDS, SECONDS_AN_EVENT = 300, 0.0005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--huge", action="store_true", help="10 million events too")
    parser.add_argument("--events", type=int, action="append", help="other numbers of events; may be given again")
    parser.add_argument("--format", choices=("jsonl", "csv"), action="append", help="only this format")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="added to each request (0)")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    sizes = args.events or [*SIZES, *([HUGE] if args.huge else [])]
    print(f"Machine: {facts.machine()}\nVersions: {facts.versions()}\n", flush=True)
    rows, passed = [], True
    for size in sizes:
        for cells, met in _measure(size, args.format or ["jsonl", "csv"], args.latency):
            rows.append(cells)
            passed = passed and met
    print(table.terminal(("format", "events", "MB over imports", "", "execute() s", "events/s", "requests"), rows))
    return 0 if passed else 1


def _measure(size: int, formats: list[str], latency: float) -> list[tuple[list[str], bool]]:
    found = []
    with arena(size) as place:
        for peer in (PROVIDER, PROVIDER_CSV):
            if peer.writes not in formats:
                continue
            try:
                # Compiling what the operator imports late would count as its memory.
                place.run(peer, 0, end=place.events.start + WARM_UP)
                run = place.run(peer, latency, timeout=SECONDS + SECONDS_AN_EVENT * size)
            except RunFailed as fault:
                print(f"FAILED {fault}", file=sys.stderr)
                found.append(([str(peer.writes), f"{size:,}", "-", "failed", "", "", ""], False))
                continue
            verdict = memory_verdict("", run.memory / 1e6 if run.memory is not None else None)
            work = run.work or run.wall
            requests = f"{run.requests}"
            if peer is PROVIDER:
                requests += f" of {allowed_requests(size, run.windows)}"
            cells = [f"{work:.1f}", f"{size / work:,.0f}", requests]
            found.append(
                ([str(peer.writes), f"{size:,}", verdict.measured, verdict.word, *cells], verdict.met is not False)
            )
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
