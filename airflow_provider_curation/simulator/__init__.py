"""A server of the audit-events endpoint with made-up events: to try the provider, and to test DAGs against.

Names are imported when they are first used, so that a pytest run that only loads the plugin pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_curation.simulator.app import CurationApp, RequestRecord
    from airflow_provider_curation.simulator.changes import Change, Delete, Hide, Insert, NewId, Reveal
    from airflow_provider_curation.simulator.faults import FALSE_ANSWERS, PASSING_FAULTS, Fault
    from airflow_provider_curation.simulator.server import Simulator
    from airflow_provider_curation.simulator.settings import (
        CsvCount,
        CsvQuoting,
        EmptyPage,
        EndBound,
        ErrorBody,
        EventShape,
        JsonLayout,
        JsonText,
        LastPage,
        LineEnd,
        MetaPlace,
        OverLimit,
        RowsEcho,
        SimulatorSettings,
        ZipTime,
    )

_MODULES = {
    "app": ("CurationApp", "RequestRecord"),
    "changes": ("Change", "Delete", "Hide", "Insert", "NewId", "Reveal"),
    "faults": ("FALSE_ANSWERS", "PASSING_FAULTS", "Fault"),
    "server": ("Simulator",),
    "settings": (
        "CsvCount",
        "CsvQuoting",
        "EmptyPage",
        "EndBound",
        "ErrorBody",
        "EventShape",
        "JsonLayout",
        "JsonText",
        "LastPage",
        "LineEnd",
        "MetaPlace",
        "OverLimit",
        "RowsEcho",
        "SimulatorSettings",
        "ZipTime",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "FALSE_ANSWERS",
    "PASSING_FAULTS",
    "Change",
    "CsvCount",
    "CsvQuoting",
    "CurationApp",
    "Delete",
    "EmptyPage",
    "EndBound",
    "ErrorBody",
    "EventShape",
    "Fault",
    "Hide",
    "Insert",
    "JsonLayout",
    "JsonText",
    "LastPage",
    "LineEnd",
    "MetaPlace",
    "NewId",
    "OverLimit",
    "RequestRecord",
    "Reveal",
    "RowsEcho",
    "Simulator",
    "SimulatorSettings",
    "ZipTime",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
