"""A server of the audit-events endpoint with made-up events: try the provider with it, and test DAGs against it.

Names are imported on first use, so that a pytest run that only loads the plugin pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_curation.simulator.app import CurationApp, RequestRecord
    from airflow_provider_curation.simulator.changes import Change, Delete, Hide, Insert, NewId, Reveal
    from airflow_provider_curation.simulator.faults import FALSE_ANSWERS, PASSING_FAULTS, Fault
    from airflow_provider_curation.simulator.server import Simulator
    from airflow_provider_curation.simulator.settings import SimulatorSettings

__all__ = [
    "FALSE_ANSWERS",
    "PASSING_FAULTS",
    "Change",
    "CurationApp",
    "Delete",
    "Fault",
    "Hide",
    "Insert",
    "NewId",
    "RequestRecord",
    "Reveal",
    "Simulator",
    "SimulatorSettings",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in ("faults", "changes", "settings", "app", "server"):
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
