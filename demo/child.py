"""Airflow as a child process: its whole log goes to a file, and the lines of this provider's tasks to the user."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

#: A line of one of this provider's loggers, or of its example DAGs', in the format that the environment gives it.
_OURS = re.compile(r"(?P<level>[A-Z]+) \[[\w.]*(?:airflow_provider_curation|curation_blocked)[\w.]*\] (?P<text>.*)")
#: Lines that say what went wrong.
_FAULTS = re.compile(r"error|exception|failed", re.IGNORECASE)
#: The signals with which a user or a supervisor ends the demo.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_SECONDS = 3.0


class AirflowFailed(Exception):
    """An `airflow` command failed."""


class Child:
    """Runs `airflow` commands one after the other; none of their processes outlives it.

    :param log: the file for everything they print.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def run(self, *command: str, tell: Callable[[float, str], None] | None = None) -> None:
        """Run a command to its end.

        :param tell: called with the seconds since the start and the text of each log line of this provider.
        :raises AirflowFailed: if its exit status is not 0.
        """
        started = time.monotonic()
        last: deque[str] = deque(maxlen=200)
        with _held_back():
            # In a session of its own: Ctrl-C in the terminal reaches only the demo, which then ends this group.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        assert self._process.stdout is not None
        with self._log.open("a") as log:
            for line in self._process.stdout:
                log.write(line)
                last.append(line.rstrip())
                if "up_for_retry" in line.lower():
                    raise _failed(command, "has a task that failed and would be retried in some minutes", last)
                if tell is not None and (text := provider_line(line)):
                    tell(time.monotonic() - started, text)
        status = self._process.wait()
        if status != 0:
            raise _failed(command, f"ended with {status}", last)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _failed(command: Sequence[str], how: str, last: Iterable[str]) -> AirflowFailed:
    said = [line for line in last if _FAULTS.search(line)][-8:]
    return AirflowFailed("\n".join([f"`airflow {' '.join(command)}` {how}. It said:", *said]))


@contextmanager
def _held_back() -> Iterator[None]:
    """Delay signals to stop until the process that they must end is known."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def provider_line(line: str) -> str | None:
    """Return the text of a line that this provider logged, with its level unless that is info."""
    match = _OURS.match(line)
    if match is None:
        return None
    return match["text"] if match["level"] == "INFO" else f"{match['level']}: {match['text']}"
