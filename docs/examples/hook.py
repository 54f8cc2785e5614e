"""What docs/reference/hook.md shows, as functions that the tests run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_curation.hooks.curation_audit import CurationAuditHook


def thirty_days(keep: Any) -> None:
    # [START thirty_days]
    now = datetime.now(timezone.utc)
    for event in CurationAuditHook("curation_default").iter_events(now - timedelta(days=30), now):
        keep(event)
    # [END thirty_days]


def count_and_page() -> tuple[int, dict[str, Any]]:
    # [START count_and_page]
    hook = CurationAuditHook()
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    blocked_or_not = hook.count_events(today - timedelta(days=1), today)
    newest = hook.get_page(today - timedelta(days=1), today, direction="desc", num_of_rows=1)["data"]
    # [END count_and_page]
    return blocked_or_not, newest[0] if newest else {}


def csv(path: str) -> dict[str, Any]:
    # [START csv]
    now = datetime.now(timezone.utc)
    held = CurationAuditHook().download_csv(now - timedelta(days=7), now, path)
    print(f"{held['events']} events in {held['rows']} rows, {held['bytes']} bytes, by action: {held['actions']}")
    # [END csv]
    return held
