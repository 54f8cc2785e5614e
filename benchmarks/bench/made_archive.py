"""A made-up archive of hourly exports: objects of a few events, and manifests as the provider writes them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from hashlib import md5, sha256
from typing import Any

from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.manifest import Manifest
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.s3.location import DEFAULT_KEY

BUCKET = "audit-archive"
LAYOUT = Layout("curation")
#: The first hour; everything made here lies in the past.
FIRST = datetime(2016, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
HOURS_A_YEAR = 8760


def hour(number: int) -> Window:
    return Window(FIRST + number * HOUR, FIRST + (number + 1) * HOUR)


def relative_key(window: Window) -> str:
    fields = {"instance": "acme.jfrog.io", "stream": "events", "file_format": "jsonl", "suffix": ".jsonl.gz"}
    return DEFAULT_KEY.format(start=window.start, end=window.end, **fields)


def objects(hours: int) -> Iterator[tuple[str, bytes]]:
    """Yield each key with its bytes: of every hour the object and its manifest."""
    for number in range(hours):
        relative = relative_key(hour(number))
        body, made = export(number)
        yield LAYOUT.object_key(relative), body
        yield LAYOUT.manifest_key(relative), made


def export(number: int) -> tuple[bytes, bytes]:
    """Return an hour's object, of a few events, and its manifest."""
    window = hour(number)
    at = format_utc(window.start)
    line = '{"id":%d,"created_at":"' + at + '","action":"approved","package_type":"npm","reason":"' + "x" * 600 + '"}\n'
    ids = [number * 10 + place for place in range(number % 7)]
    lines = "".join(line % each for each in ids).encode()
    body = gzip.compress(lines, 1, mtime=0)
    actions = {"approved": len(ids)} if ids else {}
    return body, manifest(window, LAYOUT.object_key(relative_key(window)), body, lines, ids, [at] * len(ids), actions)


def manifest(
    window: Window, key: str, body: bytes, lines: bytes, ids: list[int], times: list[str], actions: dict[str, int]
) -> bytes:
    """Return the manifest of an object with these events, as the provider writes it."""
    events = len(ids)
    facts: dict[str, Any] = dict.fromkeys(("events_read", "events", "rows", "total_before", "total_after"), events)
    return Manifest(
        **facts,
        start=format_utc(window.start),
        end=format_utc(window.end),
        stream="events",
        instance="acme.jfrog.io",
        bucket=BUCKET,
        key=key,
        format="jsonl",
        compression="gzip",
        actions=actions,
        package_types={},
        policies={},
        first_id=ids[0] if ids else None,
        first_created_at=times[0] if ids else None,
        last_id=ids[-1] if ids else None,
        last_created_at=times[-1] if ids else None,
        ids_digest=str(IdsDigest.of(ids)),
        reconciled=True,
        reconciled_why=f"the server counted {events} events before and after reading, and as many were read",
        filters={},
        personal_data={"csv_safe": False, "pseudonym_key_id": None, "pseudonymized": []},
        size=len(body),
        sha256=sha256(body).hexdigest(),
        etag=md5(body).hexdigest(),
        content_size=len(lines),
        content_sha256=sha256(lines).hexdigest(),
        settle_seconds=300,
        provider_version="0.1.0",
        airflow_version="3.3.2",
        dag_run={"dag_id": "curation_audit", "run_id": "scheduled", "task_id": "export", "try_number": 1},
        exported_at=format_utc(window.end + timedelta(minutes=6)),
    ).to_json()
