"""Deletes what a failed try has written to S3, and nothing that another try has written."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from airflow_provider_curation.audit.errors import ExportUnderWayError
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.codes import DENIED, error_code
from airflow_provider_curation.s3.conditions import Conditions, etag_of, if_unchanged, naming_conflicts
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.keys import Keys, Seen

log = logging.getLogger(__name__)


@dataclass
class Written:
    """What a try has asked S3 to write so far.

    :ivar completing: whether S3 was asked to complete the upload: then the object at the key may be this try's.
    :ivar etag: the object's, once S3 has shown that it is this try's.
    :ivar signature_before: the signature that was replaced or removed.
    """

    completing: bool = False
    etag: str | None = None
    manifest: bytes | None = None
    signature: bytes | None = None
    signature_before: bytes | None = None


def take_back(keys: Keys, claim: Claim, conditions: Conditions, written: Written, before: Seen | None) -> None:
    """Delete what a try has written, unless its export is finished.

    In a bucket without versions, an object that replaced an older one stays, since the older one cannot be restored.

    :param before: what was at the keys before this try wrote.
    :raises ExportUnderWayError: if another try has taken over.
    :raises ArchiveError: if S3 fails.
    """
    seen = keys.look()
    own_manifest = written.manifest is not None and seen.manifest.body == written.manifest
    own_object = keys.is_own(seen.head)
    if own_manifest and own_object:
        log.warning("%s and its manifest are finished, and are kept.", keys.uri)
        return
    object_before, manifest_before = before.etags if before else (None, None)

    def delete(key: str, etag: str | None, version: str | None, replaced: str | None) -> None:
        claim.ensure_held()
        with naming_faults(keys.bucket, key):
            if not _delete_version(keys, key, version) and replaced is None and etag is not None:
                _delete_unchanged(keys, conditions, key, etag)

    if own_manifest:
        delete(keys.manifest_key, seen.manifest.etag, seen.manifest.version, manifest_before)
    if written.signature is not None:
        found = keys.small(keys.signature_key)
        if found.body == written.signature:
            delete(keys.signature_key, found.etag, found.version, manifest_before)
    if own_object and seen.head is not None:
        delete(keys.key, etag_of(seen.head), seen.head.get("VersionId"), object_before)


def _delete_version(keys: Keys, key: str, version: str | None) -> bool:
    """Delete one version, and return whether it is gone; in a bucket without versions, nothing is deleted."""
    from botocore.exceptions import ClientError

    if not version or version == "null":
        return False
    try:
        keys.client.delete_object(Bucket=keys.bucket, Key=key, VersionId=version)
    except ClientError as error:
        # Locked, or s3:DeleteObjectVersion is not granted: a delete marker hides it as well.
        if error_code(error) not in DENIED:
            raise
        return False
    return True


def _delete_unchanged(keys: Keys, conditions: Conditions, key: str, etag: str) -> None:
    """Delete what is at a key if it still has this ETag."""
    with contextlib.suppress(ExportUnderWayError), naming_conflicts(keys.uri):
        conditions.send(keys.client.delete_object, "DeleteObject", if_unchanged(etag), Bucket=keys.bucket, Key=key)
