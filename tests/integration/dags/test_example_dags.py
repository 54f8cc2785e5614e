"""The exporting DAGs of dags/ under Airflow, against a simulated server and an S3 API: they write what it holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_curation.simulator import Simulator
from tests.support.dags import (
    BUCKET,
    DAGS,
    can_run_without_an_interval,
    keys,
    load,
    run,
    states,
)

EXPORT = DAGS / "curation_audit_daily_export.py"
DAY = timedelta(days=1)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(180, method="thread"),
]


# Airflow, S3 and the server


@pytest.fixture
def server(curation_simulator_factory: Callable[..., Simulator]) -> Simulator:
    return curation_simulator_factory(events=20_000, tokens=("made-up-token",))


def body(s3: Any, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def asset_extras() -> dict[str, dict[str, Any]]:
    """What the latest update of each asset carries, by the asset's name."""
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetEvent as Event
    except ImportError:
        from airflow.models.dataset import DatasetEvent as Event  # type: ignore[no-redef]
    with create_session() as session:
        return {event.uri: dict(event.extra) for event in session.query(Event).order_by(Event.id)}


# With an interval


@pytest.mark.parametrize("path", [EXPORT], ids=lambda path: path.stem)
def test_writes_what_the_server_holds(path: Path, s3: Any, server: Simulator, midnight: datetime) -> None:
    from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

    [dag] = load(path)

    dag_run = run(dag, midnight)

    assert set(states(dag_run).values()) == {"success"}, states(dag_run)
    assert (dag_run.data_interval_start, dag_run.data_interval_end) == (midnight - DAY, midnight)
    expected_keys = set()
    for task in dag.tasks:
        assert isinstance(task, CurationAuditToS3Operator)
        result = xcom(dag_run, task.task_id)
        assert content(s3, result["key"]) == truth(server, midnight, task)
        check_result(s3, result, server, midnight, task)
        check_links(dag_run, result, server, task)
        assert [asset_extras()[outlet.uri] for outlet in task.outlets] == [result] * len(task.outlets)
        expected_keys |= {result["key"], result["manifest_key"]}
    assert set(keys(s3)) == expected_keys
    assert len(expected_keys) == 2 * len(dag.tasks)


def xcom(dag_run: Any, task_id: str) -> dict[str, Any]:
    [instance] = [each for each in dag_run.get_task_instances() if each.task_id == task_id]
    result = instance.xcom_pull(task_ids=task_id)
    assert isinstance(result, dict)
    return result


def content(s3: Any, key: str) -> bytes:
    """What is in an object, without its compression."""
    raw = body(s3, key)
    if key.endswith(".jsonl.gz"):
        return gzip.decompress(raw)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.namelist() == ["audit_packages.csv"]
        return archive.read("audit_packages.csv")


def truth(server: Simulator, midnight: datetime, task: Any) -> bytes:
    window, dry_run = (midnight - DAY, midnight), bool(task.dry_run)
    if task.file_format == "csv":
        return server.truth_csv(*window, dry_run=dry_run)
    return b"".join(line + b"\n" for line in server.truth_lines(*window, dry_run=dry_run))


