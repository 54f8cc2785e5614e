"""A task that is stopped at any point leaves nothing behind, and the next try succeeds."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator import Simulator
from tests.support.exports import AWS, Bucket, aws_connection, export, simulated, truth_jsonl
from tests.support.s3_proxy import S3Proxy

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

MOST_REQUESTS = 40
EXPORTED = ["_manifests/export.jsonl.json", "export.jsonl"]
#: How long a task may take to end once it was asked to.
SECONDS = 10.0
RAISES = pytest.mark.parametrize("raises", [False, True], ids=["handler-goes-on", "handler-raises"])


class TaskProcesses:
    """A process that has imported everything, and forks for every task."""

    def __init__(self, folder: Path) -> None:
        self._outcome = folder / "outcome.json"
        #: Is there once the task that was started has heard that it is to stop.
        self.heard = folder / "heard"
        self._path = folder / "log.txt"
        self._logged = 0
        self._log = open(self._path, "ab")  # noqa: SIM115
        reading, writing = os.pipe()
        root = Path(__file__).parents[3]
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(root))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.task_process", str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(writing,),
            cwd=root,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        os.close(writing)
        self._answers = open(reading)  # noqa: SIM115
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            pytest.fail(f"the process of the tasks ended: {self._path.read_text()[-2000:]}")
        return json.loads(line)

    def start(
        self,
        raises: bool,
        arguments: dict[str, Any],
        settle_seconds: int = 0,
        short_claims: bool = False,
        **environment: str,
    ) -> int:
        """Start a task; its process id."""
        connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
        for path in (self._outcome, self.heard):
            path.unlink(missing_ok=True)
        self._logged = len(self._path.read_text())
        order = {
            "environment": {**connections, **environment},
            "raises": raises,
            "settle_seconds": settle_seconds,
            "short_claims": short_claims,
            "arguments": arguments,
            "outcome": str(self._outcome),
            "heard": str(self.heard),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        process = self._answer()
        assert isinstance(process, int)
        return process

    def wait(self) -> tuple[int, dict[str, Any]]:
        """The exit code of the task that was started, and what became of it."""
        code = self._answer()
        return code, json.loads(self._outcome.read_text()) if self._outcome.exists() else {}

    def wait_for_log(self, words: str) -> None:
        """Wait until the task that was started has logged the words."""
        deadline = time.monotonic() + 60
        while words not in self._path.read_text()[self._logged :]:
            assert time.monotonic() < deadline, self._path.read_text()[-2000:]
            time.sleep(0.02)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._answers.close()
        self._log.close()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskProcesses]:
    processes = TaskProcesses(tmp_path_factory.mktemp("tasks"))
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def small() -> Iterator[Simulator]:
    with simulated(events=150) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def large() -> Iterator[Simulator]:
    # Two parts of 8 MiB each, the second one short.
    with simulated(events=9_500, page_size=2000, conn_id="curation_large") as simulator:
        yield simulator


@dataclass
class Stopping:
    """A task that gets a signal when a request arrives: the n-th to the server, or before or after the n-th to S3."""

    processes: TaskProcesses
    simulator: Simulator
    s3_url: str
    bucket: Bucket
    number: int = 0
    sent_at: float | None = None
    calls: list[str] = field(default_factory=list)
    _started: Event = field(default_factory=Event)
    _ended: Event = field(default_factory=Event)
    _process: int = 0

    def run(
        self,
        place: str,
        number: int,
        *,
        raises: bool = False,
        with_signal: int = signal.SIGTERM,
        hold_back: bool = False,
        short_claims: bool = False,
        **arguments: Any,
    ) -> tuple[int, dict[str, Any]]:
        self.sent_at = None
        self._started.clear()
        self._ended.clear()
        hooks: dict[str, Any] = {}

        def act(seen: int, name: str) -> bool:
            if seen != number:
                return False
            assert self._started.wait(SECONDS)
            self.sent_at = time.monotonic()
            os.kill(self._process, with_signal)
            if with_signal == signal.SIGTERM:
                # A busy machine may hand the signal on when all that is left to do has been done.
                while not self.processes.heard.exists() and not self._ended.wait(0.005):
                    pass
            if hold_back:
                # Long enough for a task that does not wait for the answer to send its next request.
                deadline = time.monotonic() + 1.5
                while len(proxy.requests) == number and time.monotonic() < deadline:
                    time.sleep(0.01)
                while len(proxy.requests) > number and not self._ended.wait(0.01):
                    pass
                return False
            # A request of which nobody waits for the answer is lost, so that it is not carried out at some later time.
            return raises or with_signal == signal.SIGKILL

        with ExitStack() as stack:
            if place == "server":
                stack.enter_context(_watched(self.simulator, act))
            else:
                hooks[place] = act
            proxy = stack.enter_context(S3Proxy(self.s3_url, **hooks))
            environment: dict[str, Any] = {f"AIRFLOW_CONN_{AWS.upper()}": json.dumps(aws_connection(proxy.url))}
            self._process = self.processes.start(
                raises, {"s3_bucket": self.bucket.name, **arguments}, short_claims=short_claims, **environment
            )
            self._started.set()
            code, outcome = self.processes.wait()
            self._ended.set()
            if self.sent_at is not None:
                assert time.monotonic() - self.sent_at < SECONDS  # type: ignore[unreachable]  # a thread sets it
            self.calls = proxy.requests
        return code, outcome


class _watched:
    """Calls back when an audit request has arrived, before it is answered."""

    def __init__(self, simulator: Simulator, act: Callable[[int, str], bool]) -> None:
        self._app = simulator.app
        self._act = act

    def __enter__(self) -> None:
        handle, numbers = self._app.handle, count(1)

        def watched(request: Any) -> Any:
            if request.path == AUDIT_PATH:
                self._act(next(numbers), request.path)
            return handle(request)

        self._app.handle = watched  # type: ignore[method-assign]

    def __exit__(self, *error: object) -> None:
        del self._app.handle


def _nothing_or_everything(stopping: Stopping, outcome: dict[str, Any]) -> bool:
    """Check that a stopped task has left nothing, or has exported everything; return whether it was everything."""
    bucket = stopping.bucket
    whole = bool(bucket.objects())
    if whole:
        [key] = bucket.exports()
        assert bucket.content(key) == truth_jsonl(stopping.simulator)
        assert bucket.manifest(key)["sha256"] == hashlib.sha256(bucket.body(key)).hexdigest()
        bucket.clear()
    else:
        assert outcome["error"] in ("StoppedError", "Terminated"), outcome
    assert (bucket.objects(), bucket.uploads()) == ([], []), stopping.calls
    return whole


def _sweep(stopping: Stopping, place: str, raises: bool, **arguments: Any) -> int:
    """Stop a task at the first request, another one at the second, and so on; how many were stopped."""
    finished = []
    for number in range(1, MOST_REQUESTS):
        code, outcome = stopping.run(place, number, raises=raises, **arguments)
        assert code == 0
        if stopping.sent_at is None:
            assert stopping.bucket.content(outcome["result"]["key"]) == truth_jsonl(stopping.simulator)
            # The manifest is the commit mark: a task that was stopped before leaves nothing. What is committed begins
            # with a look at the signature that may be there.
            commit = number if place == "server" else stopping.calls.index("PUT manifest")
            assert [each for each in finished if each < commit] == []
            return number - 1
        if _nothing_or_everything(stopping, outcome):
            finished.append(number)
    pytest.fail("no task came to its end")


@RAISES
@pytest.mark.parametrize("place", ["server", "before", "after"])
def test_sigterm_at_any_request(
    place: str, raises: bool, processes: TaskProcesses, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    stopped = _sweep(Stopping(processes, small, s3_url, bucket), place, raises)
    assert stopped >= 4


@pytest.mark.slow
@RAISES
@pytest.mark.parametrize("place", ["before", "after"])
def test_sigterm_at_any_call_of_an_upload_in_parts(
    place: str, raises: bool, processes: TaskProcesses, large: Simulator, s3_url: str, bucket: Bucket
) -> None:
    stopping = Stopping(processes, large, s3_url, bucket)
    arguments: dict[str, Any] = {"compression": "none", "curation_conn_id": "curation_large"}
    stopped = _sweep(stopping, place, raises, **arguments)
    assert "POST object uploads" in stopping.calls
    assert stopped == len(stopping.calls)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["before", "after"])
def test_sigkill_at_any_call_of_an_upload_in_parts(
    place: str, processes: TaskProcesses, large: Simulator, s3_url: str, bucket: Bucket
) -> None:
    stopping = Stopping(processes, large, s3_url, bucket)
    arguments: dict[str, Any] = {"compression": "none", "curation_conn_id": "curation_large"}
    stopping.run(place, MOST_REQUESTS, **arguments)
    calls = stopping.calls
    bucket.clear()
    left_open = 0
    for number in range(calls.index("POST object uploads") + 1, len(calls) + 1):
        code, outcome = stopping.run(place, number, with_signal=signal.SIGKILL, **arguments)
        assert code == -signal.SIGKILL
        assert outcome == {}
        done = stopping.calls[: number - 1 if place == "before" else number]
        there = [
            *(["export.jsonl"] if "POST object uploadId" in done else []),
            *(["_manifests/export.jsonl.json"] if "PUT manifest" in done else []),
        ]
        assert bucket.objects() == sorted(there)
        left_open += len(bucket.uploads())
        if not bucket.uploads() and not bucket.objects():
            continue

        # A dead try's claim ends when it is no longer renewed.
        code, outcome = stopping.run("before", MOST_REQUESTS, short_claims=True, **arguments)
        assert code == 0
        assert bucket.content(outcome["result"]["key"]) == truth_jsonl(large)
        assert bucket.objects() == EXPORTED
        assert bucket.uploads() == []
        bucket.clear()
    assert left_open >= 2


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("PUT object uploadId partNumber", "small"),
        ("POST object uploads", "large"),
        ("PUT object uploadId partNumber", "large"),
        ("POST object uploadId", "large"),
    ],
)
def test_sigterm_while_a_call_is_under_way(
    call: str,
    kind: str,
    processes: TaskProcesses,
    small: Simulator,
    large: Simulator,
    s3_url: str,
    bucket: Bucket,
) -> None:
    """The call is waited for: S3 would carry it out all the same, after everything was cleaned up."""
    stopping = Stopping(processes, large if kind == "large" else small, s3_url, bucket)
    arguments: dict[str, Any] = {"compression": "none", "curation_conn_id": "curation_large"} if kind == "large" else {}
    stopping.run("before", MOST_REQUESTS, **arguments)
    number = stopping.calls.index(call) + 1
    bucket.clear()
    code, outcome = stopping.run("before", number, raises=True, hold_back=True, **arguments)
    assert code == 0
    assert outcome["error"] == "Terminated"
    bucket.assert_untouched()


def test_sigterm_while_the_manifest_is_written_keeps_the_finished_export(
    processes: TaskProcesses, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    """The manifest is the commit mark, and S3 may carry the call out: what it stands for has to stay."""
    stopping = Stopping(processes, small, s3_url, bucket)
    stopping.run("before", MOST_REQUESTS)
    number = stopping.calls.index("PUT manifest") + 1
    bucket.clear()
    code, outcome = stopping.run("before", number, raises=True, hold_back=True)
    assert (code, outcome["error"]) == (0, "Terminated")
    assert _nothing_or_everything(stopping, outcome)


@RAISES
def test_sigterm_while_waiting_for_the_window_to_settle(
    raises: bool, processes: TaskProcesses, small: Simulator, bucket: Bucket
) -> None:
    # The window has ended long ago, and settles in a hundred years.
    process = processes.start(raises, {"s3_bucket": bucket.name}, settle_seconds=100 * 365 * 86_400)
    processes.wait_for_log("waiting here")
    os.kill(process, signal.SIGTERM)
    sent = time.monotonic()
    code, outcome = processes.wait()
    assert time.monotonic() - sent < SECONDS
    assert code == 0
    assert outcome["error"] in ("StoppedError", "Terminated")
    bucket.assert_untouched()


def test_after_a_stop_the_next_try_succeeds(
    processes: TaskProcesses, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    stopping = Stopping(processes, small, s3_url, bucket)
    _, outcome = stopping.run("server", 3)
    assert outcome["error"] == "StoppedError"
    result = export(bucket)
    assert bucket.content(result["key"]) == truth_jsonl(small)
