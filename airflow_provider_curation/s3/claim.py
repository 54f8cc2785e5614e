"""A claim on a key: which export is writing to it, and since when, for other exports of the same window to see.

A claim is a multipart upload at a key of its own that is never completed: it leaves no object and nothing to lock. The
key ends in a token that names the try. The claim's holder uploads the same small part again and again, and
S3's own clock says when it last did: whoever finds a claim that was not renewed for :data:`LEASE_SECONDS` takes its
holder for dead, and aborts the claim. A holder that lives on nevertheless notices at its next renewal, which no abort
leaves possible, and stops before it writes.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError, ExportUnderWayError, StoppedError
from airflow_provider_curation.s3.codes import DENIED, NOT_FOUND, error_code
from airflow_provider_curation.s3.faults import naming_faults

log = logging.getLogger(__name__)

#: A claim that was not renewed for so long is abandoned.
LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
#: If the parts of others' uploads cannot be listed, only the age of a claim says that it is abandoned: longer than any
#: export takes.
_LEASE_UNSEEN: Final = timedelta(days=1)
#: About how long to wait before looking again whether somebody else's claim is renewed.
_LOOK_AGAIN_SECONDS: Final = 5.0


class Claim:
    """The claim of one try on a key.

    :param prefix: of the keys of all claims on that key.
    :param token: names this try.
    :param renew_every: seconds between renewals; default: :data:`RENEW_SECONDS`.
    :param patience: seconds to wait for somebody else's claim that is not renewed; default: a little more than a lease.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        token: str,
        *,
        renew_every: float | None = None,
        patience: float | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._key = prefix + token
        self._token = token
        self._renew_every = RENEW_SECONDS if renew_every is None else renew_every
        self._patience = LEASE_SECONDS + RENEW_SECONDS if patience is None else patience
        self._upload_id: str | None = None
        self._renewed_at = 0.0
        self._lost = False
        self._done = threading.Event()
        #: Whether claims and uploads can be listed; without the permission, others are not seen.
        self.sighted = True

    @property
    def taken(self) -> bool:
        """Whether the key was claimed and not released; another try may have taken over all the same."""
        return self._upload_id is not None

    def take(self, stop: threading.Event) -> None:
        """Claim the key, waiting up to a minute for a claim that is no longer renewed.

        :raises ExportUnderWayError: if another try holds the key and is alive.
        :raises StoppedError: if the task is stopped while it waits.
        """
        seen: dict[str, datetime] = {}
        deadline = time.monotonic() + self._patience
        while True:
            self._open()
            others = self._others()
            if not others:
                self._keep_renewing()
                return
            # Two tries that see each other both withdraw: waiting while claiming could let both wait for ever.
            self.release()
            renewed_since = seen and any(seen.get(token) != renewed for token, renewed in others.items())
            if renewed_since or time.monotonic() >= deadline:
                token, renewed = max(others.items(), key=lambda each: each[1])
                raise ExportUnderWayError(
                    f"s3://{self._bucket}/{self._prefix}: another export of this window is running: {token}, which "
                    f"last renewed its claim at {renewed:%Y-%m-%dT%H:%M:%SZ}. Nothing was read or written. The next "
                    "try of this task finds what it has written."
                )
            seen |= others
            log.info("Another export of this window holds its key: %s. Waiting to see if it lives.", ", ".join(others))
            if stop.wait(_LOOK_AGAIN_SECONDS * random.uniform(0.8, 1.6)):
                raise StoppedError("The task was stopped while it waited for another export of the same window.")

    def ensure_held(self) -> None:
        """Check that the key is still claimed, renewing the claim if that was not done lately.

        :raises ExportUnderWayError: if another try has taken it over; then nothing may be written any more.
        """
        if not self._lost and time.monotonic() - self._renewed_at < self._renew_every * 2:
            return
        self._renew()
        if self._lost:
            raise ExportUnderWayError(
                f"s3://{self._bucket}/{self._key}: this export did not renew its claim for more than "
                f"{LEASE_SECONDS:.0f} seconds, and another one of the same window took over. What this one has written "
                "is left to that one."
            )

    def release(self) -> None:
        """Withdraw the claim, and all that is open at its key: also what S3 created while its answer was lost."""
        self._done.set()
        known = [self._upload_id] if self._upload_id else []
        self._upload_id = None
        with naming_faults(self._bucket, self._key):
            for upload_id in known:
                abort(self._client, self._bucket, self._key, upload_id)
            if self.sighted:
                for upload in self._uploads(self._key):
                    abort(self._client, self._bucket, self._key, upload["UploadId"])

    def abort_uploads(self, key: str) -> None:
        """Abort all uploads that are open on the key that is claimed: nobody alive owns them."""
        if not self.sighted:
            return
        with naming_faults(self._bucket, key):
            for upload in self._uploads(key):
                if upload["Key"] == key:
                    log.info("Aborting an upload that was left open at s3://%s/%s.", self._bucket, key)
                    abort(self._client, self._bucket, key, upload["UploadId"])

    def _open(self) -> None:
        self._done.clear()
        with naming_faults(self._bucket, self._key):
            created = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
        self._upload_id = str(created["UploadId"])
        self._renew()

    def _renew(self) -> None:
        from botocore.exceptions import ClientError

        if self._upload_id is None:
            self._lost = True
            return
        asked_at = time.monotonic()
        mark = {"UploadId": self._upload_id, "PartNumber": 1, "Body": self._token.encode()}
        with naming_faults(self._bucket, self._key):
            try:
                self._client.upload_part(Bucket=self._bucket, Key=self._key, **mark)
            except ClientError as error:
                # Some stores answer with a fault where the upload is gone.
                self._lost = error_code(error) in NOT_FOUND or self._is_gone(str(mark["UploadId"]))
                if not self._lost:
                    raise
                return
        self._renewed_at = asked_at

    def _is_gone(self, upload_id: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.list_parts(Bucket=self._bucket, Key=self._key, UploadId=upload_id)
        except ClientError as error:
            return error_code(error) in NOT_FOUND
        return False

    def _keep_renewing(self) -> None:
        threading.Thread(target=self._renew_until_done, name="curation-audit-claim", daemon=True).start()

    def _renew_until_done(self) -> None:
        while not self._done.wait(self._renew_every):
            try:
                self._renew()
            except ArchiveError as error:
                # What is about to write renews it once more, and fails then.
                log.debug("The claim on %s could not be renewed: %s", self._key, error)
            if self._lost:
                return

    def _others(self) -> dict[str, datetime]:
        """Return the claims of other tries that are alive, with their last renewal; abort the abandoned ones."""
        live: dict[str, datetime] = {}
        with naming_faults(self._bucket, self._prefix):
            for upload in self._uploads(self._prefix):
                if upload["Key"] == self._key:
                    continue
                renewed, lease, now = self._renewal(upload)
                token = upload["Key"].removeprefix(self._prefix)
                if renewed is None:
                    continue
                if now - renewed <= lease:
                    live[token] = renewed
                    continue
                log.warning(
                    "An export of this window ended without a word (%s, last seen %s); taking over from it.",
                    token,
                    renewed,
                )
                abort(self._client, self._bucket, upload["Key"], upload["UploadId"])
        return live

    def _renewal(self, upload: dict[str, Any]) -> tuple[datetime | None, timedelta, datetime]:
        """Return when a claim was last renewed (``None`` if it is gone), how long that counts, and the time in S3."""
        from botocore.exceptions import ClientError

        created = upload["Initiated"]
        try:
            parts = self._client.list_parts(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        except ClientError as error:
            if error_code(error) in NOT_FOUND:
                return None, timedelta(0), created
            if error_code(error) not in DENIED:
                raise
            log.warning("Grant s3:ListMultipartUploadParts: a killed export blocks its window for a day without it.")
            return created, _LEASE_UNSEEN, datetime.now(timezone.utc)
        renewed = max([created, *(part["LastModified"] for part in parts.get("Parts", ()))])
        return renewed, timedelta(seconds=LEASE_SECONDS), _time_of(parts)

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import ClientError

        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
        try:
            # Read to the end: aborting while listing could skip some.
            yield from [upload for page in pages for upload in page.get("Uploads", ())]
        except ClientError as error:
            if error_code(error) not in DENIED:
                raise
            self.sighted = False
            log.warning(
                "Uploads that are open below s3://%s/%s cannot be listed (%s): other exports of the window are not "
                "noticed. Grant s3:ListBucketMultipartUploads, and give the bucket a lifecycle rule that aborts "
                "incomplete uploads.",
                self._bucket,
                prefix,
                error_code(error),
            )


def abort(client: Any, bucket: str, key: str, upload_id: str) -> None:
    """Abort an upload, unless it is gone already."""
    from botocore.exceptions import ClientError

    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    except ClientError as error:
        if error_code(error) not in NOT_FOUND:
            raise


def _time_of(answer: dict[str, Any]) -> datetime:
    """Return what time it was in S3 when it answered, so that the worker's clock does not count."""
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    with contextlib.suppress(TypeError, ValueError):
        return parsedate_to_datetime(said).astimezone(timezone.utc)
    return datetime.now(timezone.utc)
