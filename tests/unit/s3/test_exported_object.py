"""What S3 says of an object that was written: its checksum must be that of the bytes that were sent."""

from __future__ import annotations

import io
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.s3.exported_object import S3Object
from airflow_provider_curation.s3.upload import Upload


def written(head: dict[str, Any]) -> S3Object:
    """An object whose upload was sent, and of which S3 says this."""
    client = Mock()
    client.meta.config.request_checksum_calculation = "when_supported"
    client.create_multipart_upload.return_value = {"UploadId": "1"}
    client.upload_part.return_value = {"ETag": '"part"'}
    target = S3Object("archive", "k", "_manifests/k.json", aws_conn_id=None)
    client.head_object.return_value = {
        "ContentLength": 3,
        "ETag": '"whole-1"',
        "Metadata": {"curation-export-try": target._token},
        **head,
    }
    vars(target)["_client"] = client
    target._upload = Upload(client, "archive", "k", {})
    target._upload.send(io.BytesIO(b"any"))
    return target


@pytest.mark.parametrize("behind", ["", "-1"])
def test_the_checksum_of_what_was_sent(behind: str) -> None:
    target = written({})
    assert target._upload
    value = f"{target._upload.checksum}{behind}"
    stored = written({"ChecksumSHA256": value}).stored()
    assert stored["checksum"] == {"algorithm": "SHA256", "type": "COMPOSITE", "value": value}


def test_other_bytes_are_found_at_once() -> None:
    with pytest.raises(IncompleteExportError, match="S3 keeps the SHA-256 AAAA-1 of the upload's parts"):
        written({"ChecksumSHA256": "AAAA-1"}).stored()


def test_a_store_without_checksums_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert written({}).stored()["checksum"] is None
    [record] = caplog.records
    assert record.getMessage() == "The store keeps no SHA-256 of s3://archive/k, so its manifest names none."
