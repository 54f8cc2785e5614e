"""A small tenant for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.tenants import END, START, Tenant


@pytest.fixture
def tenant() -> Callable[..., Tenant]:
    """A function of settings that gives a tenant of 700 events in three days."""

    def make(**settings: Any) -> Tenant:
        return Tenant(
            Simulator(SimulatorSettings(**{"events": 700, "start": START, "end": END, "seed": 7, **settings}))
        )

    return make


@pytest.fixture
def samples() -> Path:
    return Path(__file__).parent / "samples"
