"""What an export holds, as data: written beside the object, read by auditors and by checks for gaps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MANIFEST_VERSION: Final = 1
MANIFEST_SUFFIX: Final = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """One export.

    :param start: the window's start, inclusive, in UTC.
    :param end: the window's end, exclusive.
    :param stream: ``events`` or ``dry_run``.
    :param instance: the server, as in the key.
    :param events_read: events that the server gave.
    :param events: events in the object; fewer than were read if ``filters`` is not empty.
    :param rows: lines (JSONL) or rows (CSV, header apart) in the object.
    :param actions: events in the object by action.
    :param first_id: id of the object's first event; ``None`` if it has none. Likewise its time, and the last event's.
    :param total_before: the server's count of the window before reading; ``None`` if it gave none.
    :param total_after: the same, after reading.
    :param reconciled: whether the events read are as many as both counts.
    :param filters: what was wanted, by list; empty for everything.
    :param size: bytes of the object.
    :param sha256: of the object.
    :param content_size: bytes of the uncompressed content.
    :param content_sha256: of the uncompressed content, the same whatever the compression.
    :param settle_seconds: how long after the window's end it was read at the earliest.
    :param dag_run: the DAG, run, task and try that made the export.
    """

    start: str
    end: str
    stream: str
    instance: str
    bucket: str
    key: str
    format: str
    compression: str
    events_read: int
    events: int
    rows: int
    actions: dict[str, int]
    first_id: int | None
    first_created_at: str | None
    last_id: int | None
    last_created_at: str | None
    total_before: int | None
    total_after: int | None
    reconciled: bool
    filters: dict[str, list[str]]
    size: int
    sha256: str
    content_size: int
    content_sha256: str
    settle_seconds: int
    provider_version: str
    airflow_version: str
    dag_run: dict[str, Any] = field(default_factory=dict)
    manifest_version: int = MANIFEST_VERSION

    def to_json(self) -> bytes:
        """Return the manifest as indented JSON with sorted keys."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode() + b"\n"
