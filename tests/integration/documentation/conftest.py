"""An archive that the pages' examples query."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from airflow_provider_curation.s3.location import DEFAULT_KEY
from tests.support.copied_archive import CopiedArchive, copy
from tests.support.exports import START, Bucket, export, s3_client, simulated, truth_jsonl

DAY = timedelta(days=1)
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture(scope="module")
def query_examples() -> ModuleType:
    """The functions that the page about querying shows."""
    spec = importlib.util.spec_from_file_location("docs_examples_query", EXAMPLES / "query.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
