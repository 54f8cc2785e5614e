"""An archive of hourly exports that never were: objects of a few events, and manifests as the provider writes them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from hashlib import md5, sha256

from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.manifest import Manifest
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.s3.location import DEFAULT_KEY

BUCKET = "audit-archive"
LAYOUT = Layout("curation")
#: The first hour; all that is made lies in the past.
FIRST = datetime(2016, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
HOURS_A_YEAR = 8760


def hour(number: int) -> Window:
    return Window(FIRST + number * HOUR, FIRST + (number + 1) * HOUR)


def relative_key(number: int) -> str:
    window = hour(number)
    fields = {"instance": "acme.jfrog.io", "stream": "events", "file_format": "jsonl", "suffix": ".jsonl.gz"}
    return DEFAULT_KEY.format(start=window.start, end=window.end, **fields)


def manifest_keys(hours: int) -> Iterator[str]:
    return (LAYOUT.manifest_key(relative_key(number)) for number in range(hours))


def object_keys(hours: int) -> Iterator[str]:
    return (LAYOUT.object_key(relative_key(number)) for number in range(hours))


def content(number: int) -> bytes:
    """The lines of an hour with a few events."""
    at = format_utc(hour(number).start)
    line = '{"id":%d,"created_at":"' + at + '","action":"approved","package_type":"npm","reason":"' + "x" * 600 + '"}\n'
    return "".join(line % (number * 10 + place) for place in range(number % 7)).encode()


def body(number: int) -> bytes:
    """The object of an hour."""
    return gzip.compress(content(number), 1, mtime=0)


def etag(made: bytes) -> str:
    return md5(made).hexdigest()


def manifest(number: int) -> bytes:
    """The manifest of an hour."""
    window, made, lines = hour(number), body(number), content(number)
    events = number % 7
    return Manifest(
        start=format_utc(window.start),
        end=format_utc(window.end),
        stream="events",
        instance="acme.jfrog.io",
        bucket=BUCKET,
        key=LAYOUT.object_key(relative_key(number)),
        format="jsonl",
        compression="gzip",
        events_read=events,
        events=events,
        rows=events,
        actions={"approved": events} if events else {},
        package_types={"npm": events} if events else {},
        policies={},
        first_id=number * 10 if events else None,
        first_created_at=format_utc(window.start) if events else None,
        last_id=number * 10 + events - 1 if events else None,
        last_created_at=format_utc(window.start) if events else None,
        ids_digest=str(IdsDigest.of([number * 10 + place for place in range(events)])),
        total_before=events,
        total_after=events,
        reconciled=True,
        reconciled_why=f"the server counted {events} events before and after reading, and as many were read",
        filters={},
        personal_data={"csv_safe": False, "pseudonym_key_id": None, "pseudonymized": []},
        size=len(made),
        sha256=sha256(made).hexdigest(),
        etag=etag(made),
        content_size=len(lines),
        content_sha256=sha256(lines).hexdigest(),
        settle_seconds=300,
        provider_version="0.1.0",
        airflow_version="3.3.2",
        dag_run={"dag_id": "curation_audit", "run_id": "scheduled", "task_id": "export", "try_number": 1},
        exported_at=format_utc(window.end + timedelta(minutes=6)),
    ).to_json()
