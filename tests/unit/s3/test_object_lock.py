"""What becomes of an uploaded object that S3 does not lock."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from airflow_provider_curation.audit.errors import ObjectLockError
from airflow_provider_curation.s3.object_lock import ensure_locked

LOCK = {"mode": "GOVERNANCE", "retain_until": "2036-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", ObjectLockError),
        ("InvalidRequest", ObjectLockError),
        ("SlowDown", ClientError),
        ("InternalError", ClientError),
        ("RequestTimeout", ClientError),
    ],
)
def test_a_refusal_is_final_and_a_failure_is_not(code: str, kind: type[Exception]) -> None:
    client = Mock()
    client.put_object_retention.side_effect = ClientError({"Error": {"Code": code}}, "PutObjectRetention")
    with pytest.raises(kind) as caught:
        ensure_locked(client, "archive", "key", LOCK, {})
    assert type(caught.value) is kind
    client.put_object_retention.assert_called_once()
