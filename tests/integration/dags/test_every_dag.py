"""Every file of dags/ under Airflow, against a simulated server and S3: with an interval, a zero one and none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.dags import (
    DAGS,
    DAILY,
    NO_SCHEDULE,
    can_run_without_an_interval,
    forget_variables,
    keys,
    load,
    run,
    states,
)

DAY = timedelta(days=1)
AIRFLOW = int(__version__.partition(".")[0])

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(180, method="thread"),
]


# What each file does


@dataclass(frozen=True)
class Case:
    """What a run of a file leads to, of each kind.

    :param objects: with an interval, how many objects are written, manifests included.
    :param objects_without: the same with a zero interval, or with none.
    :param ends: the states of a run's tasks.
    :param fails_without: whether those two kinds of runs are refused.
    :param conf: what the run is triggered with; called with the midnight that the run begins at.
    :param change: a piece of the file's text and what stands for it, so that it can be on a schedule.
    :param airflow: the first major version that has the DAG; before it the file defines none.
    """

    objects: int = 0
    objects_without: int = 0
    ends: frozenset[str] = frozenset({"success"})
    fails_without: bool = False
    conf: Callable[[datetime], dict[str, Any]] = field(default=lambda midnight: {})
    change: tuple[str, str] = ("", "")
    airflow: int = 2


def two_days(midnight: datetime) -> dict[str, Any]:
    return {"start": (midnight - 2 * DAY).isoformat(), "end": midnight.isoformat()}


# Airflow schedules no DAG with a parameter that has no default.
WITH_DEFAULTS = ('Param(\n        type="string"', 'Param(\n        "2026-11-01T00:00:00Z", type="string"')

#: A file that is new needs a line here.
CASES = {
    "curation_audit_backfill": Case(objects=4, objects_without=4, conf=two_days, change=WITH_DEFAULTS),
    "curation_audit_daily_export": Case(objects=6, fails_without=True),
    "curation_blocked_alert": Case(),
    "curation_blocked_watch": Case(airflow=3),
    # It looks back from now, whatever its interval, makes up for both days, and seals them.
    "curation_compliance": Case(objects=13, objects_without=13, conf=lambda midnight: {"days": 2}),
    # There is no export of the month before: the report says so, and the run fails at its end.
    "curation_monthly_report": Case(objects=2, objects_without=2, ends=frozenset({"success", "failed"})),
}


def test_every_file_has_a_case() -> None:
    assert set(CASES) == {path.stem for path in DAGS.glob("*.py")}


# Airflow, S3 and the server


@pytest.fixture(scope="module")
def days(midnight: datetime) -> Iterator[Simulator]:
    """Days with events."""
    settings = SimulatorSettings(events=500, start=midnight - 3 * DAY, end=midnight)
    with Simulator(settings) as simulator, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_CURATION_DEFAULT", simulator.connection_uri())
        yield simulator


@pytest.fixture(autouse=True)
def _no_seal_is_noted(dags_database: None) -> None:
    forget_variables()


@pytest.fixture
def server(days: Simulator) -> Simulator:
    """The days, and a package that was blocked just now, so that no sensor waits: none looks back on a whole module."""
    days.insert(datetime.now(timezone.utc), action="blocked")
    return days


# Their runs

each_case = pytest.mark.parametrize("name", CASES)


def the_dag(name: str, schedule: str) -> Any:
    case, path = CASES[name], DAGS / f"{name}.py"
    if case.airflow > AIRFLOW:
        assert load(path) == []
        pytest.skip(f"the DAG is for Airflow {case.airflow}, and the file defines none here")
    dags = {dag.dag_id: dag for dag in load(path, case.change if schedule == DAILY else ("", ""), schedule)}
    return dags[name]


@each_case
def test_with_an_interval(name: str, s3: Any, server: Simulator, midnight: datetime) -> None:
    dag = the_dag(name, DAILY)

    dag_run = run(dag, midnight, **CASES[name].conf(midnight))

    assert (dag_run.data_interval_start, dag_run.data_interval_end) == (midnight - DAY, midnight)
    assert set(states(dag_run).values()) == CASES[name].ends, states(dag_run)
    assert len(keys(s3)) == CASES[name].objects


@each_case
def test_with_a_zero_interval(name: str, s3: Any, server: Simulator, midnight: datetime) -> None:
    dag = the_dag(name, NO_SCHEDULE)

    dag_run = run(dag, midnight + timedelta(minutes=1), **CASES[name].conf(midnight))

    assert dag_run.data_interval_start == dag_run.data_interval_end == midnight + timedelta(minutes=1)
    ended_as_it_must(name, dag_run, s3)


@each_case
def test_without_an_interval(name: str, s3: Any, server: Simulator, midnight: datetime) -> None:
    dag = the_dag(name, NO_SCHEDULE)
    if not can_run_without_an_interval(dag):
        pytest.skip("Airflow 2 gives every run an interval")

    dag_run = run(dag, None, **CASES[name].conf(midnight))

    assert dag_run.data_interval_start is None
    ended_as_it_must(name, dag_run, s3)


def ended_as_it_must(name: str, dag_run: Any, s3: Any) -> None:
    expected = {"failed"} if CASES[name].fails_without else CASES[name].ends
    assert set(states(dag_run).values()) == expected, states(dag_run)
    assert len(keys(s3)) == CASES[name].objects_without


def test_the_case_of_a_file_is_that_of_its_dag() -> None:
    for path in sorted(Path(DAGS).glob("*.py")):
        if CASES[path.stem].airflow <= AIRFLOW:
            names = [dag.dag_id for dag in load(path)]
            assert names[0] == path.stem
            assert all(name.startswith(path.stem) for name in names)


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_each_field_of_its_form_has_a_title_and_a_help_text(path: Path) -> None:
    for dag in load(path):
        fields = {name: dag.params.get_param(name) for name in dag.params}
        assert [name for name, field in fields.items() if not (field.schema.get("title") and field.description)] == []
