"""Two hundred triggers in one event loop: none of them holds it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# First polls begin up to second 30; a slow machine has ten seconds more for the last of them.
_MEASURE = """
import dataclasses, json, poll
print(json.dumps(dataclasses.asdict(poll.loop_lag(triggers=200, seconds=40.0))))
"""


@pytest.mark.integration
@pytest.mark.slow
def test_200_triggers_do_not_hold_up_the_event_loop() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    command = [sys.executable, "-c", _MEASURE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True, env=environment)
    lag = json.loads(done.stdout.splitlines()[-1])
    print(lag)
    assert lag["polls"] >= 200
    # Computed time: on a busy machine a bare event loop is late by the clock, too. The benchmark shows both.
    assert lag["busy"] < 100
