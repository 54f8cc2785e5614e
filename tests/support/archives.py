"""A small tenant exported by the real code into an archive in memory, which can be copied and wounded."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.evidence.archive import Entry, TooLargeError
from airflow_provider_curation.audit.evidence.chain import Trust
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES, StoredManifest, manifest_subjects
from airflow_provider_curation.audit.evidence.replacement import Plan, Present
from airflow_provider_curation.audit.evidence.signature import sign as signature_of
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.exporting.window_export import WindowExport
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from airflow_provider_curation.simulator.adapter import SimulatorAdapter
from airflow_provider_curation.transfers.export_job import new_manifest
from tests.support.keys import ED25519

KEY = ED25519
RING = KeyRing((TrustedKey(KEY.public_key, "audit.pub"),))
TRUST = Trust(RING)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2025, 1, 1, tzinfo=timezone.utc)
#: The date of signatures.
SIGNED_AT = datetime(2025, 2, 1, tzinfo=timezone.utc)


def manifest_key(key: str) -> str:
    """The key of an object's manifest; the archive's root is what comes before the default key, else the folder."""
    before, default, _ = key.partition("instance=")
    root = before.rstrip("/") if default else key.rpartition("/")[0]
    return Layout(root).manifest_key(key.removeprefix(Layout(root).prefix))


def pair(key: str) -> tuple[str, str]:
    """The keys of an object and of its manifest."""
    return key, manifest_key(key)


def removed(archive: MemoryArchive, key: str) -> dict[str, bytes]:
    """Remove an export with its manifest and signature, and return what was removed, by key."""
    names = [*pair(key), manifest_key(key) + SIGNATURE_SUFFIX]
    return {name: archive.objects.pop(name) for name in names if name in archive.objects}


#: What a manifest says of the run that made it.
MAKER = {"settle_seconds": 300, "airflow_version": "3.3.0", "dag_run": {}}


class MemoryArchive:
    """Objects in a dict; an ETag is the MD5 of the bytes, as in S3, unless one is kept."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.etags: dict[str, str] = {}
        self.checksums: dict[str, dict[str, str]] = {}
        self.reads: list[str] = []
        self._lock = threading.Lock()

    def copy(self) -> MemoryArchive:
        return MemoryArchive(self.objects)

    def uri(self, key: str) -> str:
        return f"memory://{key}"

    def etag(self, key: str) -> str:
        return self.etags.get(key) or hashlib.md5(self.objects[key]).hexdigest()

    def entries(self, prefix: str) -> Iterator[Entry]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield Entry(key, len(self.objects[key]), self.etag(key))

    def read(self, key: str, most: int = MOST_MANIFEST_BYTES) -> bytes | None:
        body = self.objects.get(key)
        if body is not None and len(body) > most:
            raise TooLargeError(f"it has more than {most:,} bytes")
        return body

    def checksum(self, key: str) -> Mapping[str, str] | None:
        return self.checksums.get(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._lock:
            self.reads.append(key)
        if key not in self.objects:
            raise FileNotFoundError(key)
        body = self.objects[key]
        for place in range(0, len(body), 100):
            yield body[place : place + 100]

    def put_new(self, key: str, body: bytes) -> bool:
        if key in self.objects:
            return False
        self.objects[key] = body
        return True

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body


class TruthClient(AuditClient):
    """The client of a simulated tenant, without sockets."""

    def __init__(self, events: int, period: Window) -> None:
        self._tenant = Simulator(SimulatorSettings(events=events, start=period.start, end=period.end))
        session = PlatformSession(trust_env=False)
        session.mount("http://", SimulatorAdapter(self._tenant.app))
        super().__init__(session, "http://curation.example", concurrency=1)

    def count(self, window: Window, dry_run: bool) -> int:
        return self._tenant.count(window.start, window.end, dry_run)


class Exporter:
    """Exports windows as the operator does, into an archive in memory."""

    def __init__(
        self, client: TruthClient, root: str = "curation", key: Signer | None = KEY, instance: str = "acme"
    ) -> None:
        self.client = client
        self.root = root
        self._key = key
        self._instance = instance

    def key(self, window: Window, dry_run: bool = False) -> str:
        stream = "dry_run" if dry_run else "events"
        fields = {"instance": self._instance, "stream": stream, "file_format": "jsonl", "suffix": ".jsonl.gz"}
        return Layout(self.root).object_key(DEFAULT_KEY.format(start=window.start, end=window.end, **fields))

    def export(self, archive: MemoryArchive, window: Window, *, dry_run: bool = False, key: str | None = None) -> str:
        key = key or self.key(window, dry_run)
        export = WindowExport(self.client, window, FileFormat("jsonl", "gzip"), dry_run=dry_run)
        archive.objects[key] = export.open().read()
        stored = {"etag": archive.etag(key), "version_id": None, "encryption": {}}
        target = SimpleNamespace(bucket="audit-archive", key=key, stored=lambda: stored)
        personal = export.treatment.as_dict()
        series = (self._instance, "dry_run" if dry_run else "events", "jsonl")
        plan = Plan(window, series, "gzip", export.wanted.as_dict(), personal, {})
        before = archive.objects.get(manifest_key(key))
        replaced = None if before is None else hashlib.sha256(before).hexdigest()
        manifest = new_manifest(export, plan, target, Present("", manifest_sha256=replaced), MAKER)  # type: ignore[arg-type]
        archive.objects[manifest_key(key)] = manifest.to_json()
        if self._key:
            sign(archive, key, self._key)
        return key


def sign(archive: MemoryArchive, key: str, signer: Signer) -> None:
    """Write the signature of a manifest."""
    name = manifest_key(key)
    body = archive.objects[name]
    root = name.partition("_manifests/")[0]
    sha256 = json.loads(body)["sha256"]
    subjects = manifest_subjects(key.removeprefix(root), sha256, hashlib.sha256(body).hexdigest())
    archive.objects[name + SIGNATURE_SUFFIX] = signature_of(Purpose.MANIFEST, subjects, signer, SIGNED_AT)


def rewrite(archive: MemoryArchive, key: str, signer: Signer | None = KEY, **facts: Any) -> None:
    """Change what a manifest says, with a signature that fits."""
    name = manifest_key(key)
    changed = {**json.loads(archive.objects[name]), **facts}
    archive.objects[name] = json.dumps(changed, indent=2, sort_keys=True).encode() + b"\n"
    if signer is not None:
        sign(archive, key, signer)


def stored(archive: MemoryArchive, key: str) -> StoredManifest:
    return StoredManifest.parse(archive.objects[manifest_key(key)])


def replace_events(archive: MemoryArchive, key: str, keep: int, signer: Signer | None = KEY, **facts: Any) -> None:
    """Replace an object by one with its first events only, and its manifest by one that claims nothing else."""
    lines = gzip.decompress(archive.objects[key]).splitlines(keepends=True)[:keep]
    events = [json.loads(line) for line in lines]
    content = b"".join(lines)
    archive.objects[key] = gzip.compress(content, mtime=0)
    claimed: dict[str, Any] = {
        "events": len(events),
        "events_read": len(events),
        "rows": len(events),
        "actions": dict(Counter(event["action"] for event in events)),
        "ids_digest": str(IdsDigest.of([event["id"] for event in events])),
        "first_id": events[0]["id"] if events else None,
        "last_id": events[-1]["id"] if events else None,
        "size": len(archive.objects[key]),
        "sha256": hashlib.sha256(archive.objects[key]).hexdigest(),
        "content_size": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "etag": archive.etag(key),
    }
    rewrite(archive, key, signer, **claimed, **facts)
