"""A claim on a key: it tells other exports of the same window which export writes to the key, and since when.

A claim is a multipart upload below a key of its own that is never completed, so it leaves no object and nothing to
lock. Its key ends in a token that names the try. The holder uploads the same small part again and again, and S3's own
clock says when it last did. A claim that was not renewed for :data:`LEASE_SECONDS` is abandoned: any other export of
the window may abort it. A holder that is still alive notices that at its next renewal, which fails, and stops before it
writes.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from airflow_provider_curation.audit.errors import ArchiveError, ExportUnderWayError, StoppedError
from airflow_provider_curation.s3.codes import DENIED, NOT_FOUND, error_code
from airflow_provider_curation.s3.faults import naming_faults
from airflow_provider_curation.s3.open_uploads import OpenUploads

log = logging.getLogger(__name__)

#: A claim that was not renewed for this long is abandoned.
LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
#: How much longer than a lease to wait for a claim that is not renewed: S3's clock shows whole seconds.
_MARGIN_SECONDS: Final = 15.0
#: If the parts of other uploads cannot be listed, only the age of a claim shows that it is abandoned. No export takes
#: longer than this.
_LEASE_UNSEEN: Final = timedelta(days=1)
#: About how long to wait before looking again whether another claim is renewed.
_LOOK_AGAIN_SECONDS: Final = 5.0


class Claim:
    """The claim of one try on a key.

    :param prefix: the keys of all claims on that key begin with it.
    :param token: names this try.
    :param renew_every: seconds between renewals; default: :data:`RENEW_SECONDS`.
    :param patience: seconds to wait for another claim that is not renewed; default: a little more than a lease.
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
        self._uploads = OpenUploads(client, bucket)
        self._bucket = bucket
        self._prefix = prefix
        self._key = prefix + token
        self._token = token
        self._renew_every = RENEW_SECONDS if renew_every is None else renew_every
        self._patience = LEASE_SECONDS + _MARGIN_SECONDS if patience is None else patience
        self._upload_id: str | None = None
        self._renewed_at = 0.0
        self._lost = False
        self._done = threading.Event()

    @property
    def taken(self) -> bool:
        """Whether the key was claimed and not released; another try may have taken over all the same."""
        return self._upload_id is not None

    def take(self, stop: threading.Event, finished: str | None = None) -> None:
        """Claim the key. Wait up to about a minute for a claim that is no longer renewed.

        :param stop: ends the wait when it is set.
        :param finished: the token of the try whose export is finished; its claim counts no more.
        :raises ExportUnderWayError: if another try holds the key and is alive.
        :raises StoppedError: if the task is stopped while it waits.
        """
        seen: dict[str, datetime] = {}
        deadline = time.monotonic() + self._patience
        while True:
            self._open()
            others = self._live(self._uploads.below(self._prefix), finished)
            if not others:
                self._keep_renewing()
                return
            # Two tries that see each other both withdraw. If they kept their claims, both could wait for ever.
            self._withdraw()
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
        """Check that the key is still claimed, and renew the claim if that was not done lately.

        :raises ExportUnderWayError: if another try has taken over; then nothing may be written any more.
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
        """Withdraw the claim, and end those of other tries that are abandoned.

        :raises ArchiveError: if S3 fails each time.
        """
        self._live(self._withdraw())

    def abort_uploads(self, key: str) -> None:
        """Abort all uploads that are open on the claimed key: no other live try owns them.

        :raises ArchiveError: if S3 fails each time.
        """
        self._uploads.abort_all(key)

    def is_any_open(self, key: str) -> bool:
        """Return whether any claim, or any upload to the key, is open.

        :raises ArchiveError: if S3 fails.
        """
        return bool(self._uploads.below(self._prefix) or self._uploads.at(key))

    def _open(self) -> None:
        self._done.clear()
        with naming_faults(self._bucket, self._key):
            created = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
        self._upload_id = str(created["UploadId"])
        self._renew()

    def _withdraw(self) -> list[dict[str, Any]]:
        """Abort all that is open at the claim's key, also what S3 created although its answer was lost.

        :return: the claims of other tries.
        """
        self._done.set()
        known, self._upload_id = self._upload_id, None
        return self._uploads.abort_all(self._key, known, self._prefix)

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
                # Some stores answer with a server fault if the upload is gone.
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
                # Whatever writes next renews the claim once more, and fails then.
                log.debug("The claim on %s could not be renewed: %s", self._key, error)
            if self._lost:
                return

    def _live(self, claims: list[dict[str, Any]], finished: str | None = None) -> dict[str, datetime]:
        """Return the live claims of other tries with their last renewal; abort those that are abandoned or finished."""
        live: dict[str, datetime] = {}
        for upload in claims:
            token = upload["Key"].removeprefix(self._prefix)
            if token == self._token:
                continue
            if token != finished:
                renewed, lease, now = self._renewal(upload)
                if renewed is None:
                    continue
                if now - renewed <= lease:
                    live[token] = renewed
                    continue
                log.warning(
                    "An export of this window ended without a word (%s, last seen %s). Its claim is withdrawn.",
                    token,
                    renewed,
                )
            self._uploads.abort(upload["Key"], upload["UploadId"])
        return live

    def _renewal(self, upload: dict[str, Any]) -> tuple[datetime | None, timedelta, datetime]:
        """Return when a claim was last renewed (``None`` if it is gone), how long that counts, and the time in S3."""
        from botocore.exceptions import ClientError

        created = upload["Initiated"]
        with naming_faults(self._bucket, upload["Key"]):
            try:
                parts = self._client.list_parts(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            except ClientError as error:
                if error_code(error) in NOT_FOUND:
                    return None, timedelta(0), created
                if error_code(error) not in DENIED:
                    raise
                log.warning(
                    "Grant s3:ListMultipartUploadParts. Without it, a killed export blocks its window for a day."
                )
                return created, _LEASE_UNSEEN, datetime.now(timezone.utc)
        renewed = max([created, *(part["LastModified"] for part in parts.get("Parts", ()))])
        return renewed, timedelta(seconds=LEASE_SECONDS), _time_of(parts)


def _time_of(answer: dict[str, Any]) -> datetime:
    """Return what time it was in S3 when it answered, so that the worker's clock does not count."""
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    with contextlib.suppress(TypeError, ValueError):
        return parsedate_to_datetime(said).astimezone(timezone.utc)
    return datetime.now(timezone.utc)
