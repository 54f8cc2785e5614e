"""Every import that depends on Airflow's version, so that the rest of the package never asks which one it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "Asset",
    "BaseOperator",
    "BaseOperatorLink",
    "Context",
    "airflow_version",
    "as_final",
    "conf",
    "delay_trigger",
    "get_connection",
    "mask_secret",
    "stored_xcom",
]


def airflow_version() -> str:
    """Return the version of the Airflow that runs this."""
    from airflow import __version__

    return str(__version__)


def stored_xcom(ti_key: Any, key: str) -> Any:
    """Return what a task stored as an XCom; importing its class here keeps it out of a DAG file's time."""
    from airflow.providers.common.compat.sdk import XCom

    return XCom.get_value(ti_key=ti_key, key=key)


def get_connection(conn_id: str) -> Any:
    """Return a connection; importing hooks here keeps them out of a DAG file's time."""
    from airflow.providers.common.compat.sdk import BaseHook

    return BaseHook.get_connection(conn_id)


def mask_secret(secret: str) -> None:
    """Have Airflow replace a value by ``***`` in its logs; common-compat gives this from 1.22 on only."""
    from importlib import import_module

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


def as_final(error: Exception) -> Exception:
    """Return the same error as one that ends the task without Airflow's retries.

    It keeps its class, so that ``except`` clauses and retry policies that name the class go on working.
    """
    if isinstance(error, AirflowFailException):
        return error
    kind = type(error)
    final_kind = type(
        kind.__name__, (kind, AirflowFailException), {"__module__": kind.__module__, "__doc__": kind.__doc__}
    )
    # Errors differ in what their constructors take, so the state is carried over instead.
    final: Exception = final_kind.__new__(final_kind, *error.args)
    final.args = error.args
    final.__dict__.update(error.__dict__)
    return final.with_traceback(error.__traceback__)
