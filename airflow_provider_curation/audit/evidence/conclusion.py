"""The outcome of a repair: what was found, repaired and lost, and whether it was an incident."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.findings import INCIDENTS, FindingKind
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.window import to_utc

#: How many findings are listed; the others are only counted.
_MOST: int = 50


@dataclass(frozen=True)
class Conclusion:
    """The outcome of a verification, a repair, and another verification of the same period.

    :param found: findings of the first verification, by kind.
    :param repaired: findings that the second one no longer has, by kind.
    :param lost: findings that the second one has, by kind; but for sealed exports that were replaced by one with no
        event less, which is an incident, and no loss.
    :param incidents: kinds of altered or vanished evidence that were found, repaired or not, and are not tolerated.
    :param lines: each finding in words, and what became of it.
    """

    found: Mapping[str, int]
    repaired: Mapping[str, int]
    lost: Mapping[str, int]
    incidents: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether something is lost, or was altered or had vanished without being tolerated."""
        return bool(self.lost or self.incidents)

    def __str__(self) -> str:
        """Return it for people, without control characters of what was stored."""
        if not self.found and not self.lost and not self.lines:
            return "Nothing was found, and nothing was repaired."
        parts = [f"Found: {_listed(self.found)}. Repaired: {_listed(self.repaired)}. Lost: {_listed(self.lost)}."]
        if self.incidents:
            parts.append(
                f"Finished exports were altered or had vanished ({', '.join(self.incidents)}): find out who or what "
                "did that. Replaced bytes are kept in _quarantine/ below the archive's root, or as an older version."
            )
        return "\n".join([*parts, *self.lines])


def conclude(before: Mapping[str, Any], after: Mapping[str, Any], tolerate: Iterable[str] = ()) -> Conclusion:
    """Compare two verifications of the same period, one from before a repair and one from after it.

    :param before: a report, as :meth:`Report.as_dict` and the operator return it.
    :param after: likewise.
    :param tolerate: kinds of findings that are not an incident once they are repaired, such as ``["object_missing"]``.
    :raises InvalidArgumentError: for a kind that does not exist.
    """
    tolerated = set(tolerate)
    if unknown := tolerated - {kind.value for kind in FindingKind}:
        raise InvalidArgumentError(f"tolerate: {sorted(unknown)[0]!r} is not a kind of finding.")
    found, left_over = Counter(before["counts"]), Counter(after["counts"])
    # What was repaired after it was sealed stays a finding, though nothing of it is lost.
    rewritten = [each for each in after["findings"] if _lost_nothing(each)]
    lost = left_over - Counter(each["kind"] for each in rewritten)
    incidents = sorted((set(found) | set(left_over)) & {kind.value for kind in INCIDENTS} - tolerated)
    left = {_identity(each) for each in after["findings"]}
    lines = [f"- {'rewritten' if _lost_nothing(each) else 'lost'}: {_line(each)}" for each in after["findings"]]
    # Beyond the findings that a report names, it is not known what became of one.
    whole = sum(left_over.values()) == len(after["findings"])
    lines += [f"- repaired: {_line(each)}" for each in before["findings"] if whole and _identity(each) not in left]
    more = [f"- and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return Conclusion(found, found - left_over, lost, tuple(incidents), (*lines[:_MOST], *more))


def unsealed(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the time of a verified period that no seal covers, as arguments of the verification that seals it.

    It begins where the last seal ends, so that seals chain without a gap, also if that was before the period.

    :param report: as :meth:`Report.as_dict` and the operator return it.
    :return: one ``start`` and ``end``, or nothing if the archive is sealed up to the period's end.
    """
    start, end = report["sealed_until"] or report["start"], report["end"]
    return [{"start": start, "end": end}] if to_utc(start, "start") < to_utc(end, "end") else []


def _lost_nothing(finding: Mapping[str, Any]) -> bool:
    """Return whether a finding is a sealed export that was replaced by one with no event less."""
    if finding["kind"] != FindingKind.REPLACED_AFTER_SEALING.value:
        return False
    return int(finding.get("events", -1)) >= int(finding.get("sealed_events", 0))


def _identity(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(finding.get(name) for name in ("kind", "key", "start", "end", "instance", "stream", "format"))


def _line(finding: Mapping[str, Any]) -> str:
    names = ("instance", "stream", "format", "key", "start", "end")
    where = " ".join(str(finding[name]) for name in names if finding.get(name))
    return f"{finding['kind']}: {printable(where)}: {printable(str(finding['detail']))}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
