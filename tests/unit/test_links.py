"""The links from a task to the object and to the server's page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_curation import links
from airflow_provider_curation.get_provider_info import get_provider_info
from airflow_provider_curation.links import CurationAuditLink, S3ObjectLink
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from airflow_provider_curation.transfers.export_job import Exported

LINKS = [S3ObjectLink, CurationAuditLink]


class TaskInstance:
    """What pushes XComs."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[Any, str], Any]:
    """XComs by task instance and key."""
    xcoms: dict[tuple[Any, str], Any] = {}
    monkeypatch.setattr(links, "stored_xcom", lambda ti_key, key: xcoms.get((ti_key, key)))
    return xcoms


@pytest.mark.parametrize("link", LINKS)
def test_gives_back_what_its_task_stored(link: Any, stored: dict[tuple[Any, str], Any]) -> None:
    task_instance = TaskInstance()
    link.store({"ti": task_instance}, "https://acme.example/a")
    stored.update({("this task", key): value for key, value in task_instance.pushed.items()})

    assert link().get_link(None, ti_key="this task") == "https://acme.example/a"
    assert link().get_link(None, ti_key="another task") == ""


def test_links_are_stored_apart() -> None:
    task_instance = TaskInstance()
    for link in LINKS:
        link.store({"ti": task_instance}, link.name)
    assert len(task_instance.pushed) == len({link.name for link in LINKS}) == 2


@pytest.mark.parametrize("link", LINKS)
def test_a_context_without_a_task_stores_nothing(link: Any) -> None:
    link.store({}, "https://acme.example/a")


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("audit-archive", "curation/acme.example/events/dt=2026-03-09/a.jsonl.gz"),
        ("audit-archive", "with space/and&more?=#+%20/ü.csv.zip"),
    ],
)
def test_the_objects_address_names_bucket_and_key(bucket: str, key: str) -> None:
    parts = urlsplit(S3ObjectLink.address(bucket, key))

    assert (parts.scheme, parts.hostname) == ("https", "console.aws.amazon.com")
    assert parts.path == f"/s3/object/{bucket}"
    assert parse_qs(parts.query) == {"prefix": [key]}


def test_the_operator_has_them_and_the_metadata_lists_them() -> None:
    assert [type(link) for link in CurationAuditToS3Operator.operator_extra_links] == LINKS
    listed = get_provider_info()["extra-links"]
    assert listed == [f"{link.__module__}.{link.__qualname__}" for link in LINKS]


def test_the_task_stores_both() -> None:
    task_instance = TaskInstance()
    task = CurationAuditToS3Operator(task_id="export", s3_bucket="audit-archive")
    task.hook = SimpleNamespace(audit_page_url="https://acme.example/ui")
    target = SimpleNamespace(
        uri="s3://audit-archive/a", bucket="audit-archive", key="a", manifest_key="_manifests/a.json"
    )
    names = ("start", "end", "stream", "format", "events", "rows", "size", "sha256", "actions")

    task._announce({"ti": task_instance}, target, Exported(dict.fromkeys(names), uploaded=True))  # type: ignore[arg-type]

    assert sorted(task_instance.pushed.values()) == [
        "https://acme.example/ui",
        S3ObjectLink.address("audit-archive", "a"),
    ]
