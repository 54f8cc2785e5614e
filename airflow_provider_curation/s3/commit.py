"""The end of an export: first its signature, then its manifest, which makes the export finished."""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError, ExportUnderWayError
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.conditions import Conditions, if_unchanged, naming_conflicts
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.keys import Keys, Small
from airflow_provider_curation.s3.undo import Written

_MOST_CONFLICTS: Final = 3


class Commit:
    """Writes the manifest and the signature of one try.

    :param arguments: of boto3's uploads, such as ``ServerSideEncryption`` and ``ACL``: both files have the object's.
    :param written: is told what S3 was asked to write and to remove.
    """

    def __init__(
        self, keys: Keys, claim: Claim, conditions: Conditions, arguments: dict[str, Any], written: Written
    ) -> None:
        self._keys = keys
        self._claim = claim
        self._conditions = conditions
        self._arguments = {name: value for name, value in arguments.items() if name != "ContentEncoding"}
        self._written = written

    def put(self, manifest: bytes, signature: bytes | None, before: str | None) -> None:
        """Write the manifest, once its signature is there; without a signature, once that of an older manifest is gone.

        :param before: the ETag of the manifest that is replaced; ``None`` if there was none.
        :raises ExportUnderWayError: if another try has taken over.
        :raises ArchiveError: if S3 fails.
        """
        self._written.manifest, self._written.signature = manifest, signature
        for conflict in range(_MOST_CONFLICTS):
            try:
                self._settle_signature(signature)
                self._claim.ensure_held()
                self._put(self._keys.manifest_key, manifest, before)
                return
            except ArchiveError as error:
                seen = self._keys.look_or_none()
                if seen is not None and seen.manifest.body == manifest:
                    return
                stale = isinstance(error, ExportUnderWayError) and seen is not None and self._keys.is_own(seen.head)
                if not stale or conflict == _MOST_CONFLICTS - 1:
                    raise
                # A try that has lost its claim wrote it: its object is not the one that is there.
                assert seen is not None
                if seen.manifest.etag == before:
                    self._conditions.distrust("PutObject")
                before = seen.manifest.etag

    def restore_signature(self, before: Small) -> None:
        """Put back the signature that was replaced or removed, if its manifest is still there.

        :param before: the manifest that was there before.
        :raises ArchiveError: if S3 fails.
        """
        earlier = self._written.signature_before
        if earlier is None or self._keys.small(self._keys.manifest_key).etag != before.etag:
            return
        found = self._keys.small(self._keys.signature_key)
        if found.body in (None, self._written.signature):
            self._claim.ensure_held()
            self._put(self._keys.signature_key, earlier, found.etag)

    def _settle_signature(self, signature: bytes | None) -> None:
        """Write or remove the signature, so that none is left that belongs to another manifest.

        It never goes after another try's: a try that has lost its claim may have written one meanwhile, or this try
        itself, whose answer was lost.
        """
        found = self._keys.small(self._keys.signature_key)
        for conflict in range(_MOST_CONFLICTS):
            if found.body == signature:
                return
            # Renewed after looking, so that what was seen is not a later try's.
            self._claim.ensure_held()
            self._written.signature_before = found.body
            try:
                if signature is None:
                    self._remove(self._keys.signature_key, found.etag)
                else:
                    self._put(self._keys.signature_key, signature, found.etag)
                return
            except ExportUnderWayError:
                seen = self._keys.small(self._keys.signature_key)
                if conflict == _MOST_CONFLICTS - 1:
                    raise
                if signature is not None and seen.etag == found.etag:
                    self._conditions.distrust("PutObject")
                found = seen

    def _put(self, key: str, body: bytes, replaced: str | None) -> None:
        """Write a small file, if what is there still has this ETag (``None``: if nothing is there)."""
        with naming_faults(self._keys.bucket, key), naming_conflicts(self._keys.uri):
            self._conditions.send(
                self._keys.client.put_object,
                "PutObject",
                if_unchanged(replaced),
                Bucket=self._keys.bucket,
                Key=key,
                Body=body,
                **{**self._arguments, "ContentType": "application/json"},
            )

    def _remove(self, key: str, etag: str | None) -> None:
        """Delete a small file, if it still has this ETag."""
        with naming_faults(self._keys.bucket, key), naming_conflicts(self._keys.uri):
            self._conditions.send(
                self._keys.client.delete_object,
                "DeleteObject",
                if_unchanged(etag),
                Bucket=self._keys.bucket,
                Key=key,
            )
