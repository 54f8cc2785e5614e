"""`make bench`: exports of one window by this provider and its peers, side by side, as a table with ratios.

    python benchmarks/export.py                       200,000 events, 0, 30 and 100 ms a request, 3 rounds
    python benchmarks/export.py --quick               20,000 events, 0 and 30 ms, one round: does everything work?
    python benchmarks/export.py --only provider_jsonl --only vendor_loop --latency 0

Rounds are interleaved (A B C A B C …), each competitor is a process of its own, figures are medians. Every export is
read back and compared with the endpoint's events. The exit code is 1 if a competitor failed or left a wrong object, and
with `--strict` also if an aim was missed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from bench import facts, table
from bench.harness import Arena, Result, Run, RunFailed, arena
from bench.peers import ALL, CURL_CSV, LIMIT, LIMIT_6, PROVIDER, PROVIDER_CSV, THROWN_AWAY, VENDOR, Peer
from bench.processes import run
from bench.targets import JUDGED_EVENTS, Judge, Verdict

#: Results by competitor and latency in milliseconds.
Results = dict[tuple[str, int], Result]

#: The part of the window that a competitor exports before the measured rounds, so that files are cached and compiled.
WARM_UP = timedelta(minutes=30)
#: If others keep more cores busy than this, the figures are in doubt.
QUIET_CORES = 0.2
#: Those who read JSON pages fast enough for a slow endpoint to hold them up.
JSON_READERS = (LIMIT.name, LIMIT_6.name, VENDOR.name, PROVIDER.name)


@dataclass
class Measured:
    """All results, and the reason why a competitor has none."""

    results: Results
    failures: dict[str, str]


def main() -> int:
    args = _arguments()
    peers = [peer for peer in ALL if not args.only or peer.name in args.only]
    print(facts.about(), flush=True)
    with arena(args.events, gzip=args.gzip) as place:
        measured = _measure(place, peers, args.latency, args.rounds, whole_warm_up=args.gzip)
        event_bytes = place.event_bytes()
    verdicts = list(Judge(measured.results, args.latency, args.events).verdicts())
    _print(measured, peers, args, event_bytes, verdicts)
    missed = any(verdict.met is False for verdict in verdicts)
    return 1 if measured.failures or (args.strict and missed) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=None, help="in the window (200000)")
    parser.add_argument(
        "--latency", type=_numbers, default=None, metavar="MS,MS", help="added to each request (0,30,100)"
    )
    parser.add_argument("--rounds", type=int, default=None, help="of each competitor at each latency (3)")
    parser.add_argument("--only", action="append", choices=[peer.name for peer in ALL], help="may be given again")
    parser.add_argument("--quick", action="store_true", help="20000 events, 0 and 30 ms, one round")
    parser.add_argument("--gzip", action="store_true", help="the endpoint compresses for clients that accept it")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for the documentation")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if an aim was missed")
    args = parser.parse_args()
    args.events = args.events or (20_000 if args.quick else 200_000)
    args.latency = args.latency or ([0, 30] if args.quick else [0, 30, 100])
    args.rounds = args.rounds or (1 if args.quick else 3)
    return args


def _numbers(text: str) -> list[int]:
    return sorted({int(part) for part in text.split(",")})


def _measure(place: Arena, peers: list[Peer], latencies: list[int], rounds: int, *, whole_warm_up: bool) -> Measured:
    measured = Measured({}, {peer.name: f"needs {', '.join(peer.missing)}" for peer in peers if peer.missing})
    for peer in peers:
        # The endpoint makes CSV (and gzip) when first asked and keeps it, so these warm up with the whole window.
        whole = whole_warm_up or peer in (PROVIDER_CSV, CURL_CSV)
        _run(place, peer, 0, measured, "warm-up", None if whole else place.start + WARM_UP)
    for latency in latencies:
        for number in range(1, rounds + 1):
            for peer in peers:
                made = _run(place, peer, latency, measured, f"{latency} ms, round {number} of {rounds}")
                if made:
                    measured.results.setdefault((peer.name, latency), Result()).runs.append(made)
    _progress("")
    return measured


def _run(
    place: Arena, peer: Peer, latency: int, measured: Measured, what: str, end: datetime | None = None
) -> Run | None:
    """Run a competitor, unless it has failed before."""
    if peer.name in measured.failures:
        return None
    _progress(f"{what}: {peer.name}")
    try:
        return place.run(peer, latency, end)
    except RunFailed as fault:
        measured.failures[peer.name] = str(fault)
        return None


def _progress(text: str) -> None:
    """Show what is being done now: on one line of a terminal, or on lines of their own in a log."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _print(
    measured: Measured, peers: list[Peer], args: argparse.Namespace, event_bytes: float, verdicts: list[Verdict]
) -> None:
    draw = table.markdown if args.markdown else table.terminal
    results = measured.results
    about = (
        f"Work: {args.events:,} events of one day, {event_bytes * args.events / 1e6:.0f} MB of JSON ({event_bytes:.0f} "
        f"bytes each), into one object on a local S3 API; answers {_encoding(args)}, no TLS. Medians of {args.rounds} "
        "interleaved rounds. s: the whole process. (x): times the speed of the vendor's loop. run: seconds after the "
        "imports (for this provider: execute() alone). CPU: seconds of user and system for a million events, children "
        f"included, at {args.latency[0]} ms. MB: peak memory over the imports. Every export counted here was read back "
        "and holds exactly the window's events."
    )
    print(f"\n{textwrap.fill(about, 120)}\n")
    print(draw(_header(args.latency), [_row(peer, results, args.latency, args.events) for peer in peers]))
    for latency in args.latency:
        print(("\n" if latency == args.latency[0] else "") + _about_the_server(results, latency))
    print(f"\n{_about_the_machine(results)}")
    if args.events < JUDGED_EVENTS:
        print(f"\nAims of speed are judged from {JUDGED_EVENTS:,} events on.")
    print("\n" + draw(("aim", "measured", "verdict"), [(v.aim, v.measured, v.word) for v in verdicts]))
    for why in measured.failures.values():
        print(f"\nFAILED {why}", file=sys.stderr)


