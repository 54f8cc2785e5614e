"""The aims of the project, each compared with what was measured in this run: met, missed, or not judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from bench.harness import Result

#: The aims are about exports of at least so many events; Airflow's fixed start outweighs smaller ones.
JUDGED_EVENTS = 200_000

#: Latency: times faster than the vendor's loop, whole process: at least, and what is aimed for.
AGAINST_VENDOR = {0: (4.0, 6.0), 30: (5.5, 8.0), 100: (7.5, 10.0)}
AGAINST_HTTP_OPERATOR = 5.0
MEMORY_PART_OF_HTTP_OPERATOR = 14
#: Latency: `execute()` alone may take so many times `curl | gzip`.
PART_OF_LIMIT = {0: 1.25, 100: 0.4}
CSV_AGAINST_VENDOR = (10.0, 20.0)
MEMORY_MB = (64.0, 48.0)
#: A page of 2000 overlaps the one before by one row.
NEW_ROWS_A_PAGE = 1999

JSONL, CSV, VENDOR, HTTP_OPERATOR, LIMIT = (
    "provider_jsonl",
    "provider_csv",
    "vendor_loop",
    "http_operator",
    "curl_gzip1",
)


@dataclass(frozen=True)
class Verdict:
    """One aim: what was wanted, what was measured, and whether that is enough (None: not judged in this run)."""

    aim: str
    measured: str
    met: bool | None

    @property
    def word(self) -> str:
        return {None: "not judged", True: "met", False: "MISSED"}[self.met]


def allowed_requests(events: int, slices: int) -> int:
    """The most JSON requests that an export of so many events may take."""
    return ceil(events / NEW_ROWS_A_PAGE) + slices + 2


@dataclass(frozen=True)
class Judge:
    """Compares the results (by competitor and latency in ms) of runs over `events` events with the aims."""

    results: dict[tuple[str, int], Result]
    latencies: list[int]
    events: int

    def verdicts(self) -> Iterator[Verdict]:
        """Every aim that a comparison of speed can decide."""
        for latency in self.latencies:
            if latency in AGAINST_VENDOR:
                yield self._faster("JSONL", JSONL, "the vendor's loop", VENDOR, latency, *AGAINST_VENDOR[latency])
        for latency in self.latencies:
            yield self._faster("JSONL", JSONL, "HttpOperator", HTTP_OPERATOR, latency, AGAINST_HTTP_OPERATOR)
        yield self._memory_part()
        for latency in self.latencies:
            if latency in PART_OF_LIMIT:
                yield self._part_of_limit(latency)
        for latency in self.latencies:
            yield self._faster("CSV", CSV, "the vendor's loop", VENDOR, latency, *CSV_AGAINST_VENDOR)
        yield self._memory("JSONL", JSONL)
        yield self._memory("CSV", CSV)
        yield self._requests()

    def _judged(self, met: bool) -> bool | None:
        return met if self.events >= JUDGED_EVENTS else None

    def _faster(
        self, label: str, who: str, than_label: str, than: str, latency: int, least: float, aimed: float = 0.0
    ) -> Verdict:
        aim = f"{label}, {latency} ms, whole process: {least:g} times as fast as {than_label}"
        aim += f" (better {aimed:g})" if aimed else ""
        ours, theirs = self.results.get((who, latency)), self.results.get((than, latency))
        if ours is None or theirs is None:
            return Verdict(aim, "-", None)
        ratio = theirs.wall / ours.wall
        return Verdict(aim, f"{ratio:.1f} times", self._judged(ratio >= least))

    def _part_of_limit(self, latency: int) -> Verdict:
        most = PART_OF_LIMIT[latency]
        aim = f"JSONL, {latency} ms, execute() alone: at most {most:g} times the seconds of curl | gzip -1"
        ours, limit = self.results.get((JSONL, latency)), self.results.get((LIMIT, latency))
        if ours is None or ours.work is None or limit is None:
            return Verdict(aim, "-", None)
        part = ours.work / limit.wall
        return Verdict(aim, f"{part:.2f} times", self._judged(part <= most))

    def _most_memory(self, name: str) -> float | None:
        """The largest median over the latencies, in MB."""
        found = [self.results[name, latency].memory for latency in self.latencies if (name, latency) in self.results]
        known = [memory for memory in found if memory is not None]
        return max(known) / 1e6 if known else None

    def _memory_part(self) -> Verdict:
        aim = f"JSONL: at most 1/{MEMORY_PART_OF_HTTP_OPERATOR} of HttpOperator's memory"
        ours, theirs = self._most_memory(JSONL), self._most_memory(HTTP_OPERATOR)
        if ours is None or theirs is None:
            return Verdict(aim, "-", None)
        return Verdict(aim, f"1/{theirs / ours:.1f}", self._judged(theirs >= MEMORY_PART_OF_HTTP_OPERATOR * ours))

    def _memory(self, label: str, name: str) -> Verdict:
        ours = self._most_memory(name)
        return memory_verdict(label, ours)

    def _requests(self) -> Verdict:
        aim = f"JSONL: at most ⌈N/{NEW_ROWS_A_PAGE}⌉ + slices + 2 requests"
        found = [self.results[JSONL, latency] for latency in self.latencies if (JSONL, latency) in self.results]
        runs = [run for result in found for run in result.runs]
        if not runs:
            return Verdict(aim, "-", None)
        worst = max(runs, key=lambda run: run.requests - allowed_requests(self.events, run.windows))
        allowed = allowed_requests(self.events, worst.windows)
        return Verdict(aim, f"{worst.requests} of {allowed} ({worst.windows} slices)", worst.requests <= allowed)


def memory_verdict(label: str, megabytes: float | None) -> Verdict:
    """Peak memory over the imports against its bound, whatever the number of events."""
    most, better = MEMORY_MB
    aim = f"{label}: under {most:g} MB over the imports (better {better:g})"
    return Verdict(aim, "-", None) if megabytes is None else Verdict(aim, f"{megabytes:.0f} MB", megabytes < most)
