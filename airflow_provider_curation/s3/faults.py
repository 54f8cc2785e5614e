"""Faults of S3, as errors that name the bucket, the key, the permission and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from airflow_provider_curation.audit.errors import (
    ArchiveAccessDeniedError,
    ArchiveCredentialsError,
    ArchiveError,
    ArchiveRefusedError,
    ArchiveUnavailableError,
    BucketNotFoundError,
)
from airflow_provider_curation.s3.codes import DENIED, error_code

#: The permissions that a call needs.
_PERMISSIONS: Final = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:GetObject and s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "PutObjectLegalHold": "s3:PutObjectLegalHold",
    "PutObjectRetention": "s3:PutObjectRetention",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:GetObject and s3:PutObject",
}
_CREDENTIALS: Final = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_PASSING: Final = (
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
)
_ENCRYPTION: Final = (
    " If the upload asks for encryption (encrypt=True or ServerSideEncryption), the store may not offer it, or only "
    "over TLS: use an https:// endpoint_url in the aws connection, or leave the encryption to the bucket's own default."
)


@contextmanager
def naming_faults(bucket: str, key: str = "") -> Iterator[None]:
    """Turn what boto raises into an :class:`ArchiveError`.

    :param bucket: the bucket that the call is about; empty while the client is created.
    :param key: the key that the call is about, if there is one.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _of_answer(error, bucket, key) from error
    except (BotoCoreError, Boto3Error) as error:
        raise _of_client(error, bucket, key) from error


def _of_answer(error: Any, bucket: str, key: str) -> ArchiveError:
    """Return the error for an answer of S3."""
    code, operation = error_code(error), error.operation_name
    details = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    message = details.get("Message")
    said = code if not message or message == code else f"{code}: {str(message)[:200]!r}"
    asked = f"{operation} {_uri(bucket, key)}"
    if code == "NoSuchBucket":
        return BucketNotFoundError(
            f"{asked}: there is no bucket {bucket!r}. Create it, or correct s3_bucket and the aws connection's "
            "endpoint_url and region_name."
        )
    if code in _CREDENTIALS:
        return ArchiveCredentialsError(
            f"{asked}: S3 does not accept the credentials ({code}). Check the access key and secret of the aws "
            "connection, and whether its session token has expired."
        )
    if code in DENIED:
        permission = _PERMISSIONS.get(operation, f"s3:{operation}")
        return ArchiveAccessDeniedError(
            f"{asked}: access denied ({code}). Grant {permission} on {_uri(bucket, key)} to the aws connection's user "
            "or role. The bucket's policy and the KMS key's policy also count."
        )
    if code in _PASSING or (isinstance(status, int) and status >= 500 and code != "NotImplemented"):
        return ArchiveUnavailableError(f"{asked}: S3 failed ({said}). Try again later.")
    advice = _ENCRYPTION if code in ("InvalidRequest", "InvalidArgument", "NotImplemented") else ""
    return ArchiveRefusedError(
        f"{asked}: S3 refuses the request ({said}), and would refuse it again. Check s3_extra_args, acl_policy, "
        f"encrypt and the object_lock arguments.{advice}"
    )


def _of_client(error: Any, bucket: str, key: str) -> ArchiveError:
    """Return the error for a call that S3 did not answer."""
    from botocore import exceptions as boto

    where = _uri(bucket, key) if bucket else "S3"
    name = type(error).__name__
    missing = (
        boto.CredentialRetrievalError,
        boto.NoAuthTokenError,
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.ProfileNotFound,
        boto.TokenRetrievalError,
        boto.UnauthorizedSSOTokenError,
    )
    if isinstance(error, missing):
        return ArchiveCredentialsError(
            f"{where}: there are no credentials for S3 ({name}). Put an access key and secret into the aws "
            "connection, or give the worker a role or profile that boto3 finds."
        )
    passing = (
        boto.ChecksumError,
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.ResponseStreamingError,
    )
    if isinstance(error, passing):
        return ArchiveUnavailableError(
            f"{where}: S3 cannot be reached, or the connection broke before its answer ({name}). Try again. If it "
            "lasts, check the aws connection's endpoint_url and the worker's network."
        )
    return ArchiveRefusedError(
        f"{where}: boto3 does not send the request ({name}: {str(error)[:300]}). Check the bucket's name, s3_extra_args"
        " and the aws connection."
    )


def _uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"
