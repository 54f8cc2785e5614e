"""Decides whether an archive is complete: one word and one sentence, from the findings and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.reporting.calendar import NOT_KEPT
from airflow_provider_curation.audit.reporting.figures import DayState, SeriesFigures, Verdict
from airflow_provider_curation.audit.reporting.words import ADVICE

#: Findings after which nothing proves that the archive is complete: whoever did this could also have removed events.
_UNPROVEN: Final = NOT_KEPT | {
    FindingKind.NO_EXPORTS,
    FindingKind.GAP,
    FindingKind.BAD_SIGNATURE,
    FindingKind.SEAL_BROKEN,
}
_MOST_REASONS: Final = 3


def judge(findings: Sequence[Finding], pending: Sequence[Finding], series: Sequence[SeriesFigures]) -> Verdict:
    """Return the verdict.

    :param findings: including ignored ones: an archive is not complete because a finding is tolerated.
    """
    if not any(each.exports for each in series):
        return Verdict("incomplete", "No: there is no export of this period that can be read.")
    states = Counter(day.state for each in series for day in each.days)
    broken = [each for each in findings if each.kind in _UNPROVEN or each.lost_events]
    broken = [each for each in broken if each.kind is not FindingKind.GAP or _lacks_events(states)]
    if broken or _lacks_events(states):
        # Gaps already count as lost or missing days.
        others = [each for each in broken if each.kind is not FindingKind.GAP]
        return Verdict("incomplete", f"No: {'; '.join(filter(None, [*_lacking(states), _reasons(others)]))}.")
    reasons = _reasons(findings)
    if pending:
        waiting = f"{len(pending):,} {'window is' if len(pending) == 1 else 'windows are'} still being exported"
        reasons = f"{reasons}; {waiting}" if reasons else waiting
    if reasons:
        return Verdict("complete but", f"Every expected window is kept, but: {reasons}.")
    return Verdict("complete", "Yes: every expected window is kept, with as many events as the source counted.")


def _lacks_events(states: Counter[DayState]) -> bool:
    return bool(states[DayState.MISSING] or states[DayState.LOST])


def _lacking(states: Counter[DayState]) -> Iterator[str]:
    for state, words in ((DayState.LOST, "are lost"), (DayState.MISSING, "are missing and can still be recovered")):
        if number := states[state]:
            yield f"{number:,} {'day' if number == 1 else 'days'} {words if number > 1 else words.replace('are', 'is')}"


def _reasons(findings: Iterable[Finding]) -> str:
    counts = Counter(each.kind for each in findings)
    named = [f"{_lowered(ADVICE[kind].title)} ({count:,})" for kind, count in counts.most_common(_MOST_REASONS)]
    more = len(counts) - len(named)
    return "; ".join([*named, *([f"{more} more kinds of findings"] if more > 0 else [])])


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]
