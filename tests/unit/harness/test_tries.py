"""What is told of a try that failed."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_provider_curation.audit.errors import ArchiveUnavailableError, StoppedError
from tests.chaos.tries import fault_of


def raised(error: Exception, *, cause: Exception | None = None, context: Exception | None = None) -> Exception:
    error.__cause__, error.__context__ = cause, context
    return error


REFUSAL = ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "by_s3"),
    [
        (StoppedError("stopped"), False),
        (REFUSAL, True),
        # Raised where nothing is handled, an error has neither cause nor context.
        (ArchiveUnavailableError("S3 failed"), True),
        (raised(ValueError(), cause=REFUSAL), True),
        (raised(ValueError(), context=raised(KeyError(), cause=ArchiveUnavailableError("S3 failed"))), True),
        (raised(ValueError(), context=KeyError()), False),
    ],
)
def test_a_fault_of_s3_is_known_by_its_causes(error: Exception, by_s3: bool) -> None:
    assert fault_of(error).by_s3 is by_s3
