"""An archive that the pages' examples query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from airflow_provider_curation.s3.location import DEFAULT_KEY
from tests.support.copied_archive import CopiedArchive, copy
from tests.support.exports import START, Bucket, export, s3_client, simulated, truth_jsonl

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, s3_url: str, aws_default: None) -> Iterator[CopiedArchive]:
    """Two days of both streams as JSONL and Parquet."""
    folder = tmp_path_factory.mktemp("archive")
    bucket = Bucket.create(s3_client(s3_url), "queried-archive")
    with simulated(events=900, page_size=500) as server:
        for day in range(2):
            window = {"start": START + day * DAY, "end": START + (day + 1) * DAY}
            for dry_run in (False, True):
                for file_format in ("jsonl", "parquet"):
                    export(
                        bucket,
                        file_format=file_format,
                        dry_run=dry_run,
                        s3_prefix="curation",
                        s3_key=DEFAULT_KEY,
                        **window,
                    )
        truth = [
            [json.loads(line) for line in truth_jsonl(server, dry_run=dry_run).splitlines()]
            for dry_run in (False, True)
        ]
    copy(bucket, "curation", folder)
    yield CopiedArchive(folder, *truth)
    bucket.clear()
    bucket.client.delete_bucket(Bucket=bucket.name)
