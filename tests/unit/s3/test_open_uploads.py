"""Open uploads are found and aborted, also if an answer of S3 is lost on the way."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.errors import ArchiveAccessDeniedError, ArchiveUnavailableError
from airflow_provider_curation.s3 import open_uploads
from airflow_provider_curation.s3.open_uploads import OpenUploads
from tests.support.s3_model import DirectClient, Store


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_uploads, "LOOK_AGAIN_SECONDS", 0.0)


@pytest.fixture
def client() -> DirectClient:
    """A client of a store with two open uploads to ``k`` and one to ``k2``."""
    client = DirectClient(Store(frozenset()))
    for key in ("k", "k", "k2"):
        client.create_multipart_upload(Bucket="archive", Key=key)
    return client


def keys(client: DirectClient) -> list[str]:
    return [each.key for each in client.store.uploads]


def test_those_of_one_key_are_aborted(client: DirectClient) -> None:
    OpenUploads(client, "archive").abort_all("k")
    assert keys(client) == ["k2"]


@pytest.mark.parametrize("operation", ["AbortMultipartUpload", "ListMultipartUploads"])
@pytest.mark.parametrize("failure", ["lost", "InternalError"])
def test_a_failure_is_followed_by_another_look(client: DirectClient, operation: str, failure: str) -> None:
    client.fails = {operation: [failure] * 3}
    known = client.store.uploads[1].id
    OpenUploads(client, "archive").abort_all("k", known)
    assert keys(client) == ["k2"]


def test_a_failure_that_lasts_is_raised(client: DirectClient) -> None:
    client.fails = {"AbortMultipartUpload": ["InternalError"] * 100}
    with pytest.raises(ArchiveUnavailableError):
        OpenUploads(client, "archive").abort_all("k")
    assert client.asked.count("AbortMultipartUpload") == 4


def test_what_no_retry_mends_is_raised_at_once(client: DirectClient) -> None:
    client.fails = {"AbortMultipartUpload": ["AccessDenied"]}
    with pytest.raises(ArchiveAccessDeniedError, match="s3:AbortMultipartUpload"):
        OpenUploads(client, "archive").abort_all("k")


def test_without_the_permission_to_list_what_is_known_is_aborted(
    client: DirectClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.fails = {"ListMultipartUploads": ["AccessDenied"]}
    uploads = OpenUploads(client, "archive")
    uploads.abort_all("k", client.store.uploads[0].id)
    assert (keys(client), uploads.sighted) == (["k", "k2"], False)
    assert "s3:ListBucketMultipartUploads" in caplog.text
    # It is asked for once.
    assert uploads.below("") == []
    assert client.asked.count("ListMultipartUploads") == 1


def test_an_upload_that_is_gone_already_is_no_fault(client: DirectClient) -> None:
    OpenUploads(client, "archive").abort("k", "gone")
