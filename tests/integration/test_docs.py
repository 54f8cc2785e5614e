"""What the documentation shows, run as it stands there."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.manifest import Manifest
from airflow_provider_curation.audit.evidence.repair import REPAIRED_BY_EXPORT
from airflow_provider_curation.s3.location import DEFAULT_KEY
from tests.support.exports import Bucket, export, s3_client, simulated

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook_examples() -> ModuleType:
    return load("hook")


def test_the_hooks_page(hook_examples: ModuleType, tmp_path: Path) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    today = now.replace(hour=0, minute=0, second=0)
    # The examples look back from a later moment than this one: no event is near the beginning of their windows.
    margin = timedelta(minutes=10)
    with simulated(start=now - timedelta(days=30) + margin, end=now, events=500, page_size=200) as simulator:
        events: list[dict[str, Any]] = []
        hook_examples.thirty_days(events.append)
        assert events == list(simulator.truth(now - timedelta(days=30), now + timedelta(minutes=1)))

        count, newest = hook_examples.count_and_page()
        yesterday = list(simulator.truth(today - timedelta(days=1), today))
        assert (count, newest) == (len(yesterday), yesterday[-1])

    with simulated(start=now - timedelta(days=7) + margin, end=now, events=500) as simulator:
        held = hook_examples.csv(str(tmp_path / "audit.zip"))
        assert held["events"] == simulator.count(now - timedelta(days=7), now + timedelta(minutes=1)) == 500


def load(name: str) -> ModuleType:
    path = DOCS / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"docs_examples_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_on_evidence(s3_url: str, aws_default: None, capsys: pytest.CaptureFixture[str]) -> None:
    # Every S3 API of this process has the same buckets, and other tests use this one.
    bucket = Bucket.create(s3_client(s3_url), "audit-archive")
    bucket.clear()
    start = datetime(2026, 10, 1, tzinfo=timezone.utc)
    with simulated(start=start, end=start + timedelta(days=1)):
        export(bucket, start=start, end=start + timedelta(days=1), s3_prefix="curation", s3_key=DEFAULT_KEY)
    said = load("evidence").verify_october()
    assert "1 manifests, 400 events" in said
    assert "gap" in capsys.readouterr().out
    bucket.clear()
    bucket.client.delete_bucket(Bucket=bucket.name)


def test_evidence_names_every_field_and_finding() -> None:
    text = (DOCS / "explanation" / "evidence.md").read_text()
    cells = {name for line in text.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)}
    assert {field.name for field in dataclasses.fields(Manifest)} <= cells
    for kind in FindingKind:
        [line] = [line for line in text.splitlines() if line.startswith(f"| `{kind.value}` |")]
        assert line.endswith("| yes |") == (kind in REPAIRED_BY_EXPORT), line
