"""Inspects one manifest and its object: whether the manifest can be read, and the object matches it."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
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
    """What the inspection of a manifest and its object showed.

    :param key: the manifest's key.
    :param manifest: ``None`` if it cannot be read.
    :param fault: what is wrong with the object.
    :param unreadable: why the manifest cannot be read.
    :param bytes_read: of the object; ``None`` if it was not read.
    :param checksum_compared: whether the store's own SHA-256 of the object was compared instead of reading it.
    :param content_read: whether the content was also compared with the manifest.
    :param signed: whether the manifest has a signature.
    :param signature: the signature's file, if there is one to check.
    """

    key: str
    manifest: StoredManifest | None
    fault: tuple[FindingKind, str] | None = None
    unreadable: str | None = None
    bytes_read: int | None = None
    checksum_compared: bool = False
    content_read: bool = False
    signed: bool = False
    signature: bytes | None = None


def inspect(
    archive: Archive, check: Check, listed: Entry, found: Entry | None, sealed_sha256: str | None, signed: bool
) -> Inspected:
    """Inspect a manifest, its signature and its object.

    :param listed: the manifest.
    :param found: the object; ``None`` if there is none.
    :param sealed_sha256: of the manifest's file when it was sealed; ``None`` if it was not.
    :param signed: whether a signature of the manifest was listed.
    """
    inspected = _inspect(archive, check, listed, found, sealed_sha256)
    signature = _read_signature(archive, listed.key) if signed and check.trust.ring else None
    return replace(inspected, signed=signed, signature=signature)


def _read_signature(archive: Archive, manifest_key: str) -> bytes | None:
    try:
        return archive.read(manifest_key + SIGNATURE_SUFFIX, MOST_ENVELOPE_BYTES)
    except TooLargeError:
        # The check reports that this is not an envelope.
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
    if sealed_sha256 == stored.sha256 and not _is_to_be_read(check):
        etag_fits = found.etag is not None and found.etag == stored.facts.get("etag")
        if etag_fits and check.reading != "checksums":
            return Inspected(key, stored)
        if _is_vouched_for(archive.checksum(found.key), stored):
            return Inspected(key, stored, checksum_compared=True)
    return _read(archive, key, found, stored)


def read_manifest(archive: Archive, listed: Entry) -> StoredManifest | str:
    """Return a stored manifest, or why it cannot be read; it never raises because of the content."""
    if listed.size > MOST_MANIFEST_BYTES:
        return f"it has {listed.size:,} bytes, and a manifest has at most {MOST_MANIFEST_BYTES:,}"
    try:
        body = archive.read(listed.key)
        return "it was listed, but is gone" if body is None else StoredManifest.parse(body)
    except (ManifestError, TooLargeError) as error:
        return str(error)


def _is_to_be_read(check: Check) -> bool:
    """Return whether an object is read although its manifest is the sealed one."""
    return check.reading == "all" or (not isinstance(check.reading, str) and random.random() < check.reading)


def _is_vouched_for(kept: Mapping[str, str] | None, stored: StoredManifest) -> bool:
    """Return whether the checksum that the store keeps proves that an object has the bytes of its sealed manifest.

    Only SHA-256 does: other bytes with the same CRC are easily made. A copy has one of other parts, or of none. Where
    it proves nothing, the object is read.
    """
    if kept is None or kept["algorithm"] != "SHA256":
        return False
    sha256 = bytes.fromhex(stored.facts["sha256"])
    claimed = stored.facts.get("checksum") or {}
    # Of the whole object, of a single part, and of the parts in which it was uploaded.
    known = [_base64(sha256), _base64(hashlib.sha256(sha256).digest())]
    if claimed.get("algorithm") == "SHA256":
        known.append(_hash(claimed.get("value", "")))
    return _hash(kept["value"]) in known


def _hash(checksum: str) -> str:
    # The number of parts may follow.
    return checksum.partition("-")[0]


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


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
