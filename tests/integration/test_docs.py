"""What the documentation shows of the hook, run as it stands there."""

from __future__ import annotations

import importlib.util
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.integration.support import simulated


@pytest.fixture(scope="module")
def hook_examples() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "examples" / "hook.py"
    spec = importlib.util.spec_from_file_location("docs_examples_hook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_hooks_page(hook_examples: ModuleType, tmp_path: Path) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    today = now.replace(hour=0, minute=0, second=0)
    with simulated(start=now - timedelta(days=30), end=now, events=500, page_size=200) as simulator:
        events: list[dict[str, Any]] = []
        hook_examples.thirty_days(events.append)
        assert events == list(simulator.truth(now - timedelta(days=30), now + timedelta(minutes=1)))

        count, newest = hook_examples.count_and_page()
        yesterday = list(simulator.truth(today - timedelta(days=1), today))
        assert (count, newest) == (len(yesterday), yesterday[-1])

        held = hook_examples.csv(str(tmp_path / "audit.zip"))
        assert held["events"] == simulator.count(now - timedelta(days=7), now + timedelta(minutes=1))
