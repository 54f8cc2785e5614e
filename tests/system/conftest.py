"""One deployment for all scenarios: starting it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.system.deployment")

from tests.system.deployment import Deployment, deployment  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what has an Airflow of its own, so that two of them never run at a time."""
    items.sort(key=lambda item: "deployed" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("deployment")) as running:
        yield running
