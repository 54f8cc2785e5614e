"""The tutorial's commands, run one after the other in one shell, as a reader runs them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
TUTORIAL = DOCS / "get-started" / "tutorial.md"
SECONDS = 480
#: The tutorial's ports, and its day, which are others here: tests run side by side, and also around midnight.
PORTS = ("8082", "5000")
TODAY = '"$(date -u +%F)"'

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 30, method="thread"),
    pytest.mark.skipif(
        version("apache-airflow").startswith(("3.0.", "3.2.")),
        reason="`airflow dags test` is broken there, as demo/run.py says; the tutorial is for 3.3",
    ),
]


def blocks(text: str) -> list[tuple[str, str, str]]:
    """The page's code blocks: language or directive, its argument, and what is inside."""
    found = re.finditer(r"^```(\S+)(?: ([^\n]*))?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(each[1], each[2] or "", each[3]) for each in found]


def script(text: str) -> str:
    """The tutorial as one script: each command shown, and each file that a caption names."""
    steps = ["set -euxo pipefail", "set -m"]
    for kind, argument, content in blocks(text):
        if kind == "bash":
            steps.append(content)
            continue
        assert kind == "{literalinclude}", f"a block of {kind} would not be run"
        [target] = re.findall(r"^:caption: (\S+)$", content, re.MULTILINE)
        steps.append(f"cp {shlex.quote(str((TUTORIAL.parent / argument).resolve()))} {target}")
    return "\n".join(steps)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_every_command_of_the_tutorial_works(tmp_path: Path, midnight: datetime) -> None:
    commands = script(TUTORIAL.read_text(encoding="utf-8"))
    assert TODAY in commands
    commands = commands.replace(TODAY, f"{midnight:%Y-%m-%d}")
    for port, free in zip(PORTS, free_ports(len(PORTS)), strict=True):
        assert port in commands
        commands = commands.replace(port, str(free))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "PYTHON"))
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    # A session of its own, so that whatever a failed command leaves running is ended.
    process = subprocess.Popen(
        ["bash", "-c", commands],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        end_session(process.pid)

    assert process.returncode == 0, said[-6000:]
    listed = re.findall(r"^ *[\d,]+  (curation/\S+)$", said, re.MULTILINE)
    assert len([key for key in listed if key.endswith(".jsonl.gz")]) == 28
    assert len([key for key in listed if key.startswith("curation/_manifests/") and key.endswith(".json")]) == 28
    assert len([key for key in listed if key.startswith("curation/_seals/") and key.endswith(".json")]) == 1
    assert "exit status 1" in said
    assert "not noticed" not in re.sub(r"^\+.*$", "", said, flags=re.MULTILINE)
    assert "object_missing" in said


def end_session(session: int) -> None:
    """End what is left of a session: with job control, each background command is a process group of its own."""
    import psutil

    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                os.kill(process.pid, signal.SIGKILL)
        except (ProcessLookupError, psutil.Error):
            continue
