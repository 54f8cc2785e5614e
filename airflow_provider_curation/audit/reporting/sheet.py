"""The evidence sheet: the values in the manifests of a period, and how many manifests have each value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.reporting.exports import Export
from airflow_provider_curation.audit.reporting.figures import Replacement, Sheet, Value
from airflow_provider_curation.audit.window import format_utc, to_utc

_MOST_VALUES: Final = 12
_MOST_REPLACEMENTS: Final = 100
_MOST_CHARACTERS: Final = 300


def evidence_sheet(exports: Sequence[Export], retention: timedelta) -> Sheet:
    """Return the sheet.

    :param retention: how long a server remembers events.
    """
    replaced = [each for each in exports if each.facts["replaces"]]
    made = [(each, moment) for each in exports if (moment := _moment(each.facts["exported_at"]))]
    delays = [int((moment - each.window.end).total_seconds()) for each, moment in made]
    moments = [moment for _, moment in made]
    return Sheet(
        requests=_values(map(_request, exports)),
        retention_seconds=int(min(retention, timedelta(days=365_000)).total_seconds()),
        settle=_values(f"{each.facts['settle_seconds']:,} s" for each in exports),
        filters=_values(_said(each.facts["filters"], "none: every event is kept") for each in exports),
        personal_data=_values(_said(_set(each.facts["personal_data"]), "as the server gave it") for each in exports),
        reconciled=_values(_reconciled(each.facts) for each in exports),
        encryption=_values(_said(each.facts["encryption"], "S3 named none") for each in exports),
        object_lock=_values(_lock(each.facts["object_lock"]) for each in exports),
        versions=_values(map(_versions, exports)),
        replaced=len(replaced),
        replacements=tuple(map(_replacement, sorted(replaced, key=lambda each: each.window)[:_MOST_REPLACEMENTS])),
        first_export=format_utc(min(moments)) if moments else None,
        last_export=format_utc(max(moments)) if moments else None,
        soonest_seconds=min(delays, default=None),
        latest_seconds=max(delays, default=None),
    )


def _request(export: Export) -> str:
    dry_run = str(export.series.stream == "dry_run").lower()
    bounds = "created_at_start=<start of the window>&created_at_end=<end of the window>"
    return f"GET {AUDIT_PATH}?{bounds}&dry_run={dry_run} ({export.series.instance})"


def _reconciled(facts: Mapping[str, Any]) -> str:
    before, after = facts["total_before"], facts["total_after"]
    if before is None or after is None:
        return "the server gave no count"
    if before == after == facts["events_read"]:
        return "counted before = counted after = read"
    return "the counts and what was read differ" if not facts["reconciled"] else "counted anew: after reading = read"


def _lock(lock: Mapping[str, Any]) -> str:
    parts = [str(lock[name]) for name in ("mode",) if lock.get(name)]
    return ", ".join([*parts, *(["legal hold"] if lock.get("legal_hold") else [])]) or "none"


def _versions(export: Export) -> str:
    facts = export.facts
    writer = f", {facts['writer']}" if facts["writer"] else ""
    return f"provider {facts['provider_version']}, Airflow {facts['airflow_version']}{writer}"


def _set(personal: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (personal or {}).items() if value}


def _said(value: Any, empty: str) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else empty


def _replacement(export: Export) -> Replacement:
    facts = export.facts
    return Replacement(export.manifest, facts["replaces"], facts["exported_at"], export.run, facts["events"])


def _values(found: Iterable[str]) -> tuple[Value, ...]:
    counts = Counter(value[:_MOST_CHARACTERS] for value in found).most_common()
    shown = [Value(value, exports) for value, exports in counts[:_MOST_VALUES]]
    rest = counts[_MOST_VALUES:]
    if rest:
        shown.append(Value(f"{len(rest):,} other values", sum(exports for _, exports in rest)))
    return tuple(shown)


def _moment(text: str | None) -> datetime | None:
    try:
        return to_utc(text) if text else None
    except ValueError:
        return None
