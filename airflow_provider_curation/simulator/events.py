"""Events as the plain objects that JSON describes; every form of an answer is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

from airflow_provider_curation.simulator.dataset import Dataset, Facts
from airflow_provider_curation.simulator.store import Inserted, Piece
from airflow_provider_curation.simulator.vocabulary import (
    DRY_RUN_POLICIES,
    EVENT_ORIGIN,
    ORIGIN_SERVER,
    Outcome,
    PackageKind,
)

_HOUR: Final = 3600
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CLOCK: Final = tuple(f"{minute:02}:{second:02}Z" for minute in range(60) for second in range(60))

_Policies = list[dict[str, Any]]


def stamp(second: int) -> str:
    """Return a time (seconds since the epoch) as the endpoint writes it: RFC 3339, UTC, whole seconds."""
    hour = second // _HOUR
    return _hour_prefix(hour) + _CLOCK[second - hour * _HOUR]


@lru_cache(maxsize=100_000)
def _hour_prefix(hour: int) -> str:
    return (_EPOCH + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:")


class Events:
    """The events of a dataset in one of the shapes that servers give them."""

    def __init__(self, dataset: Dataset, shape: str) -> None:
        self._dataset = dataset
        self._shape = shape
        self._policies = [self._shaped(outcome.policies) for outcome in dataset.vocabulary.outcomes]
        self._dry_run_policies = [self._shaped((policy,)) for policy in DRY_RUN_POLICIES]

    def rows(self, piece: Piece, dry_run: bool) -> list[dict[str, Any]]:
        """Return the rows of a piece, as new dicts."""
        if isinstance(piece, Inserted):
            return [self._inserted(piece)]
        if dry_run:
            return self._dry_run_rows(piece.first, piece.stop)
        facts = self._dataset.facts(piece.first, piece.stop)
        return [self._row(each, self._policies[each.outcome]) for each in facts]

    def _dry_run_rows(self, first: int, stop: int) -> list[dict[str, Any]]:
        dataset, policies = self._dataset, self._dry_run_policies
        low, high = dataset.event_of_dry_row(first), dataset.event_of_dry_row(stop - 1) + 1
        rows = [
            (facts, policies[(facts.dry_run_policy + number) % len(policies)])
            for facts in dataset.facts(low, high)
            for number in range(dataset.dry_rows_of(facts.place))
        ]
        skipped = first - dataset.dry_rows_before(low)
        return [self._row(*row) for row in rows[skipped : skipped + stop - first]]

    def _row(self, facts: Facts, policies: _Policies) -> dict[str, Any]:
        tables = self._dataset.vocabulary
        kind, outcome, user = tables.kinds[facts.kind], tables.outcomes[facts.outcome], tables.users[facts.user]
        return self._event(facts.id, facts.second, kind, tables.versions[facts.version], outcome, user, policies)

    def _inserted(self, event: Inserted) -> dict[str, Any]:
        """Return an inserted event: ordinary fields, overridden by its own."""
        user = ("late@acme.example", "late@acme.example")
        policies = self._dry_run_policies[0] if event.dry_run else []
        outcome = Outcome("approved", "No policy violations", ())
        kind = self._dataset.vocabulary.kinds[0]
        return self._event(event.id, event.second, kind, "1.0.0", outcome, user, policies) | dict(event.fields)

    def _event(
        self,
        id_: int,
        second: int,
        kind: PackageKind,
        version: str,
        outcome: Outcome,
        user: tuple[str, str],
        policies: _Policies,
    ) -> dict[str, Any]:
        event: dict[str, Any] = {
            "id": id_,
            "created_at": stamp(second),
            "action": outcome.action,
            "package_type": kind.package_type,
            "package_name": kind.package_name,
            "package_version": version,
            "package_url": kind.url.replace("{version}", version) if outcome.reason else "",
            "reason": outcome.reason,
            "event_origin": EVENT_ORIGIN,
            "curated_repository_server_name": "",
            "curated_repository_name": kind.repository,
            "curated_project": kind.project,
            "username": user[0],
            "user_mail": user[1],
            "origin_repository_server_name": ORIGIN_SERVER,
            "origin_repository_name": kind.repository,
            "origin_project": kind.project,
            "public_repo_url": kind.public_repo_url,
            "public_repo_name": kind.public_repo_name,
        }
        if self._shape == "2023":
            del event["event_origin"]
        if self._shape == "newer":
            event |= {"ecosystem": "", "ondemand": False}
        event["policies"] = [dict(policy) for policy in policies] or None
        return event

    def _shaped(self, policies: Iterable[dict[str, Any]]) -> _Policies:
        dropped = ("result", "policy_reason") if self._shape == "2023" else ()
        return [{key: value for key, value in policy.items() if key not in dropped} for policy in policies]
