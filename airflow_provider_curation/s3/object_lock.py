"""S3 Object Lock: the lock that an operator asks for, whether a bucket supports it, and how uploads get it.

A lock is a dict with the names of a manifest: ``mode`` and ``retain_until`` together, ``legal_hold``, both, or nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError, ObjectLockError
from airflow_provider_curation.audit.window import Window, format_utc, to_utc
from airflow_provider_curation.s3.codes import DENIED, error_code

log = logging.getLogger(__name__)

MODES: Final = ("GOVERNANCE", "COMPLIANCE")
_REFUSED: Final = (*DENIED, "InvalidRequest", "InvalidArgument", "MethodNotAllowed", "NotImplemented", "MalformedXML")
_NO_LOCK: Final = ("ObjectLockConfigurationNotFoundError", "InvalidRequest")


def wanted_lock(
    window: Window,
    now: datetime,
    mode: str | None,
    retain_until: datetime | timedelta | str | None,
    legal_hold: bool,
) -> dict[str, Any]:
    """Return the lock that an operator's arguments ask for.

    :param window: a timedelta counts from its end, so that a re-run asks for the same lock.
    :param retain_until: an aware datetime, an ISO 8601 string, or a timedelta.
    :raises InvalidArgumentError: for a mode without a date, a date without a mode, an unknown mode, or a past date.
    """
    lock: dict[str, Any] = {"legal_hold": True} if legal_hold else {}
    if mode is None and retain_until is None:
        return lock
    if mode not in MODES:
        raise InvalidArgumentError(f"object_lock_mode={mode!r} is not one of {', '.join(MODES)}.")
    if retain_until is None:
        raise InvalidArgumentError("object_lock_mode needs object_lock_retain_until: a date and time, or a timedelta.")
    if isinstance(retain_until, timedelta):
        moment = window.end + retain_until
    else:
        moment = to_utc(retain_until, "object_lock_retain_until")
    if moment <= now:
        raise InvalidArgumentError(
            f"object_lock_retain_until={retain_until!r} is {format_utc(moment)}, which is in the past, so S3 would "
            "refuse it. Give a later date, or export without a retention."
        )
    return {"mode": mode, "retain_until": format_utc(moment), **lock}


def upload_arguments(lock: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of boto3's uploads for a lock."""
    arguments: dict[str, Any] = {}
    if "mode" in lock:
        arguments["ObjectLockMode"] = lock["mode"]
        arguments["ObjectLockRetainUntilDate"] = to_utc(lock["retain_until"], "object_lock_retain_until")
    if lock.get("legal_hold"):
        arguments["ObjectLockLegalHoldStatus"] = "ON"
    return arguments


def check_bucket(client: Any, bucket: str, lock: dict[str, Any]) -> None:
    """Check that a bucket supports Object Lock, before anything is written to it.

    :raises ObjectLockError: if the bucket has no Object Lock.
    """
    from botocore.exceptions import ClientError

    try:
        found = client.get_object_lock_configuration(Bucket=bucket)
        enabled = found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    except ClientError as error:
        if error_code(error) in DENIED:
            log.warning(
                "The Object Lock configuration of the bucket %s cannot be read. Grant "
                "s3:GetBucketObjectLockConfiguration. If the bucket has no Object Lock, S3 refuses the upload.",
                bucket,
            )
            return
        if error_code(error) not in _NO_LOCK:
            raise
        enabled = False
    if not enabled:
        raise ObjectLockError(
            f"The bucket {bucket!r} has no Object Lock, so whatever is written to it can be deleted. Enable Object "
            "Lock on the bucket, or leave out object_lock_mode, object_lock_retain_until and object_lock_legal_hold."
        )


def ensure_locked(client: Any, bucket: str, key: str, lock: dict[str, Any], head: dict[str, Any]) -> None:
    """Lock an uploaded object if S3 does not show its lock: some stores drop the lock of multipart uploads.

    :param head: S3's answer to ``HEAD`` of the object.
    :raises ObjectLockError: if S3 refuses to lock it.
    :raises botocore.exceptions.ClientError: if S3 fails otherwise, as with ``SlowDown``.
    """
    from botocore.exceptions import ClientError

    arguments, version = upload_arguments(lock), {"VersionId": head["VersionId"]} if head.get("VersionId") else {}
    # Without s3:GetObjectRetention, S3 does not show a lock that is there. Setting the same lock again does no harm.
    try:
        if "ObjectLockMode" in arguments and not _is_retained(head, arguments):
            retention = {"Mode": arguments["ObjectLockMode"], "RetainUntilDate": arguments["ObjectLockRetainUntilDate"]}
            client.put_object_retention(Bucket=bucket, Key=key, Retention=retention, **version)
        if "ObjectLockLegalHoldStatus" in arguments and head.get("ObjectLockLegalHoldStatus") != "ON":
            client.put_object_legal_hold(Bucket=bucket, Key=key, LegalHold={"Status": "ON"}, **version)
    except ClientError as error:
        if error_code(error) not in _REFUSED:
            raise
        raise ObjectLockError(
            f"s3://{bucket}/{key} was uploaded with Object Lock, but S3 does not show a lock and refuses to set it "
            f"({error_code(error)}). Grant s3:PutObjectRetention and s3:PutObjectLegalHold, and "
            "s3:GetObjectRetention and s3:GetObjectLegalHold to see them."
        ) from error


def _is_retained(head: dict[str, Any], arguments: dict[str, Any]) -> bool:
    until = head.get("ObjectLockRetainUntilDate")
    return (
        head.get("ObjectLockMode") == arguments["ObjectLockMode"]
        and until is not None
        and to_utc(until) >= arguments["ObjectLockRetainUntilDate"]
    )
