"""An alert for the export that never ended: its day is not archived, and the server will forget it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_curation.compat import deadline_of_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The scheduler's or the triggerer's log, whichever runs the callback.
log = logging.getLogger(__name__)


class OverdueAlert(NamedTuple):
    """Where the parts of an alert go, so that one DAG file serves every Airflow."""

    #: Arguments of the ``DAG``.
    dag: dict[str, Any]
    #: Arguments of its tasks, for ``default_args``.
    tasks: dict[str, Any]


def overdue_alert(after: timedelta) -> OverdueAlert:
    """Return the arguments that make Airflow call for help if a run has not succeeded in time.

    On Airflow 3.1 and later it is a deadline alert, counted from the run's logical date; a triggerer must run. On 2.11
    it is an SLA of each task, counted from the end of the run's data interval; only scheduled runs have one. Airflow
    3.0 has neither, so both parts are empty. Either logs an ERROR that says what to do.

    Neither can see a run that was never created, such as those of a paused DAG: the compliance DAG names such days, and
    the gauge ``curation_audit.days_left`` falls.

    :param after: how long a run may take; well below the 30 days that the server remembers.
    """
    if after <= timedelta(0):
        raise ValueError(f"after={after} is not a positive duration.")
    dag, tasks = deadline_of_runs(after, run_is_overdue, sla_was_missed)
    return OverdueAlert(dag, tasks)


async def run_is_overdue(context: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Log that a run missed its deadline. Airflow calls this in the triggerer.

    :param context: Airflow's: the run, and the deadline.
    """
    run = (context or {}).get("dag_run") or {}
    _tell(str(run.get("dag_id", "?")), str(run.get("dag_run_id", "?")))


def sla_was_missed(dag: Any, task_list: str, blocking_task_list: str, slas: list[Any], blocking_tis: list[Any]) -> None:
    """Log that tasks missed their SLA. Airflow 2.11 calls this where DAG files are processed."""
    for logical_date in sorted({sla.execution_date for sla in slas}):
        _tell(str(dag.dag_id), f"{logical_date:%Y-%m-%dT%H:%M:%SZ}")


def _tell(dag_id: str, run: str) -> None:
    log.error(
        "The run %s of %s has not ended in time, so its audit events are not archived yet. The server forgets them 30 "
        "days after they happened. Look at the run's failed or waiting tasks; if they cannot be repaired, export its "
        "window with curation_audit_backfill before then.",
        run,
        dag_id,
    )
