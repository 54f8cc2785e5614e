"""Every import that depends on Airflow's version, so that the rest of the package never asks which one it runs on."""

from __future__ import annotations

import logging
from importlib import import_module
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

# common-compat resolves these on Airflow 2.11 and 3.
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    Asset,
    BaseOperator,
    BaseOperatorLink,
    conf,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import (
        AirflowSensorTimeout,
        BaseSensorOperator,
        Connection,
        Context,
        PokeReturnValue,
    )
    from airflow.triggers.base import BaseEventTrigger, TriggerEvent

_T = TypeVar("_T")

log = logging.getLogger(__name__)

#: Characters of a line that Airflow's log view shows beside the grid, in a window that is 1440 pixels wide.
_LOG_WIDTH = 110

__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "Asset",
    "BaseEventTrigger",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "PokeReturnValue",
    "TriggerEvent",
    "airflow_version",
    "as_final",
    "conf",
    "connection_for_trigger",
    "deadline_of_runs",
    "delay_trigger",
    "ending_without_retries",
    "gauge",
    "get_connection",
    "in_thread",
    "mask_secret",
    "stored_xcom",
    "task_state_store",
]

_SDK = "airflow.providers.common.compat.sdk"
_TRIGGERS = "airflow.triggers.base"
#: Imported on first use: only sensors and triggers need them, so other DAG files parse faster.
_LATE = {
    "AirflowSensorTimeout": _SDK,
    "BaseEventTrigger": _TRIGGERS,
    "BaseSensorOperator": _SDK,
    "PokeReturnValue": _SDK,
    "TriggerEvent": _TRIGGERS,
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_LATE[name])
    if name == "BaseEventTrigger":
        # Airflow 2 has no asset watchers; there its trigger serves deferred tasks only.
        return getattr(module, name, None) or module.BaseTrigger
    return getattr(module, name)


def airflow_version() -> str:
    """Return the version of the Airflow that runs this."""
    from airflow import __version__

    return str(__version__)


def stored_xcom(ti_key: Any, key: str) -> Any:
    """Return what a task stored as an XCom. Importing the class here keeps parsing a DAG file fast."""
    from airflow.providers.common.compat.sdk import XCom

    return XCom.get_value(ti_key=ti_key, key=key)


def get_connection(conn_id: str) -> Any:
    """Return a connection. Importing hooks here keeps parsing a DAG file fast."""
    from airflow.providers.common.compat.sdk import BaseHook

    return BaseHook.get_connection(conn_id)


def gauge(name: str, value: float) -> None:
    """Set a gauge of Airflow's metrics, which goes to StatsD or OpenTelemetry as Airflow is configured."""
    for module in ("airflow.sdk.observability.stats", "airflow.observability.stats", "airflow.stats"):
        try:
            stats = import_module(module)
        except ImportError:
            continue
        stats.Stats.gauge(name, value)
        return


def deadline_of_runs(
    after: timedelta, missed: Callable[..., Any], sla_missed: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments, of a DAG and of its tasks, that call back if a run has not ended in time.

    :param after: since the logical date (Airflow 3.1 and later), or since the end of the data interval (2.11).
    :param missed: a coroutine function, called in the triggerer by Airflow 3.1 and later.
    :param sla_missed: called by Airflow 2.11.
    :return: two empty dicts on Airflow 3.0, which has neither deadlines nor SLAs.
    """
    try:
        from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
    except ImportError:
        if airflow_version().startswith("2."):
            return {"sla_miss_callback": sla_missed}, {"sla": after}
        return {}, {}
    alert = DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, after, AsyncCallback(missed))
    return {"deadline": alert}, {}


def mask_secret(secret: str) -> None:
    """Make Airflow replace a value with ``***`` in its logs; common-compat has this only from 1.22 on."""
    try:
        masker = import_module("airflow.sdk.log")
    except ImportError:
        masker = import_module("airflow.utils.log.secrets_masker")
    masker.mask_secret(secret)


def delay_trigger(seconds: float) -> Any:
    """Return a trigger that fires after a delay."""
    from datetime import timedelta

    from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

    return TimeDeltaTrigger(timedelta(seconds=seconds))


async def connection_for_trigger(conn_id: str) -> Connection:
    """Return a connection without blocking the triggerer's event loop, even with an old common-compat."""
    try:
        from airflow.providers.common.compat.connection import get_async_connection
    except ImportError:
        from airflow.providers.common.compat.sdk import BaseHook

        return await in_thread(lambda: BaseHook.get_connection(conn_id))
    return await get_async_connection(conn_id)


async def in_thread(call: Callable[[], _T]) -> _T:
    """Run a call that may ask Airflow for something, such as to mask a secret, in a thread.

    Before Airflow 3.3, only threads started by asgiref can call back into the triggerer's event loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(call, thread_sensitive=False)()


def task_state_store(context: Any) -> Any:
    """Return the store that keeps values between a task's tries and pokes; ``None`` before Airflow 3.3."""
    try:
        return context["task_state_store"]
    except (KeyError, TypeError):
        return None


class ending_without_retries:
    """Ends a task by an error that a newcomer can read at the end of its log.

    Errors of this provider are logged in short lines, and raised with a traceback of this package's outermost frames
    alone; the whole one is logged at DEBUG. If an error's ``retry_task`` is false, it fails the task without retries.
    Other errors pass as they are.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        explained = getattr(error, "explained", None)
        if explained is None or not isinstance(error, Exception):
            return
        log.debug("The whole traceback:", exc_info=error)
        for part in explained():
            for line in wrap(part, _LOG_WIDTH, subsequent_indent="  ") or [""]:
                log.error("%s", line)
        final = error if getattr(error, "retry_task", True) else as_final(error)
        raise final.with_traceback(None) from None


def as_final(error: Exception) -> Exception:
    """Return the same error, also as an ``AirflowFailException``, so that Airflow does not retry the task.

    It is still an instance of its own class, so ``except`` clauses and retry policies for that class keep working.
    """
    if isinstance(error, AirflowFailException):
        return error
    kind = type(error)
    final_kind = type(
        kind.__name__, (kind, AirflowFailException), {"__module__": kind.__module__, "__doc__": kind.__doc__}
    )
    # Constructors take different arguments, so copy the state instead of calling one.
    final: Exception = final_kind.__new__(final_kind, *error.args)
    final.args = error.args
    final.__dict__.update(error.__dict__)
    return final.with_traceback(error.__traceback__)
