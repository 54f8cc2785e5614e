"""Rows as CSV records: one template a package, filled by ``%``, in every dialect a server might speak."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from airflow_provider_curation.simulator.dataset import Dataset
from airflow_provider_curation.simulator.events_json import EventObjects, narrow, stamp
from airflow_provider_curation.simulator.settings import CsvQuoting, LineEnd, SimulatorSettings
from airflow_provider_curation.simulator.store import Inserted, Piece

#: The only header seen in public, and the JSON key that each column comes from.
COLUMNS: Final = {
    "id": "id",
    "created_at": "created_at",
    "action": "action",
    "reason": "reason",
    "package_type": "package_type",
    "package_name": "package_name",
    "package_version": "package_version",
    "package_url": "package_url",
    "curated_repo_server_name": "curated_repository_server_name",
    "curated_repo_name": "curated_repository_name",
    "curated_repo_project_key": "curated_project",
    "user_name": "username",
    "user_mail": "user_mail",
    "origin_repo_server_name": "origin_repository_server_name",
    "origin_repo_name": "origin_repository_name",
    "origin_repo_project_key": "origin_project",
    "public_repo_name": "public_repo_name",
    "public_repo_url": "public_repo_url",
    "ecosystem": "ecosystem",
    "ondemand": "ondemand",
}
POLICY_COLUMNS: Final = (
    "policy_id",
    "policy_name",
    "condition_name",
    "condition_category",
    "dry_run",
    "result",
    "policy_reason",
)
_EXTRA_COLUMN: Final = "severity"
_EXTRA_POSITION: Final = 5
#: Keys of the cells that differ between events of one kind: first those with nothing to quote, then ready cells.
_PLAIN_SLOTS: Final = ("id", "created_at", "package_version", "package_url")
_READY_SLOTS: Final = ("action", "reason", "username", "user_mail", *POLICY_COLUMNS)
_SLOTS: Final = (*_PLAIN_SLOTS, *_READY_SLOTS)
_SPECIAL: Final = frozenset(',"\r\n')


class CsvEvents:
    """Rows as CSV records in the dialect of the settings, in narrow text."""

    def __init__(self, dataset: Dataset, objects: EventObjects, settings: SimulatorSettings) -> None:
        self._dataset = dataset
        self._objects = objects
        self._quote_all = settings.csv_quoting is CsvQuoting.ALL
        self.line_end = "\r\n" if settings.csv_line_end is LineEnd.CRLF else "\n"
        self.columns = _columns(settings)
        self._mark = narrow("\ufeff") if settings.csv_bom else ""
        self._templates: list[str | None] = [None] * len(dataset.vocabulary.kinds)
        self._order = itemgetter(*(_SLOTS.index(key) for key in map(_key, self.columns) if key in _SLOTS))
        self._policies = [self._policy_cells(policies) for policies in objects.policies]
        self._dry_run_policies = [self._policy_cells(policies) for policies in objects.dry_run_policies]
        self._users = [(self._cell(name), self._cell(mail)) for name, mail in dataset.vocabulary.users]
        self._outcomes = [
            (self._cell(outcome.action), self._cell(outcome.reason)) for outcome in dataset.vocabulary.outcomes
        ]

    def header(self) -> str:
        """The byte order mark, if there is one, and the first record with its line break."""
        return self._mark + ",".join(self._cell(column) for column in self.columns) + self.line_end

    def records(self, piece: Piece, dry_run: bool) -> list[list[str]]:
        """The records of each row of a piece: one a policy, each with its line break."""
        if isinstance(piece, Inserted):
            return self._of_object(self._objects.inserted(piece))
        vocabulary = self._dataset.vocabulary
        kinds, versions, outcomes, order = vocabulary.kinds, vocabulary.versions, vocabulary.outcomes, self._order
        texts = []
        for facts, trial in self._objects.facts_of(piece.first, piece.stop, dry_run):
            _, id_, second, kind, outcome, user, number, _ = facts
            template = self._templates[kind] or self._template(kind)
            version = versions[number]
            url = kinds[kind].url.replace("{version}", version) if outcomes[outcome].reason else ""
            cells = (id_, stamp(second), version, url, *self._outcomes[outcome], *self._users[user])
            policies = self._policies[outcome] if trial is None else self._dry_run_policies[trial]
            texts.append([template % order(cells + policy) for policy in policies])
        return texts

    def _template(self, kind: int) -> str:
        event = self._objects.template(self._dataset.vocabulary.kinds[kind])
        cells = []
        for column in self.columns:
            if _key(column) in _PLAIN_SLOTS:
                cells.append('"%s"' if self._quote_all else "%s")
            elif _key(column) in _READY_SLOTS:
                cells.append("%s")
            else:
                cells.append(self._cell(_event_value(event, column)).replace("%", "%%"))
        template = self._templates[kind] = ",".join(cells) + self.line_end
        return template

    def _of_object(self, event: dict[str, Any]) -> list[list[str]]:
        records = []
        for policy in self._policy_cells(event.get("policies") or []):
            given = dict(zip(POLICY_COLUMNS, policy, strict=True))
            cells = [given[key] if key in given else self._cell(_event_value(event, key)) for key in self.columns]
            records.append(",".join(cells) + self.line_end)
        return [records]

    def _policy_cells(self, policies: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
        """The policy cells of each record; an event with no policy has one record with empty ones."""
        given: Sequence[dict[str, Any]] = policies or [{}]
        return [tuple(self._cell(policy.get(column, "")) for column in POLICY_COLUMNS) for policy in given]

    def _cell(self, value: Any) -> str:
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        if self._quote_all or not _SPECIAL.isdisjoint(text):
            text = '"' + text.replace('"', '""') + '"'
        return narrow(text)


def _columns(settings: SimulatorSettings) -> list[str]:
    columns = [column for column in (*COLUMNS, *POLICY_COLUMNS) if column != "id"]
    columns.insert(settings.csv_id_column, "id")
    if settings.csv_extra_column:
        columns.insert(_EXTRA_POSITION, _EXTRA_COLUMN)
    return columns


def _event_value(event: dict[str, Any], column: str) -> Any:
    if column == _EXTRA_COLUMN:
        return "unrated"
    if column == "ondemand":  # older JSON has no such key, the CSV of the samples says false
        return event.get("ondemand", False)
    return event.get(_key(column), "")


def _key(column: str) -> str:
    """The JSON key of a column; in a policy both have the same name."""
    return COLUMNS.get(column, column)
