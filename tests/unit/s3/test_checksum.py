"""SHA-256 of an object's parts, as S3 computes it, and what its answers say of checksums."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.s3.checksum import PartsSha256, checksum_of


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_is_the_sha256_of_the_parts_sha256(parts: list[bytes]) -> None:
    sums = PartsSha256()
    sent = [sums.add(part) for part in parts]
    assert sent == [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert base64.b64decode(str(sums)) == hashlib.sha256(digests).digest()


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ({}, None),
        ({"ChecksumSHA256": "x-2"}, ("SHA256", "COMPOSITE", "x-2")),
        ({"ChecksumSHA256": "x", "ChecksumCRC32": "y"}, ("SHA256", "FULL_OBJECT", "x")),
        ({"ChecksumCRC64NVME": "x", "ChecksumType": "FULL_OBJECT"}, ("CRC64NVME", "FULL_OBJECT", "x")),
    ],
)
def test_what_an_answer_says(head: dict[str, Any], found: tuple[str, str, str] | None) -> None:
    expected = None if found is None else dict(zip(("algorithm", "type", "value"), found, strict=True))
    assert checksum_of({"ContentLength": 1, **head}) == expected
