"""What S3's answers say about an export: the one that is there before, and the object that was just written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest
from airflow_provider_curation.audit.evidence.replacement import Present
from airflow_provider_curation.s3.checksum import ALGORITHM, checksum_of
from airflow_provider_curation.s3.conditions import NEXT_TRY, etag_of
from airflow_provider_curation.s3.keys import Seen

log = logging.getLogger(__name__)


def present_of(uri: str, manifest_uri: str, seen: Seen) -> Present:
    """Return what is at a key before an export; a manifest that cannot be read is logged, and does not count.

    :param uri: of the object.
    """
    manifest, body = None, seen.manifest.body
    if body is not None:
        try:
            manifest = StoredManifest.parse(body)
        except ManifestError as error:
            log.warning("%s is not a manifest: %s.", manifest_uri, error)
    return Present(
        uri,
        size=seen.head["ContentLength"] if seen.head else None,
        etag=seen.etags[0],
        manifest=manifest,
        manifest_sha256=None if body is None else hashlib.sha256(body).hexdigest(),
    )


def stored_facts(uri: str, head: dict[str, Any], sent: str | None) -> dict[str, Any]:
    """Return what a manifest says about an object that was written: ETag, version, encryption and checksum.

    :param head: S3's answer to ``HEAD``.
    :param sent: the SHA-256 of the parts that were sent; ``None`` if S3 was not asked to keep one.
    :raises IncompleteExportError: if S3's checksum is not that of the bytes that were sent.
    """
    encryption = {"algorithm": head.get("ServerSideEncryption"), "kms_key_id": head.get("SSEKMSKeyId")}
    return {
        "etag": etag_of(head),
        "version_id": head.get("VersionId"),
        "encryption": {name: value for name, value in encryption.items() if value},
        "checksum": _checksum(uri, head, sent),
    }


def _checksum(uri: str, head: Mapping[str, Any], sent: str | None) -> dict[str, str] | None:
    """Return the checksum that S3 keeps, which must be that of the bytes that were sent."""
    kept = checksum_of(head)
    if sent is None:
        return kept
    if kept is None or kept["algorithm"] != ALGORITHM:
        log.info("The store keeps no SHA-256 of %s, so its manifest names none.", uri)
        return kept
    if kept["value"].partition("-")[0] != sent:
        raise IncompleteExportError(
            f"{uri}: S3 keeps the SHA-256 {kept['value']} of the upload's parts, but parts with {sent} were sent: the "
            f"object has other bytes. {NEXT_TRY}"
        )
    # Not every store says so, but the checksum of a multipart upload is always composite.
    return {**kept, "type": "COMPOSITE"}
