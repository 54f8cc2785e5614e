"""The example DAG for past ranges under a real scheduler: a pool bounds it, its summary names what is missing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from tests.system.deployment import Deployment, Span, key_of, manifest_key
from tests.system.processes import eventually

pytestmark = [pytest.mark.system, pytest.mark.integration, pytest.mark.timeout(600)]

DAG_ID = "curation_audit_backfill"
POOL = "default_pool"
#: Where the example writes.
PLACE = "curation"


@pytest.fixture
def emptied(deployed: Deployment) -> Deployment:
    """The deployment without any export of the example DAG."""
    for key in deployed.under(PLACE):
        deployed.bucket.client.delete_object(Bucket=deployed.bucket.name, Key=key)
    return deployed


def _trigger(deployed: Deployment, run_id: str, span: Span, **conf: Any) -> str:
    conf |= {"start": span[0].isoformat(), "end": span[1].isoformat()}
    deployed.airflow.command("dags", "trigger", DAG_ID, "--run-id", run_id, "--conf", json.dumps(conf))
    return run_id


def _set_pool(deployed: Deployment, slots: int) -> None:
    deployed.airflow.command("pools", "set", POOL, str(slots), "All tasks")


def _exports(deployed: Deployment, run_id: str, columns: str) -> list[tuple[Any, ...]]:
    query = f"select {columns} from task_instance where dag_id = ? and run_id = ? and task_id = 'export'"
    return deployed.airflow.rows(f"{query} order by map_index", DAG_ID, run_id)


def test_a_range_runs_as_many_exports_at_a_time_as_its_pool_has_slots(emptied: Deployment) -> None:
    deployed = emptied
    # One slot, where the DAG itself would run two at a time.
    _set_pool(deployed, 1)
    deployed.server.reset_log()
    asked = (deployed.day(-35), deployed.day(-22))
    run = _trigger(deployed, "long", asked, step=192, streams=["events", "dry_run"], formats=["jsonl", "csv"])

    assert deployed.ended(DAG_ID, run, 400) == "success"
    times = sorted(_exports(deployed, run, "start_date, end_date, try_number"))
    assert {tries for *_, tries in times} == {1}
    assert all(end <= start for (_, end, _), (start, *_) in pairwise(times))

    # One slot is one connection's concurrency; nothing else reads from this server meanwhile.
    assert 1 <= max(request.in_flight for request in deployed.server.requests) <= 4

    summary = deployed.xcom(DAG_ID, run, "summary")
    first = datetime.fromisoformat(summary["start"].replace("Z", "+00:00"))
    # What the server has forgotten, or will have within the hour, was left out, and said.
    assert abs(datetime.now(timezone.utc) - timedelta(days=30) + timedelta(hours=1) - first) < timedelta(minutes=15)
    assert summary["start"] in summary["note"]
    assert summary["note"] in deployed.task_logs(DAG_ID)
    # Edges are at whole steps from the start that was asked for.
    spans = list(pairwise([first, asked[0] + timedelta(hours=192), asked[1]]))
    kinds = [(stream, suffix) for stream in ("events", "dry_run") for suffix in (".jsonl.gz", ".csv.zip")]
    wanted = [(span, *kind) for span in spans for kind in kinds]
    deployed.assert_exported(PLACE, wanted, deployed.server)
    assert len(times) == summary["exports"] == len(wanted)
    counts = [deployed.server.count(first, asked[1], dry_run) for dry_run in (False, True)]
    assert summary["events"] == sum(counts) > 0


def test_a_piece_that_fails_is_named_and_comes_with_the_next_try(emptied: Deployment) -> None:
    deployed, client = emptied, emptied.bucket.client
    _set_pool(deployed, 2)
    spans = deployed.days(-15, 4)
    whole = _trigger(deployed, "whole", (spans[0][0], spans[1][1]))
    assert deployed.ended(DAG_ID, whole) == "success"
    # At the third day's key is what belongs to the first: nothing that an export may replace.
    instance = deployed.instance(deployed.server)
    source, target = (key_of(PLACE, instance, span, "events", ".jsonl.gz") for span in (spans[0], spans[2]))
    wrong = {source: target, manifest_key(source): manifest_key(target)}
    for key, copy in wrong.items():
        origin = {"Bucket": deployed.bucket.name, "Key": key}
        client.copy_object(Bucket=deployed.bucket.name, Key=copy, CopySource=origin)

    run = _trigger(deployed, "wounded", (spans[0][0], spans[-1][1]))
    assert deployed.ended(DAG_ID, run) == "failed"
    assert _exports(deployed, run, "state, try_number") == [("success", 1)] * 2 + [("failed", 1)] + [("success", 1)]
    logs = deployed.task_logs(DAG_ID)
    assert "ShrinkError" in logs
    assert f"s3://{deployed.bucket.name}/{target} holds another window" in logs
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in spans[2])
    assert "MissingExportsError" in logs
    assert f"1 of 4 exports are missing: [{start}, {end}) events jsonl" in logs

    for key in wrong.values():
        client.delete_object(Bucket=deployed.bucket.name, Key=key)
    # As the error advises.
    body = {"dry_run": False, "dag_run_id": run, "task_ids": ["export"], "only_failed": True}
    body |= {"include_downstream": True, "reset_dag_runs": True}
    status, answer = deployed.airflow.api("POST", f"dags/{DAG_ID}/clearTaskInstances", body)
    assert status == 200, answer
    assert {each["task_id"] for each in answer["task_instances"]} == {"export", "summary"}, answer
    eventually(lambda: deployed.run_state(DAG_ID, run) == "success", 240, "end of the cleared run")
    assert _exports(deployed, run, "try_number") == [(1,), (1,), (2,), (1,)]
    deployed.assert_complete(PLACE, spans)
