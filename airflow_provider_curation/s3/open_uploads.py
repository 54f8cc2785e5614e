"""The multipart uploads that are open in a bucket: found and aborted, also those whose creation nobody heard of."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError
from airflow_provider_curation.s3.codes import DENIED, NOT_FOUND, error_code
from airflow_provider_curation.s3.faults import naming_faults

log = logging.getLogger(__name__)

_LOOKS: Final = 4
#: Seconds before looking again; doubled each time.
LOOK_AGAIN_SECONDS = 0.25


class OpenUploads:
    """The open uploads of a bucket.

    :ivar sighted: whether they can be listed; without the permission, only uploads whose ids are known can be aborted.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self.sighted = True

    def below(self, prefix: str) -> list[dict[str, Any]]:
        """Return the open uploads whose keys begin with a prefix; none if they may not be listed.

        :raises ArchiveError: if S3 fails.
        """
        from botocore.exceptions import ClientError

        if not self.sighted:
            return []
        with naming_faults(self._bucket, prefix):
            try:
                pages = self._client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=self._bucket, Prefix=prefix
                )
                # The list is read to its end first: aborting an upload while listing could skip others.
                return [upload for page in pages for upload in page.get("Uploads", ())]
            except ClientError as error:
                if error_code(error) not in DENIED:
                    raise
                denied = error_code(error)
        self.sighted = False
        log.warning(
            "The uploads that are open below s3://%s/%s cannot be listed (%s), so other exports of this window are not "
            "noticed. Grant s3:ListBucketMultipartUploads, and give the bucket a lifecycle rule that aborts incomplete "
            "uploads.",
            self._bucket,
            prefix,
            denied,
        )
        return []

    def at(self, key: str) -> list[dict[str, Any]]:
        """Return the open uploads of one key; see :meth:`below`."""
        return [upload for upload in self.below(key) if upload["Key"] == key]

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload, unless it is gone already.

        :raises ArchiveError: if S3 fails.
        """
        from botocore.exceptions import ClientError

        with naming_faults(self._bucket, key):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if error_code(error) not in NOT_FOUND:
                    raise

    def abort_all(self, key: str, known: str | None = None, prefix: str | None = None) -> list[dict[str, Any]]:
        """Abort the uploads of a key, and look again until none is open: an answer that is lost says nothing.

        :param known: the id of an upload that is aborted first, also if uploads cannot be listed.
        :param prefix: list the uploads below it, and return those of other keys; default: the key.
        :raises ArchiveError: if S3 fails each time.
        """
        others: list[dict[str, Any]] = []
        pause = LOOK_AGAIN_SECONDS
        for look in range(_LOOKS):
            try:
                if known is not None:
                    self.abort(key, known)
                    known = None
                listed = self.below(prefix or key)
                others = [upload for upload in listed if upload["Key"] != key]
                for upload in listed:
                    if upload["Key"] == key:
                        log.info("Aborting an upload that was left open at s3://%s/%s.", self._bucket, key)
                        self.abort(key, upload["UploadId"])
                if len(others) == len(listed):
                    break
            except ArchiveError as error:
                if look == _LOOKS - 1 or not error.retry_task:
                    raise
                time.sleep(pause)
                pause *= 2
        return others
