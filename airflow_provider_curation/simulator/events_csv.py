"""Events as CSV records, in every dialect that a server might use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from airflow_provider_curation.simulator.settings import SimulatorSettings

#: The only header seen in public, and the JSON key of each column.
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
_SPECIAL: Final = re.compile('[,"\r\n]')


class CsvEvents:
    """Events as CSV records in the dialect of the settings."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.line_end = "\r\n" if settings.csv_line_end == "crlf" else "\n"
        self._quote_all = settings.csv_quoting == "all"
        self._mark = "\ufeff" if settings.csv_bom else ""
        self._columns = [column for column in (*COLUMNS, *POLICY_COLUMNS) if column != "id"]
        self._columns.insert(settings.csv_id_column, "id")
        if settings.csv_extra_column:
            self._columns.insert(_EXTRA_POSITION, _EXTRA_COLUMN)

    def header(self) -> str:
        """Return the byte order mark, if there is one, and the first record with its line break."""
        return self._mark + self._record(self._columns)

    def records(self, events: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
        """Yield the records of each event: one for each policy, each with its line break."""
        for event in events:
            cells = {column: event.get(key, "") for column, key in COLUMNS.items()}
            # JSON of the older shapes has no such key; the CSV of the samples has the column, with false.
            cells |= {"ondemand": event.get("ondemand", False), _EXTRA_COLUMN: "unrated"}
            rows = [{**cells, **policy} for policy in event["policies"] or [{}]]
            yield [self._record(row.get(column) for column in self._columns) for row in rows]

    def _record(self, values: Iterable[Any]) -> str:
        return ",".join(map(self._cell, values)) + self.line_end

    def _cell(self, value: Any) -> str:
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        # Not `csv.writer`: some versions of it leave a carriage return unquoted.
        if self._quote_all or _SPECIAL.search(text):
            return '"' + text.replace('"', '""') + '"'
        return text
