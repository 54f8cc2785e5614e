"""Faults of S3 as named errors."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto

from airflow_provider_curation.audit import errors
from airflow_provider_curation.s3.faults import naming_faults


def refusal(code: str, status: int, operation: str = "PutObject", message: str | None = None) -> boto.ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, operation)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (refusal("NoSuchBucket", 404), errors.BucketNotFoundError, "no bucket 'archive'"),
        (refusal("AccessDenied", 403), errors.ArchiveAccessDeniedError, "Grant s3:PutObject on s3://archive/key"),
        (refusal("403", 403, "HeadObject"), errors.ArchiveAccessDeniedError, "s3:GetObject and s3:ListBucket"),
        (refusal("InvalidAccessKeyId", 403), errors.ArchiveCredentialsError, "access key"),
        (refusal("InvalidRequest", 400), errors.ArchiveRefusedError, "encrypt=True.*TLS"),
        (refusal("SlowDown", 503), errors.ArchiveUnavailableError, "SlowDown"),
        (refusal("500", 500), errors.ArchiveUnavailableError, "Try again"),
        (boto.NoCredentialsError(), errors.ArchiveCredentialsError, "no credentials"),
        (boto.EndpointConnectionError(endpoint_url="made-up"), errors.ArchiveUnavailableError, "cannot be reached"),
        (boto.ReadTimeoutError(endpoint_url="made-up"), errors.ArchiveUnavailableError, "cannot be reached"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), errors.ArchiveUnavailableError, "broke before"),
        (boto.ParamValidationError(report="made up"), errors.ArchiveRefusedError, "does not send"),
    ],
)
def test_each_fault_has_its_error(fault: Exception, kind: type[errors.ArchiveError], words: str) -> None:
    with pytest.raises(errors.ArchiveError, match=words) as caught, naming_faults("archive", "key"):
        raise fault
    assert type(caught.value) is kind
    assert caught.value.retry_task is (kind is errors.ArchiveUnavailableError)
    assert "None" not in str(caught.value)
