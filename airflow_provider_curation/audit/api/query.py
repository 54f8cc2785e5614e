"""The parameters of one request to the audit-events endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.window import Window, format_utc

Direction = Literal["asc", "desc"]
AnswerFormat = Literal["json", "csv"]


@dataclass(frozen=True)
class Query:
    """One request: a window of one stream, and which of its rows.

    :param window: half-open; at most 168 hours wide, or the server refuses it.
    :param num_of_rows: events asked for.
    :param offset: events skipped, counted in events for CSV too.
    :param dry_run: the stream: ``False`` for real events, ``True`` for one event per dry-run policy.
    :param end_inclusive: the server is known to include events at ``created_at_end``, contrary to its reference.
    """

    window: Window
    num_of_rows: int
    offset: int = 0
    order_by: str = "id"
    direction: Direction = "asc"
    include_total: bool = False
    dry_run: bool = False
    format: AnswerFormat = "json"
    end_inclusive: bool = False

    def params(self) -> dict[str, str]:
        """Return the query string's parameters, which always include both bounds, in UTC with ``Z``."""
        end = self.window.end - timedelta(seconds=1) if self.end_inclusive else self.window.end
        params = {
            "created_at_start": format_utc(self.window.start),
            "created_at_end": format_utc(end),
            "order_by": self.order_by,
            "direction": self.direction,
            "num_of_rows": str(self.num_of_rows),
            "offset": str(self.offset),
            "dry_run": str(self.dry_run).lower(),
            "format": self.format,
        }
        # A server refuses include_total=true with CSV, and false is the default.
        if self.include_total:
            params["include_total"] = "true"
        return params

    @property
    def asked(self) -> Asked:
        stream = "dry-run events" if self.dry_run else "events"
        return Asked(AUDIT_PATH, self.window, f"{self.format}, {stream}, offset {self.offset}, {self.num_of_rows} rows")
