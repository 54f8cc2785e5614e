"""A manifest that says little, for tests that are about something else."""

from __future__ import annotations

import hashlib
from typing import Any

from airflow_provider_curation.audit.evidence.manifest import Manifest


def manifest(**changes: Any) -> Manifest:
    """The manifest of an object with the one byte ``x``, and of one event."""
    sha256 = hashlib.sha256(b"x").hexdigest()
    facts: dict[str, Any] = {
        "start": "2025-01-01T00:00:00Z",
        "end": "2025-01-02T00:00:00Z",
        "stream": "events",
        "instance": "acme",
        "bucket": "audit-archive",
        "key": "day.jsonl",
        "format": "jsonl",
        "compression": "none",
        "events_read": 1,
        "events": 1,
        "rows": 1,
        "actions": {"blocked": 1},
        "first_id": 1,
        "first_created_at": "2025-01-01T12:00:00Z",
        "last_id": 1,
        "last_created_at": "2025-01-01T12:00:00Z",
        "ids_digest": sha256,
        "total_before": 1,
        "total_after": 1,
        "reconciled": True,
        "filters": {},
        "size": 1,
        "sha256": sha256,
        "content_size": 1,
        "content_sha256": sha256,
        "settle_seconds": 300,
        "provider_version": "0.1.0",
        "airflow_version": "3.3.2",
    }
    return Manifest(**{**facts, **changes})
