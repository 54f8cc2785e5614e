"""The command and the fixtures, each in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator import Delete, Fault, Hide, Insert, Reveal, SimulatorSettings
from airflow_provider_curation.simulator.__main__ import _parser
from airflow_provider_curation.simulator.flags import flag, settings_from, shown, table
from tests.support.tenants import END, START

pytestmark = pytest.mark.timeout(30)

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "airflow_provider_curation.simulator"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_serves_and_stops_at_once(tmp_path: Path, stop: signal.Signals) -> None:
    port_file = tmp_path / "port"
    arguments = ["--events", "1_000", "--tokens", "abc", "--port-file", str(port_file), "--latency", "0.01"]
    arguments += ["--fault-schedule", "2=hang", "--hang", "60"]
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while not port_file.exists():
            time.sleep(0.01)
        url = f"http://127.0.0.1:{int(port_file.read_text())}"
        assert f"{url} AIRFLOW_CONN_CURATION_DEFAULT='jfrog-curation://:abc@http%3A%2F%2F127.0.0.1" in line
        headers = {"Authorization": "Bearer abc"}
        assert len(requests.get(url + AUDIT_PATH, headers=headers, timeout=10).json()["data"]) == 100
        # A request that hangs for a minute does not hold it up.
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as connection:
            connection.sendall(f"GET {AUDIT_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            process.send_signal(stop)
            assert process.wait(timeout=20) == 0
        assert process.stdout.read() == ""
    assert not port_file.exists()


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run("--port", str(listener.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "many"], "--events: 'many' is not a whole number"),
        (["--fault-rate", "2"], "fault_rate must be between 0 and 1"),
        (["--last-page", "never"], "--last-page: 'never' is not one of null, absent, zero, minus-one, step"),
        (["--start", "2026-03-09T00:00:00"], "--start: '2026-03-09T00:00:00' has no time zone: add Z for UTC"),
        (["--start", "soon"], "--start: 'soon' is not a time such as"),
        (["--retention", "30"], "--retention: '30' is not a duration such as"),
        (["--fault-schedule", "5=boom"], "--fault-schedule: 'boom' is not one of"),
        (["--fault-schedule", "x=reset"], "--fault-schedule: 'x' is not a whole number"),
        (["--changes", "5=explode"], "--changes: 'explode' is not one of"),
        (["--users", "ann"], "--users: a user is NAME:PASSWORD"),
        (["--port", "70000"], "--port: 70000 is not a port"),
        (["--latency", "x"], "--latency: 'x' is not a number"),
        (["--start", "2026-03-09", "--end", "2026-03-09"], "start must be before end"),
    ],
)
def test_bad_values_are_refused_by_name(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_provider_curation.simulator.__main__ import main

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def parsed(*arguments: str) -> SimulatorSettings:
    return settings_from(_parser().parse_args(arguments))


def test_no_flags_are_the_default_settings() -> None:
    assert parsed() == SimulatorSettings()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--events 1_000 --seed 3", {"events": 1_000, "seed": 3}),
        ("--start 2026-03-09 --end 2026-03-12T02:00:00+02:00", {"start": START, "end": END}),
        ("--now 2026-03-12T00:00:00Z --retention 30d", {"now": END, "retention": timedelta(days=30)}),
        ("--max-width none --late-by 90s", {"max_width": None, "late_by": timedelta(seconds=90)}),
        ("--last-page step --repeat-from 4", {"last_page": "step", "repeat_from": 4}),
        ("--no-entitled --gzip --no-total-count", {"entitled": False, "gzip": True, "total_count": False}),
        ("--tokens a,b --users ann:p:w,bob:x", {"tokens": ("a", "b"), "users": {"ann": "p:w", "bob": "x"}}),
        ("--fault-kinds reset,429", {"fault_kinds": (Fault.RESET, Fault.THROTTLED)}),
        ("--fault-schedule 1=reset,3=hang", {"fault_schedule": {1: Fault.RESET, 3: Fault.HANG}}),
        (
            "--changes 1=insert@2026-03-09,1=delete@47583,2=delete@2026-03-09,3=hide@2026-03-09/2026-03-12,4=reveal",
            {"changes": {1: [Insert(START), Delete(47583)], 2: [Delete(START)], 3: [Hide(START, END)], 4: [Reveal()]}},
        ),
    ],
)
def test_flags_are_settings(arguments: str, expected: dict[str, Any]) -> None:
    assert parsed(*arguments.split()) == SimulatorSettings(**expected)


def test_each_setting_has_a_flag_and_a_help_text_with_its_default() -> None:
    help_ = " ".join(_parser().format_help().split())
    for setting in fields(SimulatorSettings):
        assert flag(setting.name) in help_
        assert setting.metadata["help"] in help_
    assert shown(timedelta(hours=168)) == "168h"
    assert "(default: 1000000)" in help_


def test_the_page_of_the_documentation_shows_the_settings_as_they_are() -> None:
    assert table().strip() in (ROOT / "docs" / "reference" / "simulator.md").read_text()


def test_importing_it_needs_neither_airflow_nor_the_rest_of_the_provider() -> None:
    code = """
import sys
import airflow_provider_curation.simulator.pytest_plugin
assert "airflow_provider_curation.simulator.server" not in sys.modules
from airflow_provider_curation.simulator import Simulator
names = [name for name in sys.modules if name.split(".")[0] in ("airflow", "airflow_provider_curation")]
others = [name for name in names if not name.startswith("airflow_provider_curation.simulator")]
assert sorted(others) == ["airflow_provider_curation", "airflow_provider_curation.audit",
                          "airflow_provider_curation.audit.endpoint"], others
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=True)


@pytest.mark.timeout(90)
def test_the_fixtures_serve_and_set_the_connection(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["airflow_provider_curation.simulator.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        """
import os, urllib.request
from urllib.parse import unquote

def test_default(curation_simulator):
    assert curation_simulator.settings.events == 1_000_000
    assert unquote(os.environ["AIRFLOW_CONN_CURATION_DEFAULT"]) == "jfrog-curation://" + curation_simulator.url
    assert urllib.request.urlopen(curation_simulator.url + "/", timeout=10).status == 200

def test_settings(curation_simulator_factory):
    first = curation_simulator_factory(events=5)
    second = curation_simulator_factory(tokens=("abc",))
    assert first.settings.events == 5
    assert first.url != second.url
    assert ":abc@" in os.environ["AIRFLOW_CONN_CURATION_DEFAULT"]

def test_nothing_is_left():
    assert "AIRFLOW_CONN_CURATION_DEFAULT" not in os.environ
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_CONN_", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
