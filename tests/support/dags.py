"""The files of dags/ under Airflow, in this process: loading them, running them, and what became of a run."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).parents[2] / "dags"
BUCKET = "audit-archive"

#: As text, to stand for a file's own schedule: with an interval, and without one.
DAILY = (
    '__import__("airflow.timetables.interval", fromlist=["CronDataIntervalTimetable"])'
    '.CronDataIntervalTimetable("@daily", timezone="UTC")'
)
NO_SCHEDULE = "None"


@contextmanager
def airflow_database() -> Iterator[None]:
    """Give this process a database of its own, which knows the folder of DAGs."""
    bundle = {
        "name": "examples",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(DAGS)},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        from airflow.utils import db

        db.initdb()
        _register()
        share_the_api(environment)
        yield


def share_the_api(environment: pytest.MonkeyPatch) -> None:
    """Let all tasks of this process share Airflow's API, and wait until it has started.

    Airflow 3.0 to 3.2 build it anew for each task of `dag.test`, which takes seconds, and ask it while it starts.
    """
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:
        return
    submit = asyncio.run_coroutine_threadsafe

    def submit_and_wait(coroutine: Any, loop: Any) -> Any:
        future = submit(coroutine, loop)
        if coroutine.__name__ == "start_lifespan":
            future.result(timeout=60)
        return future

    environment.setattr(asyncio, "run_coroutine_threadsafe", submit_and_wait)
    environment.setattr(supervisor, "in_process_api_server", functools.cache(supervisor.in_process_api_server))


def _register() -> None:
    """Have the database know the assets of the DAGs; from Airflow 3.1 on `dag.test` does it."""
    from airflow import __version__
    from airflow.models import DagBag as CurrentDagBag

    # Its arguments and methods differ between versions.
    DagBag: Any = CurrentDagBag
    if __version__.startswith("2."):
        DagBag(str(DAGS), include_examples=False).sync_to_db()
    elif __version__.startswith("3.0."):
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
        DagBag(str(DAGS), include_examples=False).sync_to_db("examples", None)


def load(path: Path, change: tuple[str, str] = ("", ""), schedule: str | None = None) -> list[Any]:
    """The DAGs of a file, with a piece of its text replaced by another.

    :param schedule: an expression in place of each schedule of the file.
    """
    from airflow.providers.common.compat.sdk import DAG

    source = path.read_text()
    assert change[0] in source
    if change[0]:
        source = source.replace(*change)
    if schedule is not None:
        source, number = re.subn(r"(?m)^( +)schedule=.*,$", lambda found: f"{found[1]}schedule={schedule},", source)
        assert number, f"{path.name} has no schedule on a line of its own"
    names: dict[str, Any] = {"__name__": f"example_{path.stem}", "__file__": str(path)}
    exec(compile(source, path, "exec"), names)
    return [value for value in names.values() if isinstance(value, DAG)]


def can_run_without_an_interval(dag: Any) -> bool:
    """Whether this Airflow has runs without a logical date: Airflow 2 has none."""
    return "logical_date" in inspect.signature(dag.test).parameters


def run(dag: Any, logical_date: datetime | None, retries: int = 0, **conf: Any) -> Any:
    """One run, in this process; its parameter for the date differs between Airflow's versions.

    Retries are waited for as in earnest, so that a test has to ask for them.
    """
    for task in dag.tasks:
        getattr(task, "partial_kwargs", {}).update(retries=retries)
        if not hasattr(task, "partial_kwargs"):
            task.retries = retries
    name = "logical_date" if can_run_without_an_interval(dag) else "execution_date"
    return dag.test(**{name: logical_date}, run_conf=conf)


def states(dag_run: Any) -> dict[str, str]:
    """The states of a run's tasks, by ``task`` or ``task[index]``."""
    return {
        each.task_id if each.map_index < 0 else f"{each.task_id}[{each.map_index}]": str(each.state)
        for each in dag_run.get_task_instances()
    }


def keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def forget_variables() -> None:
    """Delete Airflow's variables, so that no DAG knows what an earlier test has noted."""
    from airflow.models import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Variable))


def empty_bucket(client: Any) -> Any:
    """The client, once it has the DAGs' bucket with nothing in it."""
    client.create_bucket(Bucket=BUCKET)
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    return client
