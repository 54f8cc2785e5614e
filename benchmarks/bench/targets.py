"""The aims of the project, each compared with what was measured in this run: met, missed, or not judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from bench.harness import Result
from bench.peers import CURL_CSV, HTTP_OPERATOR, LIMIT, PROVIDER, PROVIDER_CSV, THROWN_AWAY, VENDOR, Peer

#: The aims are for exports of at least so many events; Airflow's fixed start outweighs smaller ones.
JUDGED_EVENTS = 200_000

#: By latency: how many times as fast as the vendor's loop, both without their imports.
AGAINST_VENDOR = {0: 7.0, 100: 9.0}
#: By latency: the most times that `execute()` may take as long as another competitor.
JSONL_AGAINST = {0: (0.8, LIMIT), 100: (1.15, THROWN_AWAY)}
CSV_AGAINST = {0: (0.8, PROVIDER), 100: (1.3, CURL_CSV)}
MEMORY_PART_OF_HTTP_OPERATOR = 14
MEMORY_MB = 48.0
#: A Parquet file's row group is held until it is written.
MEMORY_PARQUET_MB = 120.0
#: A page of 2000 overlaps the previous one by one row.
NEW_ROWS_A_PAGE = 1999


@dataclass(frozen=True)
class Verdict:
    """An aim: what was wanted, what was measured, and whether that is enough (None: not judged in this run)."""

    aim: str
    measured: str
    met: bool | None

    @property
    def word(self) -> str:
        return {None: "not judged", True: "met", False: "MISSED"}[self.met]


def concluded(verdicts: Sequence[Verdict]) -> int:
    """Print verdicts, and return the exit code: 1 if an aim was missed."""
    print()
    for verdict in verdicts:
        print(f"{verdict.word}: {verdict.aim}: {verdict.measured}")
    return int(any(verdict.met is False for verdict in verdicts))


def allowed_requests(events: int, slices: int) -> int:
    """Return the most JSON requests that an export of so many events may take."""
    return ceil(events / NEW_ROWS_A_PAGE) + slices + 2


def memory_verdict(label: str, megabytes: float | None, most: float = MEMORY_MB) -> Verdict:
    """Compare peak memory over the imports with its limit, whatever the number of events."""
    aim = f"{label}: under {most:g} MB over the imports"
    return Verdict(aim, "-", None) if megabytes is None else Verdict(aim, f"{megabytes:.0f} MB", megabytes < most)


@dataclass(frozen=True)
class Judge:
    """Compares the results (by competitor and latency in ms) of runs over `events` events with the aims."""

    results: dict[tuple[str, int], Result]
    latencies: list[int]
    events: int

    def verdicts(self) -> Iterator[Verdict]:
        """Yield every aim that a comparison of speed can decide."""
        for latency in self.latencies:
            if latency in AGAINST_VENDOR:
                yield self._faster(latency, AGAINST_VENDOR[latency])
        for label, who, aims in (("JSONL", PROVIDER, JSONL_AGAINST), ("CSV", PROVIDER_CSV, CSV_AGAINST)):
            for latency in self.latencies:
                if latency in aims:
                    yield self._at_most(label, who, latency, *aims[latency])
        yield self._memory_part()
        yield memory_verdict("JSONL", self._most_memory(PROVIDER))
        yield memory_verdict("CSV", self._most_memory(PROVIDER_CSV))
        yield self._requests()

    def _of(self, peer: Peer) -> list[Result]:
        """Return a competitor's results, one for each latency."""
        return [self.results[peer.name, ms] for ms in self.latencies if (peer.name, ms) in self.results]

    def _verdict(self, aim: str, measured: float | None, shown: str, met: bool) -> Verdict:
        if measured is None:
            return Verdict(aim, "-", None)
        return Verdict(aim, shown.format(measured), met if self.events >= JUDGED_EVENTS else None)

    def _seconds(self, peer: Peer, latency: int) -> float | None:
        """Return the seconds of a competitor's work: of a process without imports, all of it."""
        result = self.results.get((peer.name, latency))
        return None if result is None else result.wall if result.work is None else result.work

    def _faster(self, latency: int, least: float) -> Verdict:
        aim = f"JSONL, {latency} ms, execute(): {least:g} times as fast as the vendor's loop without its imports"
        ours, theirs = self._seconds(PROVIDER, latency), self._seconds(VENDOR, latency)
        ratio = theirs / ours if ours and theirs else None
        return self._verdict(aim, ratio, "{:.1f} times", (ratio or 0) >= least)

    def _at_most(self, label: str, who: Peer, latency: int, most: float, than: Peer) -> Verdict:
        aim = f"{label}, {latency} ms, execute(): at most {most:g} times the seconds of {than.name}"
        ours, theirs = self._seconds(who, latency), self._seconds(than, latency)
        part = ours / theirs if ours and theirs else None
        return self._verdict(aim, part, "{:.2f} times", (part or 0) <= most)

    def _most_memory(self, peer: Peer) -> float | None:
        """Return the largest median over the latencies, in MB."""
        known = [result.memory for result in self._of(peer) if result.memory is not None]
        return max(known) / 1e6 if known else None

    def _memory_part(self) -> Verdict:
        aim = f"JSONL: at most 1/{MEMORY_PART_OF_HTTP_OPERATOR} of HttpOperator's memory"
        ours, theirs = self._most_memory(PROVIDER), self._most_memory(HTTP_OPERATOR)
        ratio = theirs / ours if ours and theirs else None
        return self._verdict(aim, ratio, "1/{:.1f}", (ratio or 0) >= MEMORY_PART_OF_HTTP_OPERATOR)

    def _requests(self) -> Verdict:
        aim = f"JSONL: at most ⌈N/{NEW_ROWS_A_PAGE}⌉ + slices + 2 requests"
        runs = [run for result in self._of(PROVIDER) for run in result.runs]
        if not runs:
            return Verdict(aim, "-", None)
        worst = max(runs, key=lambda run: run.requests - allowed_requests(self.events, run.windows))
        allowed = allowed_requests(self.events, worst.windows)
        return Verdict(aim, f"{worst.requests} of {allowed} ({worst.windows} slices)", worst.requests <= allowed)
