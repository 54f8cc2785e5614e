"""The links from a task to the object and to the server's page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from airflow_provider_curation import links
from airflow_provider_curation.get_provider_info import get_provider_info
from airflow_provider_curation.links import (
    CurationAuditLink,
    CurationReportLink,
    S3ArchiveLink,
    S3ManifestLink,
    S3ObjectLink,
    S3SealLink,
)
from airflow_provider_curation.operators.curation_audit_report import CurationAuditReportOperator
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.s3.web import folder_page, object_page
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from airflow_provider_curation.transfers.export_job import Exported

LINKS = [S3ObjectLink, S3ManifestLink, S3ArchiveLink, S3SealLink, CurationAuditLink, CurationReportLink]


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


@pytest.mark.parametrize("link", LINKS)
def test_airflow_3_stores_a_link_where_its_task_did(link: Any) -> None:
    task_instance = TaskInstance()
    link.store({"ti": task_instance}, "https://acme.example/a")
    assert list(task_instance.pushed) == [link().xcom_key]


def test_links_are_stored_apart() -> None:
    task_instance = TaskInstance()
    for link in LINKS:
        link.store({"ti": task_instance}, str(link.name))
    assert len(task_instance.pushed) == len({link.name for link in LINKS}) == len(LINKS)


@pytest.mark.parametrize("link", LINKS)
def test_a_context_without_a_task_stores_nothing(link: Any) -> None:
    link.store({}, "https://acme.example/a")


def client(endpoint_url: str, region: str = "eu-west-1") -> Any:
    return SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint_url, region_name=region))


AWS = client("https://s3.eu-west-1.amazonaws.com")
MINIO = client("http://minio.example:9000/")


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("audit-archive", "curation/acme.example/events/dt=2026-03-09/a.jsonl.gz"),
        ("audit-archive", "with space/and&more?=#+%20/ü.csv.zip"),
    ],
)
def test_an_objects_page_names_bucket_and_key(bucket: str, key: str) -> None:
    parts = urlsplit(object_page(AWS, bucket, key))
    assert (parts.scheme, parts.hostname) == ("https", "console.aws.amazon.com")
    assert parts.path == f"/s3/object/{bucket}"
    assert parse_qs(parts.query) == {"prefix": [key]}

    elsewhere = urlsplit(object_page(MINIO, bucket, key))
    assert elsewhere.netloc == "minio.example:9000"
    assert unquote(elsewhere.path) == f"/{bucket}/{key}"
    assert elsewhere.query == ""


@pytest.mark.parametrize(
    ("store", "page"),
    [
        (AWS, "https://console.aws.amazon.com/s3/buckets/audit?prefix=curation/"),
        (client("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"), "https://console.aws.amazon.com/s3/buckets/"),
        (client("https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"), "https://console.amazonaws-us-gov.com/s3/"),
        (client("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"), "https://console.amazonaws.cn/s3/buckets/"),
        (client("https://amazonaws.com.evil.example"), "https://amazonaws.com.evil.example/audit?prefix=curation/"),
        (MINIO, "http://minio.example:9000/audit?prefix=curation/"),
    ],
)
def test_the_clients_endpoint_decides_where_a_page_is(store: Any, page: str) -> None:
    assert folder_page(store, "audit", "curation/").startswith(page)


def test_the_operators_have_them_and_the_metadata_lists_them() -> None:
    operators = (
        CurationAuditToS3Operator,
        CurationAuditVerifyOperator,
        CurationAuditReportOperator,
        CurationBlockedEventsSensor,
    )
    used = {type(link) for operator in operators for link in operator.operator_extra_links}
    assert used == set(LINKS)
    listed = get_provider_info()["extra-links"]
    assert listed == [f"{link.__module__}.{link.__qualname__}" for link in LINKS]


def test_the_export_stores_its_links() -> None:
    task_instance = TaskInstance()
    task = CurationAuditToS3Operator(task_id="export", s3_bucket="audit-archive")
    task.hook = SimpleNamespace(audit_page_url="https://acme.example/ui")  # type: ignore[assignment]
    target = SimpleNamespace(
        uri="s3://audit-archive/a",
        bucket="audit-archive",
        key="a",
        manifest_key="_manifests/a.json",
        page="https://store.example/{}".format,
    )
    facts = {
        **dict.fromkeys(("stream", "format", "rows", "size", "sha256")),
        **{"start": "2026-11-05T00:00:00Z", "end": "2026-11-06T00:00:00Z"},
        **{"events": 4058, "actions": {"approved": 3710, "blocked": 348}, "reconciled": True},
    }

    result = task._announce({"ti": task_instance}, target, Exported(facts, uploaded=True))  # type: ignore[arg-type]

    assert sorted(task_instance.pushed.values()) == [
        "https://acme.example/ui",
        "https://store.example/_manifests/a.json",
        "https://store.example/a",
    ]
    assert result["summary"] == "2026-11-05: 4,058 events, 3,710 approved, 348 blocked, reconciled"
