"""The tenant's events as a pure function of a seed and an index: nothing is stored, and any part can be made directly.

Times inside this module are whole seconds since the epoch (UTC).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Final, NamedTuple

from airflow_provider_curation.simulator.vocabulary import DRY_RUN_POLICIES, vocabulary

_HOUR: Final = 3600
_MASK: Final = 2**64 - 1

#: In every block of 400 events, 21 to 60 in a row share one second, as those of a build do.
_BURST_BLOCK: Final = 400

#: Eight of every ten ids are used; which two are free differs from block to block.
_ID_BLOCK: Final = 8
_ID_STEP: Final = 10

#: Sixteen events have four dry-run rows in total, so that rows and events can be counted without a scan.
_DRY_BLOCK: Final = 16
_DRY_ROWS: Final = 4


class Facts(NamedTuple):
    """What makes an event: its index, id and time, indexes into the vocabulary, and the index of a dry-run policy."""

    place: int
    id: int
    second: int
    kind: int
    outcome: int
    user: int
    version: int
    dry_run_policy: int


def _hour_weight(hour: int) -> int:
    """Return how busy an hour since the epoch is: office hours on weekdays, builds at night, little at weekends."""
    day, of_day = divmod(hour, 24)
    if (day + 3) % 7 >= 5:  # the epoch was a Thursday
        return 2
    if 8 <= of_day < 18:
        return 12 if of_day in (10, 11, 14, 15) else 9
    return 3 if 6 <= of_day < 21 else 1


class Dataset:
    """``count`` events between ``start`` and ``end`` (seconds since the epoch, the end excluded)."""

    def __init__(self, seed: int, start: int, end: int, count: int) -> None:
        self.start, self.end, self.count = start, end, count
        self.vocabulary = vocabulary(seed)
        self._edges, self._cumulated = _plan(start, end, count)
        random = Random(f"dataset {seed}")
        self._salt = random.getrandbits(64)
        self.first_id = random.randrange(1_000, 90_000)
        free = [sorted(random.sample(range(_ID_STEP), _ID_BLOCK)) for _ in range(64)]
        self._id_offsets = [offset for offsets in free for offset in offsets]
        patterns = (
            (3, 1), (2, 1, 1), (1, 1, 1, 1), (2, 2), (1, 1, 2), (4,),
        )  # fmt: skip
        self._dry_counts = []
        for number in range(64):
            counts = list(patterns[number % len(patterns)])
            counts += [0] * (_DRY_BLOCK - len(counts))
            random.shuffle(counts)
            self._dry_counts.append(tuple(counts))
        self._dry_before = [[sum(counts[:n]) for n in range(_DRY_BLOCK + 1)] for counts in self._dry_counts]

    # From an index to an event

    def id(self, index: int) -> int:
        """Return the id of an event; ids ascend with gaps."""
        block, rest = divmod(index, _ID_BLOCK)
        return self.first_id + block * _ID_STEP + self._id_offsets[(block * 37 & 63) * _ID_BLOCK + rest]

    def second(self, index: int) -> int:
        """Return when an event was created."""
        burst = self._burst(index // _BURST_BLOCK)
        return self._spread(burst.start if index in burst else index)

    def facts(self, first: int, stop: int) -> Iterator[Facts]:
        """Yield the events ``first <= index < stop``."""
        salt, offsets, first_id = self._salt, self._id_offsets, self.first_id
        picks, policies = self.vocabulary.outcome_picks, len(DRY_RUN_POLICIES)
        for index, second in zip(range(first, stop), self._seconds(first, stop), strict=True):
            bits = (index * 0x9E3779B97F4A7C15 ^ salt) & _MASK
            bits = (bits ^ bits >> 29) * 0xBF58476D1CE4E5B9 & _MASK
            bits ^= bits >> 32
            block = index >> 3
            yield Facts(
                index,
                first_id + block * _ID_STEP + offsets[(block * 37 & 63) << 3 | index & 7],
                second,
                bits & 2047,
                picks[bits >> 11 & 1023],
                bits >> 21 & 255,
                bits >> 29 & 1023,
                (bits >> 39) % policies,
            )

    def chance(self, index: int) -> float:
        """Return a number in [0, 1) that depends on this event alone."""
        bits = (index * 0xD1342543DE82EF95 ^ self._salt) & _MASK
        bits = (bits ^ bits >> 31) * 0x94D049BB133111EB & _MASK
        return (bits ^ bits >> 33) / 2**64

    # From a time or an id to an index

    def index_at(self, second: int) -> int:
        """Return how many events were created before that time: the index of the first at or after it."""
        if second <= self.start:
            return 0
        if second >= self.end:
            return self.count
        return bisect_left(range(self.count), second, key=self.second)

    def index_of_id(self, id_: int) -> int | None:
        """Return the index of the event with that id, if there is one."""
        index = self.index_from_id(id_)
        return index if index < self.count and self.id(index) == id_ else None

    def index_from_id(self, id_: int) -> int:
        """Return how many events have a smaller id."""
        return bisect_left(range(self.count), id_, key=self.id)

    # The dry-run stream

    def rows(self, dry_run: bool) -> int:
        """Return how many rows a stream has."""
        return self.dry_rows_before(self.count) if dry_run else self.count

    def dry_rows_before(self, index: int) -> int:
        """Return how many dry-run rows the events before an index have."""
        block, rest = divmod(index, _DRY_BLOCK)
        return block * _DRY_ROWS + self._dry_before[block * 29 & 63][rest]

    def dry_rows_of(self, index: int) -> int:
        """Return how many dry-run rows an event has."""
        block, rest = divmod(index, _DRY_BLOCK)
        return self._dry_counts[block * 29 & 63][rest]

    def event_of_dry_row(self, row: int) -> int:
        """Return the index of the event that a dry-run row belongs to."""
        block, rest = divmod(row, _DRY_ROWS)
        return block * _DRY_BLOCK + bisect_right(self._dry_before[block * 29 & 63], rest) - 1

    # Parts

    def _burst(self, block: int) -> range:
        mixed = (block + 1) * 0x2545F4914F6CDD1D + self._salt & _MASK
        first = block * _BURST_BLOCK + 40 + (mixed >> 40) % 280
        return range(first, first + 21 + (mixed >> 20) % 40)

    def _spread(self, index: int) -> int:
        bucket = bisect_right(self._cumulated, index) - 1
        return self._in_bucket(bucket, index, index + 1)[0]

    def _in_bucket(self, bucket: int, first: int, stop: int) -> list[int]:
        """Return the times of events of one bucket, evenly spread with a jitter that keeps their order."""
        begin, edge = self._cumulated[bucket], self._edges[bucket]
        width, parts = self._edges[bucket + 1] - edge, (self._cumulated[bucket + 1] - begin) << 8
        shift = self._salt & 0xFFFF
        return [
            edge + (((index - begin) << 8) + ((index * 40503 + shift) >> 7 & 255)) * width // parts
            for index in range(first, stop)
        ]

    def _seconds(self, first: int, stop: int) -> list[int]:
        seconds: list[int] = []
        at, bucket = first, bisect_right(self._cumulated, first) - 1
        while at < stop:
            upto = min(stop, self._cumulated[bucket + 1])
            seconds += self._in_bucket(bucket, at, upto)
            at, bucket = upto, bucket + 1
        for block in range(first // _BURST_BLOCK, (stop + _BURST_BLOCK - 1) // _BURST_BLOCK):
            burst = self._burst(block)
            low, high = max(burst.start, first), min(burst.stop, stop)
            if low < high:
                seconds[low - first : high - first] = [self._spread(burst.start)] * (high - low)
        return seconds


def _plan(start: int, end: int, count: int) -> tuple[list[int], list[int]]:
    """Return the edges of hours, and how many events lie before each edge, by how busy the hours are."""
    edges = [start, *range((start // _HOUR + 1) * _HOUR, end, _HOUR), end]
    weights = [0]
    for low, high in pairwise(edges):
        weights.append(weights[-1] + _hour_weight(low // _HOUR) * (high - low))
    return edges, [count * weight // weights[-1] for weight in weights]