def _encoding(args: argparse.Namespace) -> str:
    return "in gzip for those who accept it" if args.gzip else "not compressed"


def _header(latencies: list[int]) -> list[str]:
    shown = [column for ms in latencies for column in (f"{ms} ms: s", "(x)", "run")]
    return ["who", *shown, "CPU s/million", "MB", "object MB", "requests", "in flight"]


def _row(peer: Peer, results: Results, latencies: list[int], events: int) -> list[str]:
    cells = [peer.label]
    for latency in latencies:
        result, base = results.get((peer.name, latency)), results.get((VENDOR.name, latency))
        cells.append(f"{result.wall:.2f}" if result else "-")
        cells.append(f"({base.wall / result.wall:.1f})" if result and base else "")
        cells.append(f"{result.work:.2f}" if result and result.work is not None else "")
    known = [results[peer.name, latency] for latency in latencies if (peer.name, latency) in results]
    if not known:
        return [*cells, "", "", "", "", ""]
    last = known[0].runs[-1]
    memory = [result.memory for result in known if result.memory is not None]
    cells.append(f"{known[0].cpu * 1_000_000 / events:.1f}")
    cells.append(f"{max(memory) / 1e6:.0f}" if memory else "")
    cells.append(f"{last.object_bytes / 1e6:.1f}" if last.object_bytes else "")
    return [*cells, str(last.requests), str(max(run.most_in_flight for result in known for run in result.runs))]


def _about_the_server(results: Results, latency: int) -> str:
    """Return whether the endpoint was the bottleneck: its own speed against the fastest export of its JSON."""
    server = results.get((THROWN_AWAY.name, latency))
    readers = {name: r for (name, ms), r in results.items() if ms == latency and name in JSON_READERS}
    if server is None or not readers:
        return f"At {latency} ms the endpoint alone was not measured, so it may be the bottleneck."
    name, fastest = min(readers.items(), key=lambda item: item[1].wall)
    text = (
        f"At {latency} ms the endpoint delivers all events in {server.wall:.2f} s; the fastest reader, {name}, takes "
    )
    text += f"{fastest.wall:.2f} s"
    if latency:
        return text + " (most of the former is the added latency)."
    verdict = "it is not the bottleneck" if server.wall < 0.25 * fastest.wall else "IT MAY BE THE BOTTLENECK"
    return f"{text}: {verdict}."


def _about_the_machine(results: Results) -> str:
    """Return whether the machine was quiet enough for the figures to mean something."""
    known = [run.others for result in results.values() for run in result.runs if run.others is not None]
    if not known:
        return "How busy other processes kept the machine is unknown."
    text = f"Other processes kept {median(known):.1f} cores busy (median; {max(known):.1f} in the worst run)"
    quiet = median(known) < QUIET_CORES
    return f"{text}." if quiet else f"{text}: THE MACHINE WAS NOT QUIET, repeat before believing any figure."


if __name__ == "__main__":
    run(main)
