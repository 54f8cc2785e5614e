"""The aims of the project, each compared with what was measured in this run: met, missed, or not judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from bench.harness import Result
from bench.peers import HTTP_OPERATOR, LIMIT, PROVIDER, PROVIDER_CSV, VENDOR, Peer

#: The aims are for exports of at least so many events; Airflow's fixed start outweighs smaller ones.
JUDGED_EVENTS = 200_000

#: By latency: how many times as fast as the vendor's loop, whole process: at least, and what we aim for.
AGAINST_VENDOR = {0: (4.0, 6.0), 30: (5.5, 8.0), 100: (7.5, 10.0)}
AGAINST_HTTP_OPERATOR = 5.0
MEMORY_PART_OF_HTTP_OPERATOR = 14
#: By latency: `execute()` alone may take so many times as long as `curl | gzip`.
PART_OF_LIMIT = {0: 1.25, 100: 0.4}
CSV_AGAINST_VENDOR = (10.0, 20.0)
MEMORY_MB = (64.0, 48.0)
#: A Parquet file's row group is held until it is written.
MEMORY_PARQUET_MB = (120.0, 90.0)
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


def memory_verdict(label: str, megabytes: float | None, limits: tuple[float, float] = MEMORY_MB) -> Verdict:
    """Compare peak memory over the imports with its limit, whatever the number of events."""
    most, better = limits
    aim = f"{label}: under {most:g} MB over the imports (better {better:g})"
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
                yield self._faster("JSONL", PROVIDER, "the vendor's loop", VENDOR, latency, *AGAINST_VENDOR[latency])
        for latency in self.latencies:
            yield self._faster("JSONL", PROVIDER, "HttpOperator", HTTP_OPERATOR, latency, AGAINST_HTTP_OPERATOR)
        yield self._memory_part()
        for latency in self.latencies:
            if latency in PART_OF_LIMIT:
                yield self._part_of_limit(latency)
        for latency in self.latencies:
            yield self._faster("CSV", PROVIDER_CSV, "the vendor's loop", VENDOR, latency, *CSV_AGAINST_VENDOR)
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

    def _faster(
        self, label: str, who: Peer, than_label: str, than: Peer, latency: int, least: float, aimed: float = 0.0
    ) -> Verdict:
        aim = f"{label}, {latency} ms, whole process: {least:g} times as fast as {than_label}"
        aim += f" (better {aimed:g})" if aimed else ""
        ours, theirs = self.results.get((who.name, latency)), self.results.get((than.name, latency))
        ratio = theirs.wall / ours.wall if ours and theirs else None
        return self._verdict(aim, ratio, "{:.1f} times", (ratio or 0) >= least)

    def _part_of_limit(self, latency: int) -> Verdict:
        most = PART_OF_LIMIT[latency]
        aim = f"JSONL, {latency} ms, execute() alone: at most {most:g} times the seconds of curl | gzip -1"
        ours, limit = self.results.get((PROVIDER.name, latency)), self.results.get((LIMIT.name, latency))
        part = ours.work / limit.wall if ours and ours.work is not None and limit else None
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
