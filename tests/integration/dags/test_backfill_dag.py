"""The DAG for a long range, under Airflow: all of it is exported, or its summary fails and names what is missing."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.dags import BUCKET, DAGS, empty_bucket, load, run, states
from tests.support.exports import Bucket, aws_connection, s3_client

BACKFILL = DAGS / "curation_audit_backfill.py"
DAY = timedelta(days=1)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(180, method="thread"),
]


@pytest.fixture(scope="module")
def server(midnight: datetime) -> Iterator[Simulator]:
    settings = SimulatorSettings(events=3000, start=midnight - 40 * DAY, end=midnight + DAY)
    with Simulator(settings) as simulator, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_CURATION_DEFAULT", simulator.connection_uri())
        yield simulator


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws_connection(s3_url)))
    return Bucket(empty_bucket(s3_client(s3_url)), BUCKET)


def backfill(midnight: datetime, start: datetime, end: datetime, **conf: Any) -> Any:
    [dag] = load(BACKFILL)
    return run(dag, midnight, start=start.isoformat(), end=end.isoformat(), **conf)


def result(dag_run: Any, task_id: str) -> Any:
    [instance] = [each for each in dag_run.get_task_instances() if each.task_id == task_id]
    return instance.xcom_pull(task_ids=task_id)


def exported(bucket: Bucket, stream: str = "events") -> bytes:
    """The lines of all JSONL objects of a stream, in order of their keys, which is that of time."""
    found = [key for key in bucket.objects() if f"/stream={stream}/" in key and key.endswith(".jsonl.gz")]
    return b"".join(bucket.content(key) for key in found)


def truth(server: Simulator, start: datetime, end: datetime, dry_run: bool = False) -> bytes:
    return b"".join(line + b"\n" for line in server.truth_lines(start, end, dry_run=dry_run))


def remember_errors(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """What a function's errors will say: Airflow's logs differ, and break lines."""
    function, said = getattr(module, name), []

    def remember(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            said.append(str(error))
            raise

    monkeypatch.setattr(module, name, remember)
    return said


def test_a_range_is_exported_whole(server: Simulator, bucket: Bucket, midnight: datetime) -> None:
    start, end = midnight - 5 * DAY, midnight - timedelta(hours=6)

    dag_run = backfill(
        midnight, start, end, step=72, streams=["events", "dry_run"], formats=["jsonl", "csv", "parquet"]
    )

    assert states(dag_run) == {
        "windows": "success",
        "summary": "success",
        **{f"export[{index}]": "success" for index in range(12)},
    }
    names = [str(each.rendered_map_index) for each in dag_run.get_task_instances() if each.task_id == "export"]
    assert f"{start:%Y-%m-%d} events jsonl" in names
    assert len(set(names)) == 12
    assert exported(bucket) == truth(server, start, end)
    assert exported(bucket, "dry_run") == truth(server, start, end, dry_run=True)
    for ending in (".csv.zip", ".parquet"):
        assert len([key for key in bucket.objects() if key.endswith(ending)]) == 4
    assert len(bucket.objects()) == 24  # with their manifests
    summary = result(dag_run, "summary")
    counted = server.count(start, end) + server.count(start, end, dry_run=True)
    assert (summary["exports"], summary["events"], summary["note"]) == (12, counted, "")


def test_what_cannot_be_had_is_left_out_and_said(
    server: Simulator, bucket: Bucket, midnight: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dag_run = backfill(midnight, midnight - 40 * DAY, midnight + 2 * DAY, step=7 * 24)

    assert set(states(dag_run).values()) == {"success"}
    summary = result(dag_run, "summary")
    start, end = (datetime.fromisoformat(summary[name].replace("Z", "+00:00")) for name in ("start", "end"))
    now = datetime.now(timezone.utc)
    assert timedelta(days=29, hours=22) < now - start < timedelta(days=29, hours=23, minutes=5)
    assert timedelta(minutes=5) <= now - end < timedelta(minutes=10)
    assert exported(bucket) == truth(server, start, end)
    assert "the server has forgotten it" in summary["note"]
    assert "not settled" in summary["note"]


def test_a_missing_piece_fails_the_summary(
    server: Simulator, bucket: Bucket, midnight: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_curation import backfill as module
    from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

    broken = f"{midnight - 2 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    execute = CurationAuditToS3Operator._execute

    def fail_one(self: Any, context: Any) -> Any:
        if self.start == broken:
            raise OSError("the disk is full")
        return execute(self, context)

    monkeypatch.setattr(CurationAuditToS3Operator, "_execute", fail_one)
    said = remember_errors(monkeypatch, module, "_summary")

    dag_run = backfill(midnight, midnight - 3 * DAY, midnight)

    assert states(dag_run) == {
        "windows": "success",
        "export[0]": "success",
        "export[1]": "failed",
        "export[2]": "success",
        "summary": "failed",
    }
    [message] = said
    assert message.startswith(f"1 of 3 exports are missing: [{broken}, ")
    assert "events jsonl" in message
    assert len(bucket.objects()) == 4


def test_a_second_run_writes_the_same(server: Simulator, bucket: Bucket, midnight: datetime) -> None:
    def objects() -> dict[str, bytes]:
        return {key: bucket.body(key) for key in bucket.exports()}

    backfill(midnight, midnight - 2 * DAY, midnight)
    before = objects()
    assert len(before) == 2
    backfill(midnight, midnight - 2 * DAY, midnight)

    assert objects() == before


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"start": None}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"step": 0}, "step"),
        ({"streams": ["everything"]}, "streams"),
        ({"formats": []}, "formats"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_parameters_that_cannot_be_used_are_refused_by_airflow(
    conf: dict[str, Any], message: str, server: Simulator, bucket: Bucket, midnight: datetime
) -> None:
    from airflow.providers.common.compat.sdk import ParamValidationError

    [dag] = load(BACKFILL)
    day = {"start": f"{midnight - DAY:%Y-%m-%dT%H:%M:%SZ}", "end": f"{midnight:%Y-%m-%dT%H:%M:%SZ}"}
    params = copy.deepcopy(dag.params)
    params.update(day)
    params.validate()

    with pytest.raises((ParamValidationError, ValueError), match=message):
        params.update(conf)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (-1, -2, r"start \(.*\) is not before its end"),
        (-60, -50, "forgotten all of"),
        (2, 3, "Nothing of .* has settled"),
    ],
)
def test_a_range_that_cannot_be_is_refused_and_nothing_is_written(
    start: int,
    end: int,
    message: str,
    server: Simulator,
    bucket: Bucket,
    midnight: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_provider_curation import backfill as module

    said = remember_errors(monkeypatch, module, "export_windows")

    dag_run = backfill(midnight, midnight + start * DAY, midnight + end * DAY)

    ended = states(dag_run)
    assert ended["windows"] == ended["summary"] == "failed"
    assert ended["export"] == "upstream_failed"
    bucket.assert_untouched()
    assert re.search(message, said[0])


def test_the_form_has_a_description_of_each_parameter() -> None:
    [dag] = load(BACKFILL)

    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema["type"]
        assert schema["title"]
    assert all(dag.params.get_param(name).description for name in dag.params)


def test_the_daily_export_goes_before_a_backfill_in_a_pool_they_share() -> None:
    """A backfill's `summary` must not add to the weight of the exports before it."""
    [backfill], [daily] = load(BACKFILL), load(DAGS / "curation_audit_daily_export.py")
    export = backfill.get_task("export")

    # Airflow 2 has an object, with its address in its text.
    assert all("absolute" in str(task.weight_rule).lower() for task in [*daily.tasks, export])
    assert min(task.priority_weight for task in daily.tasks) > export.priority_weight


def test_the_bucket_is_not_for_whoever_may_trigger_it_to_choose() -> None:
    for name in ("curation_audit_backfill", "curation_audit_daily_export"):
        [dag] = load(DAGS / f"{name}.py")
        assert "bucket" not in dag.params


def test_its_exports_are_bounded_and_need_no_pool_that_nobody_made() -> None:
    [dag] = load(BACKFILL)

    assert {task.pool for task in dag.tasks} == {"default_pool"}
    assert dag.get_task("export").max_active_tis_per_dag == 2
    assert dag.max_active_runs == 1
