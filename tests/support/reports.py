"""Archives to report on: made-up events in every format, and a verification of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import zstandard

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.reporting.building import Wanted, build_figures
from airflow_provider_curation.audit.reporting.figures import Figures
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.s3.location import DEFAULT_KEY
from tests.support.archives import MemoryArchive
from tests.support.manifests import manifest

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WEEK = Window(START, START + 7 * DAY)
SUFFIXES = {"gzip": ".jsonl.gz", "zstd": ".jsonl.zst", "zip": ".jsonl.zip", "none": ".jsonl"}


def event(number: int, moment: datetime, **changes: Any) -> dict[str, Any]:
    """An event that was approved without a policy."""
    facts = {
        "id": number,
        "created_at": format_utc(moment),
        "action": "approved",
        "package_type": "npm",
        "package_name": "left-pad",
        "package_version": "1.3.0",
        "curated_repository_name": "npm-remote",
        "username": "ada",
        "policies": None,
    }
    return {**facts, **changes}


def policy(name: str = "no-malware", condition: str = "Malicious package", **changes: Any) -> dict[str, Any]:
    facts = {"policy_id": 1, "policy_name": name, "condition_name": condition, "condition_category": "security"}
    return {**facts, "dry_run": False, "result": "Blocked", **changes}


def packed(lines: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(lines, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor().compress(lines)
    if compression == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("events.jsonl", lines)
        return file.getvalue()
    return lines


def put_export(
    archive: MemoryArchive,
    window: Window,
    events: Sequence[dict[str, Any]],
    *,
    form: str = "jsonl",
    compression: str = "gzip",
    stream: str = "events",
    instance: str = "acme.example",
    root: str = "curation",
    **facts: Any,
) -> str:
    """Put an export with a manifest that fits it into an archive, and return the object's key."""
    lines = b"".join(json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for each in events)
    if form == "parquet":
        body, compression, suffix = b"".join(parquet.encode([lines])), "zstd", ".parquet"
    else:
        body, suffix = packed(lines, compression), SUFFIXES[compression]
    relative = DEFAULT_KEY.format(
        instance=instance, stream=stream, file_format=form, start=window.start, end=window.end, suffix=suffix
    )
    layout = Layout(root)
    key = layout.object_key(relative)
    archive.objects[key] = body
    ids = [each["id"] for each in events]
    times = [each["created_at"] for each in events]
    made = {
        "start": format_utc(window.start),
        "end": format_utc(window.end),
        "stream": stream,
        "instance": instance,
        "key": key,
        "format": form,
        "compression": compression,
        "events_read": len(events),
        "events": len(events),
        "rows": len(events),
        "actions": dict(Counter(str(each["action"]) for each in events)),
        "first_id": ids[0] if ids else None,
        "first_created_at": times[0] if times else None,
        "last_id": ids[-1] if ids else None,
        "last_created_at": times[-1] if times else None,
        "ids_digest": str(IdsDigest.of(ids)),
        "total_before": len(events),
        "total_after": len(events),
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "etag": hashlib.md5(body).hexdigest(),
        "content_size": len(lines),
        "content_sha256": hashlib.sha256(lines).hexdigest(),
        "exported_at": format_utc(window.end + timedelta(minutes=6)),
        "dag_run": {"dag_id": "export", "run_id": f"scheduled__{window.start:%Y-%m-%d}", "task_id": "export"},
        "writer": parquet.writer_name() if form == "parquet" else None,
    }
    archive.objects[layout.manifest_key(relative)] = manifest(**{**made, **facts}).to_json()
    return key


def figures(
    archive: Any,
    period: Window = WEEK,
    *,
    now: datetime | None = None,
    root: str = "curation",
    check: dict[str, Any] | None = None,
    **wanted: Any,
) -> Figures:
    """Verify an archive and return the figures of a report, by a clock just after the period."""
    layout = Layout(root)
    now = now or period.end + timedelta(hours=1)
    made = Wanted(**wanted)
    report = verify(archive, Check(layout.prefix, period, remembered=now - made.retention, **(check or {})), now)
    return build_figures(archive, report, made)


def days(period: Window = WEEK) -> Iterable[Window]:
    return period.split(DAY)
