"""Fixtures for tests of DAGs: a simulated Curation server, and a connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_curation.simulator import Simulator

_VARIABLE = "AIRFLOW_CONN_CURATION_DEFAULT"


@pytest.fixture
def curation_simulator_factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Simulator]]:
    """Return a function that takes settings and starts a simulator; ``curation_default`` leads to the latest one."""
    from airflow_provider_curation.simulator import Simulator, SimulatorSettings

    with ExitStack() as running:

        def factory(**settings: Any) -> Simulator:
            simulator = running.enter_context(Simulator(SimulatorSettings(**settings)))
            monkeypatch.setenv(_VARIABLE, simulator.connection_uri())
            return simulator

        yield factory


@pytest.fixture
def curation_simulator(curation_simulator_factory: Callable[..., Simulator]) -> Simulator:
    """Return a running simulator with the default settings; the connection ``curation_default`` leads to it."""
    return curation_simulator_factory()
