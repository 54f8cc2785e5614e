"""A digest of a set of event ids that does not depend on their order, and whether one set can hold all of another.

It is the number of ids and the sums of their first, second and third powers, as exact integers. Two sets of the same
size that differ in at most three ids each have different digests (Newton's identities); for more, a coincidence of all
three sums is needed. Unlike a sum of hashes it costs a quarter of a microsecond an event, and two digests can be
subtracted: the difference of two sets of which one holds the other is the digest of what was added.

It shows what a server forgot, not what a forger did: the SHA-256 of the object is for that.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul


@dataclass
class IdsDigest:
    """The digest of a set of ids; ``str`` gives it as a manifest states it.

    :param count: ids.
    :param sums: the sums of the ids' first, second and third powers.
    """

    count: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, ids: Sequence[int]) -> IdsDigest:
        """Make the digest of distinct ids."""
        squares = list(map(mul, ids, ids))
        return cls(len(ids), (sum(ids), sum(squares), sum(map(mul, squares, ids))))

    @classmethod
    def of_dry_run(cls, keys: Iterable[tuple[int, tuple[str, ...]]]) -> IdsDigest:
        """Make the digest of distinct dry-run events, of which several may share an id: by id and policy ids."""
        return cls.of([number << 64 | _number(policies) for number, policies in keys])

    @classmethod
    def parse(cls, text: str) -> IdsDigest:
        """Read a digest as a manifest states it.

        :raises ValueError: if it is not one.
        """
        count, *sums = text.split(":")
        first, second, third = (int(each, 16) for each in sums)
        return cls(int(count), (first, second, third))

    def add(self, other: IdsDigest) -> None:
        """Take in the ids of another set that has none of these."""
        self.count += other.count
        one, two = self.sums, other.sums
        self.sums = (one[0] + two[0], one[1] + two[1], one[2] + two[2])

    def __str__(self) -> str:
        return ":".join([str(self.count), *(f"{each:x}" for each in self.sums)])

    def may_hold_all_of(self, earlier: IdsDigest) -> bool:
        """Return whether this set can hold every id of an earlier one; ``False`` proves that ids are gone.

        With at most two ids more than before, only a coincidence of all three sums hides ids that are gone, and none
        can if at most three came late. With more, the answer rests on what the sums of any set of positive integers
        obey, which is often true of a set that has lost some too: compare the first and last id and the counts as well.
        """
        added = self.count - earlier.count
        first, second, third = (now - then for now, then in zip(self.sums, earlier.sums, strict=True))
        if added < 0:
            return False
        if added == 0:
            return (first, second, third) == (0, 0, 0)
        if first < 0 or second < 0 or third < 0:
            return False
        if added == 1:
            return second == first**2 and third == first**3
        if added == 2:
            return _are_two(first, second, third)
        # Cauchy-Schwarz, twice.
        return added * second >= first**2 and first * third >= second**2


def _are_two(first: int, second: int, third: int) -> bool:
    """Return whether these are the sums of the powers of two different non-negative integers."""
    twice = 2 * second - first**2  # (a - b)²
    if twice <= 0:
        return False
    apart = math.isqrt(twice)
    low = first - apart
    if apart**2 != twice or low % 2 or low < 0:
        return False
    one, other = low // 2, low // 2 + apart
    return one**3 + other**3 == third


@lru_cache(maxsize=4096)
def _number(policies: tuple[str, ...]) -> int:
    # NUL stands in no policy id, so that two ids are not taken for one.
    return int.from_bytes(hashlib.sha256("\0".join(policies).encode()).digest()[:8], "big")
