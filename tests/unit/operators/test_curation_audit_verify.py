"""The verify operator as Airflow stores, renders and runs it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.compat import AirflowFailException
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

YEARS = timedelta(days=7 * 365)


def test_template_fields_are_rendered() -> None:
    names = {name: f"{{{{ params.{name} }}}}" for name in CurationAuditVerifyOperator.template_fields}
    lists = ("known_seals",)
    given: dict[str, Any] = {name: [text] if name in lists else text for name, text in names.items()}
    task = CurationAuditVerifyOperator(task_id="verify", **given)
    values = {name: f"a value of {name}" for name in names}

    task.render_template_fields({"params": values})

    for name, value in values.items():
        assert getattr(task, name) == ([value] if name in lists else value)


@pytest.mark.parametrize("kind", [CurationAuditVerifyOperator, CurationAuditToS3Operator])
def test_a_lock_of_some_years_is_stored_and_rendered(kind: Any) -> None:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized  # type: ignore[assignment]
    lock = {"object_lock_mode": "COMPLIANCE", "object_lock_retain_until": YEARS}
    with DAG("evidence", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        task = kind(task_id="plain", s3_bucket="audit-archive", **lock)
        kind.partial(task_id="mapped", s3_bucket="audit-archive", **lock).expand(start=["2026-01-01T00:00:00Z"])
    stored = Serialized.deserialize_dag(json.loads(json.dumps(Serialized.serialize_dag(dag))))
    for task_id in ("plain", "mapped"):
        assert list(stored.get_task(task_id).template_fields) == list(kind.template_fields)
    task.render_template_fields({})
    assert task.object_lock_retain_until == YEARS


def test_a_run_without_a_period_ends_the_task() -> None:
    task = CurationAuditVerifyOperator(task_id="verify", s3_bucket="audit-archive")
    with pytest.raises(errors.UndefinedWindowError) as caught:
        task.execute({})
    assert isinstance(caught.value, AirflowFailException)


def test_gives_the_days_that_are_left_and_links(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    period = Window(now - timedelta(days=20), now - timedelta(days=1))
    gap = Window(now - timedelta(days=12), now - timedelta(days=11))
    finding = Finding(FindingKind.GAP, "no export covers it", None, gap, Series("acme.example", "events", "jsonl"))
    report = Report("curation", period, now, [finding], seal="curation/_seals/1.json")
    monkeypatch.setattr("airflow_provider_curation.evidence.verify_archive", lambda *_, **__: report)
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://minio.example", region_name="eu-west-1"))
    monkeypatch.setattr("airflow_provider_curation.s3.client.s3_client", lambda _: client)
    gauges: dict[str, float] = {}
    monkeypatch.setattr("airflow_provider_curation.operators.curation_audit_verify.gauge", gauges.__setitem__)
    pushed: dict[str, str] = {}
    context = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    task = CurationAuditVerifyOperator(
        task_id="verify", s3_bucket="audit", start=period.start, end=period.end, on_finding="return"
    )

    result = task.execute(context)  # type: ignore[arg-type]

    assert result["days_left"] == gauges["curation_audit.days_left"] == 18
    assert list(pushed.values()) == [
        "http://minio.example/audit?prefix=curation/",
        "http://minio.example/audit/curation/_seals/1.json",
    ]
