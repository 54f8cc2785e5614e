"""What the demo's run left in S3: printed, and compared with the events of the simulated server."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.manifest import manifest_subjects
from airflow_provider_curation.audit.evidence.signature import check_signature
from airflow_provider_curation.audit.evidence.statement import Purpose

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.keys import PublicKey
    from airflow_provider_curation.simulator import Simulator

LAYOUT = Layout("curation")
_INDENT = " " * 6


@dataclass(frozen=True)
class Day:
    """A day of UTC."""

    start: datetime

    @classmethod
    def of(cls, start: datetime | None) -> Day:
        """Return the day of a midnight; by default the latest day whose events have all appeared by now."""
        if start is not None:
            return cls(start)
        settled = datetime.now(timezone.utc) - timedelta(minutes=10)
        return cls(settled.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1))

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.start:%A, %Y-%m-%d}"


class Archive:
    """The objects of a bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self.sizes: dict[str, int] = {
            entry["Key"]: entry["Size"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])
        }

    def read(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def open_uploads(self) -> int:
        """Return how many uploads were never completed: they cost money, and no list of objects shows them."""
        return len(self._client.list_multipart_uploads(Bucket=self._bucket).get("Uploads", []))


def manifest_key(key: str) -> str:
    return LAYOUT.manifest_key(key.removeprefix(LAYOUT.prefix))


@dataclass(frozen=True)
class Export:
    """An exported object, read back."""

    key: str
    raw: bytes
    stored: bytes
    signature: bytes | None

    @classmethod
    def read(cls, archive: Archive, key: str) -> Export:
        name = manifest_key(key)
        signed = name + SIGNATURE_SUFFIX
        return cls(
            key, archive.read(key), archive.read(name), archive.read(signed) if signed in archive.sizes else None
        )

    @property
    def manifest(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.stored)
        return facts

    def is_signed(self, public_key: PublicKey) -> bool:
        """Whether the key signed this very manifest and this very object."""
        ring = KeyRing((TrustedKey(public_key, "the made-up key"),))
        hashes = (hashlib.sha256(self.raw).hexdigest(), hashlib.sha256(self.stored).hexdigest())
        subjects = manifest_subjects(self.key.removeprefix(LAYOUT.prefix), *hashes)
        return check_signature(self.signature, ring, Purpose.MANIFEST, subjects).counts

    @property
    def name(self) -> str:
        what = "dry-run rows" if self.dry_run else "events"
        return f"{what} as {'CSV' if self.is_csv else 'JSONL'}"

    @property
    def is_csv(self) -> bool:
        return self.key.endswith(".csv.zip")

    @property
    def dry_run(self) -> bool:
        return "/stream=dry_run/" in self.key

    def content(self) -> bytes:
        """Return the content of the object, uncompressed."""
        if not self.is_csv:
            return gzip.decompress(self.raw)
        with zipfile.ZipFile(io.BytesIO(self.raw)) as archive:
            return archive.read("audit_packages.csv")

    def ids(self) -> list[str]:
        """Return the events' ids in the object's order; a CSV has a row for each policy of an event."""
        if self.is_csv:
            rows = csv.DictReader(io.StringIO(self.content().decode(), newline=""))
            return list(dict.fromkeys(row["id"] for row in rows))
        return [str(json.loads(line)["id"]) for line in self.content().splitlines()]

    def truth(self, tenant: Simulator, day: Day) -> bytes:
        """Return what the content must be, according to the simulated server."""
        if self.is_csv:
            return tenant.truth_csv(day.start, day.end, self.dry_run)
        return b"".join(line + b"\n" for line in tenant.truth_lines(day.start, day.end, self.dry_run))


def show(archive: Archive, tenant: Simulator, day: Day, public_key: PublicKey, title: Callable[[str], None]) -> bool:
    """Print what is in S3 and whether it is true, and return whether it is."""
    for key, size in archive.sizes.items():
        print(f"{size:>11,} bytes  {key}")
    exports = [Export.read(archive, key) for key in archive.sizes if manifest_key(key) in archive.sizes]
    exports.sort(key=lambda export: (export.dry_run, export.is_csv))
    for export in exports:
        manifest = export.manifest
        actions = ", ".join(f"{count:,} {action}" for action, count in manifest["actions"].items())
        print(f"\n{export.name}: {manifest['events']:,} ({actions}). The first lines:")
        for line in export.content().decode().split("\n")[: 3 if export.is_csv else 2]:
            print(_shortened(line))
    print("\nThe names and mail addresses are made up, like everything else here. Real events name real people.")

    title("4. The manifest of the first export: what an auditor reads")
    print(json.dumps(exports[0].manifest, indent=2) if exports else "There is none.")

    title("5. Is it true?")
    statements = list(_statements(archive, exports, tenant, day, public_key))
    for said, true in statements:
        print(f"{'true   ' if true else 'UNTRUE '} {said}")
    if not all(true for _, true in statements):
        return False
    events, rows = tenant.count(day.start, day.end), tenant.count(day.start, day.end, True)
    print(
        f"\nWhat this shows: for {day} the server counted {events:,} events before they were read and {events:,}\n"
        f"after, and the objects hold exactly these, each once. The same goes for {rows:,} dry-run rows. If a\n"
        "count had differed, there would be no object, and an error would say why."
    )
    return True


def _statements(
    archive: Archive, exports: list[Export], tenant: Simulator, day: Day, public_key: PublicKey
) -> Iterable[tuple[str, bool]]:
    """Yield each claim, and whether it is true."""
    names = sorted(export.name for export in exports)
    expected = ["dry-run rows as JSONL", "events as CSV", "events as JSONL"]
    yield f"There are three exports: {', '.join(expected)}.", names == expected
    for export in exports:
        manifest = export.manifest
        count = tenant.count(day.start, day.end, export.dry_run)
        counts = [manifest[name] for name in ("total_before", "events_read", "events", "total_after")]
        yield (
            f"{export.name}: counted before {counts[0]:,}, read {counts[1]:,}, written {counts[2]:,}, counted after "
            f"{counts[3]:,}; there are {count:,}.",
            counts == [count] * 4 and count > 0 and manifest["reconciled"] is True,
        )
        yield (
            f"{export.name}: the content is what the server holds, byte for byte.",
            export.content() == export.truth(tenant, day),
        )
        window = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (day.start, day.end)]
        yield (
            f"{export.name}: the manifest names that day as its window, and the object's SHA-256.",
            [manifest["start"], manifest["end"]] == window
            and manifest["sha256"] == hashlib.sha256(export.raw).hexdigest(),
        )
        yield f"{export.name}: manifest and object are signed with the made-up key.", export.is_signed(public_key)
    events = [export.ids() for export in exports if not export.dry_run]
    yield (
        "JSONL and CSV hold the same events in the same order, none twice.",
        len(events) == 2 and events[0] == events[1] and len(set(events[0])) == len(events[0]),
    )
    yield (
        "Nothing else is in the bucket, and no upload was left open.",
        len(archive.sizes) == 3 * len(exports) and archive.open_uploads() == 0,
    )


def _shortened(line: str) -> str:
    width = max(shutil.get_terminal_size((120, 40)).columns, 60) - len(_INDENT)
    return _INDENT + (line if len(line) <= width else line[: width - 1] + "…")
