"""An upload in parts: S3 is asked to keep a SHA-256 of them, unless the store or its user does not want that."""

from __future__ import annotations

import base64
import hashlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_curation.s3.conditions import Conditions
from airflow_provider_curation.s3.upload import PART_BYTES, Upload

CONTENT = bytes(PART_BYTES) + b"the last part"


class Store:
    """What takes an upload in parts.

    :param refuses: the code of its answer to an upload with a checksum.
    """

    def __init__(self, refuses: str | None = None, config: str | None = "when_supported") -> None:
        names = {} if config is None else {"request_checksum_calculation": config}
        self.meta = SimpleNamespace(config=SimpleNamespace(**names))
        self.created: list[dict[str, Any]] = []
        self.parts: list[dict[str, Any]] = []
        self.completed: dict[str, Any] = {}
        self._refuses = refuses

    def create_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        self.created.append(asked)
        if self._refuses and ("ChecksumAlgorithm" in asked or self._refuses == "AccessDenied"):
            raise ClientError({"Error": {"Code": self._refuses}}, "CreateMultipartUpload")
        return {"UploadId": "1"}

    def upload_part(self, **asked: Any) -> dict[str, Any]:
        self.parts.append({**asked, "Body": bytes(asked["Body"])})
        # As S3 answers; a store that knows no checksums echoes none.
        echoed = {} if self._refuses else {name: asked[name] for name in ("ChecksumSHA256",) if name in asked}
        return {"ETag": '"part"', **echoed}

    def complete_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        self.completed = asked
        return {}


def sent(store: Store, **arguments: Any) -> Upload:
    upload = Upload(store, "archive", "k", arguments)
    upload.send(io.BytesIO(CONTENT))
    upload.complete(Conditions("s3://archive"), {})
    return upload


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


@pytest.mark.parametrize("config", ["when_supported", None])
def test_s3_is_asked_for_sha256(config: str | None) -> None:
    store = Store(config=config)
    upload = sent(store)
    assert store.created == [{"Bucket": "archive", "Key": "k", "ChecksumAlgorithm": "SHA256"}]
    parts = [CONTENT[:PART_BYTES], CONTENT[PART_BYTES:]]
    assert [(each["Body"], each["ChecksumSHA256"]) for each in store.parts] == [(part, sha256(part)) for part in parts]
    assert [each["ChecksumSHA256"] for each in store.completed["MultipartUpload"]["Parts"]] == list(map(sha256, parts))
    whole = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert upload.checksum == sha256(whole)


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("whole", [0, 1, 2])
def test_a_stream_is_sent_in_whole_parts_and_a_last_one(
    whole: int, extra: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_curation.s3.upload.PART_BYTES", 10)
    content = bytes(range(max(0, whole * 10 + extra)))
    store = Store()
    Upload(store, "archive", "k", {}).send(io.BytesIO(content))
    expected = [content[place : place + 10] for place in range(0, len(content), 10)]
    assert [part["Body"] for part in store.parts] == (expected or [b""])


@pytest.mark.parametrize("code", ["NotImplemented", "InvalidRequest", "InvalidArgument"])
def test_a_store_that_refuses_it_is_noticed_once(code: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(refuses=code)
    upload = sent(store)
    assert upload.checksum is None
    assert ["ChecksumAlgorithm" in asked for asked in store.created] == [True, False]
    assert [name for part in store.parts for name in part if name.startswith("Checksum")] == []
    [record] = caplog.records
    assert f"s3://archive refuses to keep a SHA-256 of an upload ({code})" in record.getMessage()


def test_another_refusal_is_not_taken_for_that(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(refuses="AccessDenied")
    with pytest.raises(ClientError, match="AccessDenied"):
        sent(store)
    assert len(store.created) == 1
    assert caplog.records == []


def test_a_client_that_is_to_send_no_checksums_sends_none() -> None:
    store = Store(config="when_required")
    assert sent(store).checksum is None
    assert [name for asked in (*store.created, *store.parts) for name in asked if name.startswith("Checksum")] == []


def test_the_users_own_algorithm_is_kept() -> None:
    store = Store()
    assert sent(store, ChecksumAlgorithm="CRC32").checksum is None
    assert [asked["ChecksumAlgorithm"] for asked in (*store.created, *store.parts)] == ["CRC32"] * 3
