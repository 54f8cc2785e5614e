"""Write once: what S3 Object Lock is asked for, checked against a bucket, and as arguments of uploads.

A lock is data, as a manifest says it: ``mode`` and ``retain_until`` together, ``legal_hold``, or nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError, ObjectLockError
from airflow_provider_curation.audit.window import Window, format_utc, to_utc
from airflow_provider_curation.s3.codes import error_code

log = logging.getLogger(__name__)

MODES: Final = ("GOVERNANCE", "COMPLIANCE")
_DENIED: Final = ("AccessDenied", "403")
_REFUSED: Final = (*_DENIED, "InvalidRequest", "InvalidArgument", "MethodNotAllowed", "NotImplemented", "MalformedXML")
_NO_LOCK: Final = ("ObjectLockConfigurationNotFoundError", "InvalidRequest")


def wanted_lock(
    window: Window,
    now: datetime,
    mode: str | None,
    retain_until: datetime | timedelta | str | None,
    legal_hold: bool,
) -> dict[str, Any]:
    """Return the lock that an operator's arguments ask for.

    :param window: whose end a timedelta counts from, so that a re-run asks for the same lock.
    :param retain_until: an aware datetime, an ISO 8601 string, or a timedelta.
    :raises InvalidArgumentError: for half a retention, an unknown mode, or a moment that is past.
    """
    lock: dict[str, Any] = {"legal_hold": True} if legal_hold else {}
    if mode is None and retain_until is None:
        return lock
    if mode not in MODES:
        raise InvalidArgumentError(f"object_lock_mode={mode!r} is none of {', '.join(MODES)}.")
    if retain_until is None:
        raise InvalidArgumentError("object_lock_mode needs object_lock_retain_until: a moment, or a timedelta.")
    if isinstance(retain_until, timedelta):
        moment = window.end + retain_until
    else:
        moment = to_utc(retain_until, "object_lock_retain_until")
    if moment <= now:
        raise InvalidArgumentError(
            f"object_lock_retain_until={retain_until!r} makes {format_utc(moment)}, which is past: S3 refuses it. "
            "Give a later moment, or export without a retention."
        )
    return {"mode": mode, "retain_until": format_utc(moment), **lock}


def upload_arguments(lock: dict[str, Any]) -> dict[str, Any]:
    """Return a lock as arguments of boto3's uploads."""
    arguments: dict[str, Any] = {}
    if "mode" in lock:
        arguments["ObjectLockMode"] = lock["mode"]
        arguments["ObjectLockRetainUntilDate"] = to_utc(lock["retain_until"], "object_lock_retain_until")
    if lock.get("legal_hold"):
        arguments["ObjectLockLegalHoldStatus"] = "ON"
    return arguments


def check_bucket(client: Any, bucket: str, lock: dict[str, Any]) -> None:
    """Hold a lock against a bucket, before anything is written to it.

    :raises ObjectLockError: if the bucket has no Object Lock.
    """
    from botocore.exceptions import ClientError

    try:
        found = client.get_object_lock_configuration(Bucket=bucket)
        enabled = found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    except ClientError as error:
        if error_code(error) in _DENIED:
            log.warning(
                "Whether the bucket %s has Object Lock cannot be asked: grant s3:GetBucketObjectLockConfiguration. "
                "S3 refuses the upload if it has none.",
                bucket,
            )
            return
        if error_code(error) not in _NO_LOCK:
            raise
        enabled = False
    if not enabled:
        raise ObjectLockError(
            f"The bucket {bucket!r} has no Object Lock, so what is written to it can be deleted: enable it on the "
            "bucket, or leave out object_lock_mode, object_lock_retain_until and object_lock_legal_hold."
        )


def ensure_locked(client: Any, bucket: str, key: str, lock: dict[str, Any], head: dict[str, Any]) -> None:
    """Lock an object that was uploaded under a lock, if S3 does not show it: some stores drop it from large uploads.

    :param head: what S3 says of the object.
    :raises ObjectLockError: if S3 refuses to lock it.
    :raises botocore.exceptions.ClientError: if S3 fails otherwise, as with ``SlowDown``.
    """
    from botocore.exceptions import ClientError

    arguments, version = upload_arguments(lock), {"VersionId": head["VersionId"]} if head.get("VersionId") else {}
    # What S3 does not show may only be hidden for want of a right: locking it again in the same way does no harm.
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
            f"s3://{bucket}/{key} was uploaded under Object Lock, S3 does not show that it is locked, and refused to "
            f"lock it ({error_code(error)}): grant s3:PutObjectRetention and s3:PutObjectLegalHold, and "
            "s3:GetObjectRetention and s3:GetObjectLegalHold to see them."
        ) from error


def _is_retained(head: dict[str, Any], arguments: dict[str, Any]) -> bool:
    until = head.get("ObjectLockRetainUntilDate")
    return (
        head.get("ObjectLockMode") == arguments["ObjectLockMode"]
        and until is not None
        and to_utc(until) >= arguments["ObjectLockRetainUntilDate"]
    )
