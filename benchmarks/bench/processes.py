"""Child processes that cannot outlive the benchmark: servers that end with their standard input, and measured runs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent


class Server:
    """A server module run as `python -m`; its first line of output is JSON with its port."""

    def __init__(self, module: str, *arguments: str, ready_seconds: float = 300) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=BENCHMARKS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.port = self._wait_for_port(ready_seconds)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait_for_port(self, seconds: float) -> int:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], seconds)
        line = output.readline() if ready else b""
        if not line:
            self.close()
            raise RuntimeError(f"the server was not ready within {seconds:.0f} s: {self._process.args!r}")
        return int(json.loads(line)["port"])

    def close(self) -> None:
        """End the server: first by closing its standard input, then by force."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Usage:
    """One finished process: seconds of wall clock and of CPU (user and system, with all the children it waited for)."""

    exit_code: int
    wall: float
    cpu: float


def run_measured(command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path, timeout: float) -> Usage:
    """Run a command to its end, its output in `log`; its whole process group is killed after `timeout` seconds."""
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watchdog = threading.Timer(timeout, _kill_group, [process.pid])
        watchdog.daemon = True
        watchdog.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watchdog.cancel()
            if process.returncode is None:
                _kill_group(process.pid)
                process.wait()
    return Usage(process.returncode, wall, usage.ru_utime + usage.ru_stime)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
