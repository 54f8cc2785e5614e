"""Child processes that cannot outlive the benchmark: servers that end with their standard input, and measured runs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent


def run(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark to its exit code; SIGTERM ends it as Ctrl-C does, so its servers end too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def serve_until_closed(port: int) -> None:
    """In a server's process: say that it listens, and wait until the benchmark closes standard input or is gone."""
    print(json.dumps({"port": port}), flush=True)
    sys.stdin.read()


@dataclass(frozen=True)
class Server:
    """A running server."""

    pid: int
    url: str


@contextmanager
def server(module: str, *arguments: str, ready_seconds: float = 300) -> Iterator[Server]:
    """Run a module that calls `serve_until_closed`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=BENCHMARKS,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{BENCHMARKS}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], ready_seconds)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"the server was not ready within {ready_seconds:.0f} s: {process.args!r}")
        yield Server(process.pid, f"http://127.0.0.1:{json.loads(line)['port']}")
    finally:
        process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        process.stdout.close()


@dataclass(frozen=True)
class Usage:
    """A process that ended: seconds of wall clock and of CPU (user and system, with all children it waited for)."""

    exit_code: int
    wall: float
    cpu: float


def run_measured(command: Sequence[str], env: Mapping[str, str], log: Path, timeout: float) -> Usage:
    """Run a command beside its log of output; its whole process group is killed after `timeout` seconds."""
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        children = os.times()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        wall, used = time.perf_counter() - began, os.times()
    cpu = used.children_user - children.children_user + used.children_system - children.children_system
    return Usage(process.returncode, wall, cpu)


def run_reported(command: Sequence[str], env: Mapping[str, str], timeout: float) -> dict[str, Any]:
    """Run a command to its end, and return its last line of output, which is JSON."""
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made
