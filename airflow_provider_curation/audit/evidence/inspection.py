"""Looks at one manifest and its object: whether the manifest can be read, and the object is what it says."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from airflow_provider_curation.audit.evidence.archive import Archive, Entry, TooLargeError
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.content import READ_FORMATS, read_object
from airflow_provider_curation.audit.evidence.dsse import MOST_ENVELOPE_BYTES
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES, ManifestError, StoredManifest


@dataclass(frozen=True)
class Inspected:
    """What was seen of a manifest and its object.

    :param key: the manifest's.
    :param manifest: ``None`` if it cannot be read.
    :param fault: what is wrong with the object.
    :param unreadable: why the manifest cannot be read.
    :param bytes_read: of the object; ``None`` if it was not read.
    :param content_read: whether the content was compared with the manifest, too.
    :param signed: whether there is a signature of the manifest.
    :param signature: the signature's file, if there is one and it is to be checked.
    """

    key: str
    manifest: StoredManifest | None
    fault: tuple[FindingKind, str] | None = None
    unreadable: str | None = None
    bytes_read: int | None = None
    content_read: bool = False
    signed: bool = False
    signature: bytes | None = None


def inspect(
    archive: Archive, check: Check, listed: Entry, found: Entry | None, sealed_sha256: str | None, signed: bool
) -> Inspected:
    """Look at a manifest, its signature and its object.

    :param listed: the manifest.
    :param found: the object; ``None`` if there is none.
    :param sealed_sha256: of the manifest's file, as it was sealed; ``None`` if it was not.
    :param signed: whether a signature of the manifest was listed.
    """
    inspected = _inspect(archive, check, listed, found, sealed_sha256)
    signature = _read_signature(archive, listed.key) if signed and check.trust.ring else None
    return replace(inspected, signed=signed, signature=signature)


def _read_signature(archive: Archive, manifest_key: str) -> bytes | None:
    try:
        return archive.read(manifest_key + SIGNATURE_SUFFIX, MOST_ENVELOPE_BYTES)
    except TooLargeError:
        # What is not an envelope says so when it is checked.
        return b""


def _inspect(
    archive: Archive, check: Check, listed: Entry, found: Entry | None, sealed_sha256: str | None
) -> Inspected:
    key = listed.key
    stored = read_manifest(archive, listed)
    if isinstance(stored, str):
        return Inspected(key, None, unreadable=stored)
    if not check.concerns(stored.window):
        return Inspected(key, stored)
    size = stored.facts["size"]
    if found is None:
        return Inspected(key, stored, (FindingKind.OBJECT_MISSING, "the manifest's object is gone"))
    if found.size != size:
        fault = (FindingKind.SIZE_DIFFERS, f"{found.size} bytes instead of the manifest's {size}")
        return Inspected(key, stored, fault)
    if not _is_suspect(check, found, stored, sealed_sha256):
        return Inspected(key, stored)
    if check.reading != "all" and stored.facts.get("checksum"):
        checksum, fault_of_store = _compare_checksums(archive, found, stored)
        if checksum or fault_of_store:
            return Inspected(key, stored, fault_of_store)
    return _read(archive, key, found, stored)


def read_manifest(archive: Archive, listed: Entry) -> StoredManifest | str:
    """Return a stored manifest, or why it cannot be read. Whatever is in it, nothing is raised."""
    if listed.size > MOST_MANIFEST_BYTES:
        return f"it has {listed.size:,} bytes, and a manifest has at most {MOST_MANIFEST_BYTES:,}"
    try:
        body = archive.read(listed.key)
        return "it was listed, but is gone" if body is None else StoredManifest.parse(body)
    except (ManifestError, TooLargeError) as error:
        return str(error)


def _is_suspect(check: Check, found: Entry, stored: StoredManifest, sealed_sha256: str | None) -> bool:
    """Return whether only its bytes can show that an object is the manifest's."""
    # An ETag is worth no more than the manifest that names it, and only a seal keeps that from being edited.
    sealed = sealed_sha256 == stored.sha256
    if check.reading == "all" or not sealed or found.etag is None or found.etag != stored.facts.get("etag"):
        return True
    return not isinstance(check.reading, str) and random.random() < check.reading


def _compare_checksums(
    archive: Archive, found: Entry, stored: StoredManifest
) -> tuple[bool, tuple[FindingKind, str] | None]:
    """Return whether the store's checksums vouch for an object, and what is wrong if they show another one.

    A CRC shows damage, but vouches for nothing: other bytes with the same CRC are easily made.
    """
    kept = archive.checksums(found.key)
    sha256, expected = kept.get("SHA256"), stored.facts["sha256"]
    if sha256 is not None and sha256 != expected:
        detail = f"its SHA-256 is {sha256} by the store's own checksum, the manifest's {expected}"
        return False, (FindingKind.SHA256_DIFFERS, detail)
    claimed = stored.facts["checksum"]
    if isinstance(claimed, dict):
        for algorithm, value in kept.items():
            if claimed.get("algorithm") == algorithm and claimed.get("value") != value:
                detail = f"its {algorithm} is {value} by the store's own checksum, the manifest's {claimed['value']!r}"
                return False, (FindingKind.SHA256_DIFFERS, detail)
    return sha256 is not None, None


def _read(archive: Archive, key: str, found: Entry, stored: StoredManifest) -> Inspected:
    facts = stored.facts
    try:
        read = read_object(archive.chunks(found.key), facts, stored.window)
    except FileNotFoundError:
        return Inspected(key, stored, (FindingKind.OBJECT_MISSING, "the manifest's object was listed, but is gone"))
    fault = None
    if read.size != facts["size"]:
        fault = (FindingKind.SIZE_DIFFERS, f"{read.size} bytes instead of the manifest's {facts['size']}")
    elif read.sha256 != facts["sha256"]:
        fault = (FindingKind.SHA256_DIFFERS, f"its SHA-256 is {read.sha256}, the manifest's {facts['sha256']}")
    elif read.faults:
        fault = (FindingKind.CONTENT_DIFFERS, "; ".join(read.faults))
    return Inspected(key, stored, fault, bytes_read=read.size, content_read=facts["format"] in READ_FORMATS)
