"""Formats, their compressions and suffixes."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.errors import (
    InvalidArgumentError,
)
from airflow_provider_curation.audit.exporting.file_format import FileFormat


@pytest.mark.parametrize(
    ("file_format", "compression", "suffix"),
    [
        ("jsonl", None, ".jsonl.gz"),
        ("jsonl", "gzip", ".jsonl.gz"),
        ("jsonl", "zip", ".jsonl.zip"),
        ("jsonl", "zstd", ".jsonl.zst"),
        ("jsonl", "none", ".jsonl"),
        ("csv", None, ".csv.zip"),
        ("csv", "zip", ".csv.zip"),
    ],
)
def test_formats_have_their_suffix(file_format: str, compression: str | None, suffix: str) -> None:
    assert FileFormat.of(file_format, compression).suffix == suffix


@pytest.mark.parametrize(
    ("file_format", "compression", "named"),
    [
        ("avro", None, "file_format='avro'"),
        ("JSONL", None, "file_format='JSONL'"),
        ("jsonl", "brotli", "compression='brotli'"),
        ("jsonl", "", "compression=''"),
        ("csv", "zstd", "compression='zstd' does not go with file_format='csv'"),
        ("csv", "none", "compression='none'"),
    ],
)
def test_a_format_that_does_not_exist_is_refused_by_name(file_format: str, compression: str | None, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{named}"):
        FileFormat.of(file_format, compression)
