"""The compliance DAG under Airflow: it mends what can be mended, and fails with what is lost."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_curation.simulator import Simulator, SimulatorSettings

DAG_FILE = Path(__file__).parents[2] / "dags" / "curation_compliance.py"
BUCKET = "audit-archive"
DAY = timedelta(days=1)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def airflow_database() -> Iterator[None]:
    bundle = {
        "name": "examples",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(DAG_FILE.parent)},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        from airflow.utils import db

        db.initdb()
        yield


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    made_up = {"aws_access_key_id": "made-up-key", "aws_secret_access_key": "made-up-secret"}
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "made-up-key", "password": "made-up-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    client = boto3.client("s3", **extra, **made_up)
    client.create_bucket(Bucket=BUCKET)
    # The account of this S3 API outlives its server.
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)
    server.stop()


@pytest.fixture
def midnight() -> datetime:
    settled = datetime.now(timezone.utc) - timedelta(minutes=10)
    return settled.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def server(midnight: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    settings = SimulatorSettings(events=900, start=midnight - 3 * DAY, end=midnight, tokens=("made-up-token",))
    with Simulator(settings) as simulator:
        monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", simulator.connection_uri())
        yield simulator


def load() -> Any:
    spec = importlib.util.spec_from_file_location("example_compliance", DAG_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag


def run(dag: Any) -> dict[str, str]:
    """Run the DAG; the state of each task instance, mapped ones with their number."""
    name = "logical_date" if "logical_date" in inspect.signature(dag.test).parameters else "execution_date"
    dag_run = dag.test(**{name: datetime.now(timezone.utc)}, run_conf={"days": 3})
    return {
        each.task_id if each.map_index < 0 else f"{each.task_id}[{each.map_index}]": str(each.state)
        for each in dag_run.get_task_instances()
    }


def keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_makes_up_for_days_that_are_missing(s3: Any, server: Simulator) -> None:
    states = run(load())

    # Two of three days of three streams were missing.
    assert [state for name, state in states.items() if name.startswith("mend[")] == ["success"] * 6
    assert set(states.values()) == {"success"}, states
    objects = [key for key in keys(s3) if not key.endswith(".manifest.json")]
    assert len(objects) == 9

    s3.delete_object(Bucket=BUCKET, Key=objects[0])
    states = run(load())
    assert [name for name in states if name.startswith("mend[")] == ["mend[0]"]
    assert set(states.values()) == {"success"}, states
    assert [key for key in keys(s3) if not key.endswith(".manifest.json")] == objects

    states = run(load())
    assert states.pop("mend") == "skipped"
    assert set(states.values()) == {"success"}, states


def test_fails_with_what_is_lost(s3: Any, server: Simulator, capfd: Any, caplog: Any) -> None:
    run(load())
    [lost, *_] = [key for key in keys(s3) if key.endswith(".csv.zip")]
    s3.delete_object(Bucket=BUCKET, Key=lost)
    # The server has forgotten an event of that day since, so that the export would be less than its manifest says.
    server.delete(server.settings.start)

    states = run(load())

    assert states["mend[0]"] == "failed"
    assert states["verify_again"] == "success"
    assert states["conclude"] == "failed"
    said = "".join(capfd.readouterr()) + caplog.text
    assert "1 object_missing" in said
    assert lost in said


def test_fails_with_a_gap_that_the_server_has_forgotten(
    s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    dag = load()
    for task_id in ("verify", "verify_again"):
        dag.get_task(task_id).retention = datetime.now(timezone.utc) - midnight + 2 * DAY + timedelta(hours=1)
    dag.get_task("mend").partial_kwargs["retention"] = dag.get_task("verify").retention

    states = run(dag)

    # All but the first day can be had, and the end of that one: of each stream.
    assert [state for name, state in states.items() if name.startswith("mend[")] == ["success"] * 6
    assert states["verify_again"] == "success"
    assert states["conclude"] == "failed"
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Findings: 3 gap. Exports that still mend some of them: 0." in said
    assert f"[{midnight - 3 * DAY:%Y-%m-%dT%H:%M:%SZ}, " in said
    assert "no export covers it" in said


def test_is_driven_by_the_assets_of_the_exports() -> None:
    timetable = load().timetable
    condition = getattr(timetable, "asset_condition", None) or timetable.dataset_condition
    parts = getattr(condition, "objects", ())
    names = {getattr(asset, "name", None) or asset.uri for asset in parts}
    assert names == {"curation-audit-events", "curation-audit-events-csv", "curation-audit-dry-run"}
