"""A bucket that is verified: each fault of S3 has a name, and nothing is overwritten without conditions, either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError

from airflow_provider_curation.audit import errors
from airflow_provider_curation.s3.archive import S3Archive
from tests.support.s3_model import DirectClient, Store


def refusal(code: str, operation: str) -> ClientError:
    details = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(details, operation)


def client_of(*, conditional: bool = True, fails: dict[str, list[str]] | None = None) -> DirectClient:
    """Return a client of an empty bucket; without conditions, it answers them with ``NotImplemented``."""
    puts = frozenset({"PutObject"})
    return DirectClient(Store(puts, frozenset() if conditional else puts), fails)


def archive_of(client: Any) -> S3Archive:
    archive = S3Archive("archive", aws_conn_id=None)
    vars(archive)["_client"] = client
    return archive


@pytest.mark.parametrize("conditional", [True, False])
def test_only_what_is_new_is_written(conditional: bool, caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(conditional=conditional)
    archive = archive_of(client)
    assert archive.put_new("seal", b"first")
    assert not archive.put_new("seal", b"second")
    assert client.bodies() == {"seal": b"first"}
    assert archive.put_new("other", b"second")
    assert ("does not support conditional" in caplog.text) is not conditional


def test_what_was_written_although_its_answer_was_lost_is_written() -> None:
    client = client_of(fails={"PutObject": ["repeated"]})
    assert archive_of(client).put_new("seal", b"first")
    assert client.bodies() == {"seal": b"first"}


def test_a_conflict_with_what_is_gone_by_now_is_an_error() -> None:
    client = Mock()
    client.put_object.side_effect = refusal("ConditionalRequestConflict", "PutObject")
    client.head_object.side_effect = refusal("404", "HeadObject")
    with pytest.raises(errors.ArchiveUnavailableError, match="PutObject s3://archive/seal"):
        archive_of(client).put_new("seal", b"first")


def listing(client: Mock, fault: Exception) -> None:
    client.get_paginator.return_value.paginate.side_effect = lambda **asked: _failing(fault)
    list(archive_of(client).entries("curation/"))


def _failing(fault: Exception) -> Any:
    yield {"Contents": [{"Key": "curation/k", "Size": 1}]}
    raise fault


def reading(client: Mock, fault: Exception) -> None:
    client.get_object.side_effect = fault
    archive_of(client).read("curation/k")


def reading_on(client: Mock, fault: Exception) -> None:
    client.get_object.return_value = {"Body": Mock(read=Mock(side_effect=fault))}
    archive_of(client).read("curation/k")


def reading_in_pieces(client: Mock, fault: Exception) -> None:
    client.get_object.return_value = {"Body": Mock(iter_chunks=lambda size: _failing(fault))}
    list(archive_of(client).chunks("curation/k"))


def asking_for_a_checksum(client: Mock, fault: Exception) -> None:
    client.head_object.side_effect = fault
    archive_of(client).checksum("curation/k")


def writing(client: Mock, fault: Exception) -> None:
    client.put_object.side_effect = fault
    archive_of(client).put("curation/k", b"")


def writing_what_is_new(client: Mock, fault: Exception) -> None:
    client.put_object.side_effect = fault
    archive_of(client).put_new("curation/k", b"")


def locking(client: Mock, fault: Exception) -> None:
    client.get_object_lock_configuration.side_effect = fault
    archive_of(client).protect({"legal_hold": True}, {})


CALLS = [
    listing,
    reading,
    reading_on,
    reading_in_pieces,
    asking_for_a_checksum,
    writing,
    writing_what_is_new,
    locking,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refusal("NoSuchBucket", "Any"), errors.BucketNotFoundError),
        (refusal("InvalidAccessKeyId", "Any"), errors.ArchiveCredentialsError),
        (refusal("SlowDown", "Any"), errors.ArchiveUnavailableError),
        (ReadTimeoutError(endpoint_url="made-up"), errors.ArchiveUnavailableError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), errors.ArchiveUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:40],
)
def test_each_fault_has_its_error(
    call: Callable[[Mock, Exception], None], fault: Exception, kind: type[errors.ArchiveError]
) -> None:
    with pytest.raises(errors.ArchiveError, match="archive") as caught:
        call(Mock(), fault)
    assert type(caught.value) is kind