def check_result(s3: Any, result: dict[str, Any], server: Simulator, midnight: datetime, task: Any) -> None:
    count = server.count(midnight - DAY, midnight, dry_run=bool(task.dry_run))
    raw = body(s3, result["key"])
    assert count > 0
    assert result["events"] == sum(result["actions"].values()) == count
    assert result["stream"] == ("dry_run" if task.dry_run else "events")
    assert (result["bytes"], result["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    manifest = json.loads(body(s3, result["manifest_key"]))
    assert manifest["total_before"] == manifest["total_after"] == manifest["events"] == count
    assert manifest["reconciled"] is True
    assert manifest["dag_run"]["task_id"] == task.task_id


def check_links(dag_run: Any, result: dict[str, Any], server: Simulator, task: Any) -> None:
    """What the user interface asks for: on Airflow 3 the worker has stored it, on 2 the link is asked."""
    [instance] = [each for each in dag_run.get_task_instances() if each.task_id == task.task_id]
    for link, part in zip(task.operator_extra_links, (result["key"], result["manifest_key"], server.url), strict=True):
        if hasattr(dag_run, "execution_date"):
            address = task.get_extra_links(instance, link.name)
        else:
            address = instance.xcom_pull(task_ids=task.task_id, key=link.xcom_key)
        assert address.startswith("http")
        assert part in unquote(address)


def test_a_second_run_of_a_day_writes_the_same_bytes(s3: Any, server: Simulator, midnight: datetime) -> None:
    [dag] = load(EXPORT)
    run(dag, midnight)
    before = {key: body(s3, key) for key in keys(s3) if "/_manifests/" not in key}
    assert len(before) == 3

    dag_run = run(dag, midnight)

    assert set(states(dag_run).values()) == {"success"}
    assert {key: body(s3, key) for key in keys(s3) if "/_manifests/" not in key} == before


def test_clearing_a_run_of_forty_days_ago_changes_nothing(
    s3: Any,
    curation_simulator_factory: Callable[..., Simulator],
    midnight: datetime,
    errors: dict[str, BaseException],
) -> None:
    day, earlier = midnight - 40 * DAY, ("datetime(2026, 11, 1,", "datetime(2026, 1, 1,")
    server = curation_simulator_factory(events=4_000, start=day - 2 * DAY, end=midnight, tokens=("made-up-token",))
    [dag] = load(EXPORT, earlier)
    for task in dag.tasks:
        # As it was forty days ago, when the server remembered that day.
        task.retention = 60 * DAY
    assert set(states(run(dag, day)).values()) == {"success"}
    before = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert len(before) == 6
    server.hide(day - 2 * DAY, midnight - 30 * DAY)

    [dag] = load(EXPORT, earlier)
    dag_run = run(dag, day, retries=5)

    assert set(states(dag_run).values()) == {"failed"}
    assert {type(error).__name__ for error in errors.values()} == {"ExpiredWindowError"}
    assert s3.list_objects_v2(Bucket=BUCKET)["Contents"] == before
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_no_parameter_sends_events_to_another_bucket(s3: Any, server: Simulator, midnight: datetime) -> None:
    s3.create_bucket(Bucket="another-archive")
    [dag] = load(EXPORT)

    run(dag, midnight, bucket="another-archive")

    assert len(keys(s3)) == 6
    assert s3.list_objects_v2(Bucket="another-archive")["KeyCount"] == 0


# Without one


def test_an_empty_interval_is_refused_with_the_cure(
    s3: Any, server: Simulator, midnight: datetime, errors: dict[str, BaseException]
) -> None:
    [dag] = load(EXPORT, ('CronDataIntervalTimetable("@daily", timezone="UTC")', "None"))

    dag_run = run(dag, midnight + timedelta(minutes=1), retries=5)

    assert dag_run.data_interval_start == dag_run.data_interval_end
    refused_with_the_cure(dag_run, errors, s3, server)
    for error in errors.values():
        assert "empty data interval" in str(error)
        assert "CronDataIntervalTimetable('@daily', timezone='UTC')" in str(error)


def test_no_interval_is_refused_with_the_cure(s3: Any, server: Simulator, errors: dict[str, BaseException]) -> None:
    [dag] = load(EXPORT)
    if not can_run_without_an_interval(dag):
        pytest.skip("Airflow 2 gives every run an interval")

    dag_run = run(dag, None, retries=5)

    assert dag_run.data_interval_start is None
    refused_with_the_cure(dag_run, errors, s3, server)
    for error in errors.values():
        assert "no data interval" in str(error)
        assert "start and end" in str(error)


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Where each task's error will be."""
    from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

    errors: dict[str, BaseException] = {}
    execute = CurationAuditToS3Operator._execute

    def remember(self: Any, context: Any) -> Any:
        try:
            return execute(self, context)
        except Exception as error:
            errors[self.task_id] = error
            raise

    # Callbacks are not told of the error on every Airflow 3.
    monkeypatch.setattr(CurationAuditToS3Operator, "_execute", remember)
    return errors


def refused_with_the_cure(dag_run: Any, errors: dict[str, BaseException], s3: Any, server: Simulator) -> None:
    from airflow_provider_curation.audit.errors import UndefinedWindowError

    tasks = {"export_events", "export_events_csv", "export_dry_run"}
    assert states(dag_run) == dict.fromkeys(tasks, "failed")  # at once: five retries could not help
    assert set(errors) == tasks
    assert all(isinstance(error, UndefinedWindowError) for error in errors.values())
    assert keys(s3) == []
    assert server.requests == []
