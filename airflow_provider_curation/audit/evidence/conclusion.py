"""What came of mending: what was found, what was mended, what is lost, and whether it was an incident."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.findings import INCIDENTS, FindingKind
from airflow_provider_curation.audit.evidence.printable import printable

#: Findings that are named; the others are counted.
_MOST: int = 50


@dataclass(frozen=True)
class Conclusion:
    """The outcome of a verification, of mending, and of another verification of the same period.

    :param found: findings of the first verification, by kind.
    :param mended: findings that the second one no longer has, by kind.
    :param lost: findings that the second one has, by kind.
    :param incidents: kinds of altered or vanished evidence that were found, mended or not, and are not tolerated.
    :param lines: each finding in words, and what became of it.
    """

    found: Mapping[str, int]
    mended: Mapping[str, int]
    lost: Mapping[str, int]
    incidents: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether something is lost, or was altered or had vanished and is not tolerated."""
        return bool(self.lost or self.incidents)

    def __str__(self) -> str:
        """Return it for people, without control characters of what was stored."""
        if not self.found and not self.lost:
            return "Nothing was found, and nothing was mended."
        parts = [f"Found: {_listed(self.found)}. Mended: {_listed(self.mended)}. Lost: {_listed(self.lost)}."]
        if self.incidents:
            parts.append(
                f"Finished exports were altered or had vanished ({', '.join(self.incidents)}): find out who or what "
                "did that. What a mend replaced is kept in _quarantine/ below the archive's root, or as an older "
                "version."
            )
        return "\n".join([*parts, *self.lines])


def conclude(before: Mapping[str, Any], after: Mapping[str, Any], tolerate: Iterable[str] = ()) -> Conclusion:
    """Compare two verifications of the same period, one from before and one from after mending.

    :param before: a report, as :meth:`Report.as_dict` and the operator return it.
    :param after: likewise.
    :param tolerate: kinds of findings that are no incident once they are mended, such as ``["object_missing"]``.
    :raises InvalidArgumentError: for a kind that does not exist.
    """
    tolerated = set(tolerate)
    if unknown := tolerated - {kind.value for kind in FindingKind}:
        raise InvalidArgumentError(f"tolerate: {sorted(unknown)[0]!r} is not a kind of finding.")
    found, lost = Counter(before["counts"]), Counter(after["counts"])
    incidents = sorted((set(found) | set(lost)) & {kind.value for kind in INCIDENTS} - tolerated)
    left = {_identity(each) for each in after["findings"]}
    lines = [f"- lost: {_line(each)}" for each in after["findings"]]
    # Beyond the findings that a report names, it is not known what became of one.
    whole = sum(lost.values()) == len(after["findings"])
    lines += [f"- mended: {_line(each)}" for each in before["findings"] if whole and _identity(each) not in left]
    more = [f"- and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return Conclusion(found, found - lost, lost, tuple(incidents), (*lines[:_MOST], *more))


def _identity(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(finding.get(name) for name in ("kind", "key", "start", "end", "instance", "stream", "format"))


def _line(finding: Mapping[str, Any]) -> str:
    names = ("instance", "stream", "format", "key", "start", "end")
    where = " ".join(str(finding[name]) for name in names if finding.get(name))
    return f"{finding['kind']}: {printable(where)}: {printable(str(finding['detail']))}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
