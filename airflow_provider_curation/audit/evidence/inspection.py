"""Looks at one manifest and its object: whether the manifest can be read, and the object is what it says."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from airflow_provider_curation.audit.evidence.archive import Archive, Entry
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest


@dataclass(frozen=True)
class Inspected:
    """What was seen of a manifest and its object.

    :param key: the manifest's.
    :param manifest: ``None`` if it cannot be read, or does not concern the period.
    :param fault: what is wrong with the object.
    :param unreadable: why the manifest cannot be read.
    :param bytes_read: of the object; ``None`` if it was not read.
    """

    key: str
    manifest: StoredManifest | None
    fault: tuple[FindingKind, str] | None = None
    unreadable: str | None = None
    bytes_read: int | None = None


def inspect(archive: Archive, check: Check, key: str, found: Entry | None) -> Inspected:
    """Look at a manifest and its object.

    :param key: the manifest's.
    :param found: the object, as it was listed; ``None`` if there is none.
    """
    body = archive.read(key)
    if body is None:
        return Inspected(key, None, unreadable="it was listed, but is gone")
    try:
        stored = StoredManifest.parse(body)
    except ManifestError as error:
        return Inspected(key, None, unreadable=str(error))
    if not check.concerns(stored.window):
        return Inspected(key, None)
    size = stored.facts["size"]
    if found is None:
        return Inspected(key, stored, (FindingKind.OBJECT_MISSING, "the manifest's object is gone"))
    if found.size != size:
        fault = (FindingKind.SIZE_DIFFERS, f"{found.size} bytes instead of the manifest's {size}")
        return Inspected(key, stored, fault)
    if not _is_to_be_read(check, found, stored):
        return Inspected(key, stored)
    return _read_object(archive, key, found, stored)


def _is_to_be_read(check: Check, found: Entry, stored: StoredManifest) -> bool:
    # A different ETag proves nothing, since a copy has one too; neither does none. The bytes do.
    if check.reading == "all" or found.etag is None or found.etag != stored.facts.get("etag"):
        return True
    return not isinstance(check.reading, str) and random.random() < check.reading


def _read_object(archive: Archive, key: str, found: Entry, stored: StoredManifest) -> Inspected:
    digest, size = hashlib.sha256(), 0
    for chunk in archive.chunks(found.key):
        digest.update(chunk)
        size += len(chunk)
    expected = stored.facts["sha256"]
    if digest.hexdigest() == expected:
        return Inspected(key, stored, bytes_read=size)
    fault = (FindingKind.SHA256_DIFFERS, f"its SHA-256 is {digest.hexdigest()}, the manifest's {expected}")
    return Inspected(key, stored, fault, bytes_read=size)
