"""A schedule is carried out: the real operator between a simulated server and a real S3 API, both made to fail."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from enum import Enum
from itertools import count
from random import Random
from typing import Any, get_type_hints
from unittest.mock import patch

from airflow_provider_curation.simulator import Delete, Fault, Hide, Insert, NewId, Reveal, Simulator, SimulatorSettings
from tests.chaos.facts import PSEUDONYM_KEY, Facts, State, Step, Stored, Try
from tests.chaos.schedule import PERIOD, Schedule
from tests.chaos.tries import MOST_SECONDS, MainThread, attempt, in_process, new_operator, retention
from tests.support import keys
from tests.support.exports import AWS, PASSWORD, START, TOKEN, Bucket, aws_connection, csv_rows, s3_client, simulated
from tests.support.s3_proxy import Failure, S3Proxy

SIGNING_KEY = keys.pem("signing")
USER = "made-up-user"
AWS_SECRET = "made-up-secret"
FOREIGN = b"This is not an export.\n"
#: A slow fault lasts longer than the connection waits.
_SLOW = {Fault.HANG.value, Fault.STALL.value}
_HINTS = get_type_hints(SimulatorSettings)
_numbers = count()


def carry_out(schedule: Schedule, s3_url: str) -> Facts:
    """Carry out a schedule in the main thread of this process, and return what happened."""
    client = s3_client(s3_url)
    bucket = Bucket.create(client, f"chaos-{os.getpid()}-{next(_numbers)}")
    try:
        with _logged() as logs:
            steps = _Run(schedule, s3_url, bucket).steps()
            return Facts(steps, logs(), _secrets(schedule))
    finally:
        for upload in client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
        bucket.clear()
        client.delete_bucket(Bucket=bucket.name)


def _secrets(schedule: Schedule) -> list[str]:
    basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return [TOKEN, PASSWORD, basic, PSEUDONYM_KEY, SIGNING_KEY.splitlines()[1], AWS_SECRET]


@contextmanager
def _logged() -> Iterator[Callable[[], str]]:
    """Everything that is logged or printed meanwhile, by whatever means."""
    root = logging.getLogger()
    others, level = root.handlers[:], root.level
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
        root.handlers[:] = [logging.StreamHandler(os.fdopen(os.dup(2), "w"))]
        root.setLevel(logging.INFO)

        def text() -> str:
            sys.stdout.flush()
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield text
        finally:
            sys.stdout.flush()
            root.handlers[:] = others
            root.setLevel(level)


class _Run:
    def __init__(self, schedule: Schedule, s3_url: str, bucket: Bucket) -> None:
        self._schedule = schedule
        self._s3_url = s3_url
        self._bucket = bucket
        self._port = 0
        #: What is still to happen to the events.
        self._changes: dict[int, Any] = {}
        #: Of the step under way.
        self._states: list[State] = []

    def steps(self) -> list[Step]:
        """Run what came before, the try that is disturbed, and a calm one."""
        schedule = self._schedule
        steps = []
        passwords = {"signing_key": SIGNING_KEY, "pseudonym_key": PSEUDONYM_KEY}
        environment = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps({"conn_type": "generic", "password": password})
            for name, password in passwords.items()
        }
        with patch.dict(os.environ, environment):
            if schedule.before != "nothing":
                steps.append(self._before())
            with self._server(schedule.changes, schedule.faults, forgetting=True) as simulator:
                if schedule.before != "nothing":
                    for second in schedule.late:
                        _apply(simulator, self._change("insert", second))
                    for second in schedule.removed:
                        _apply(simulator, self._change("delete", second))
                self._record_states(simulator)
                steps.append(self._disturbed(simulator))
                simulator.heal()
                self._changes.clear()
                simulator.reveal()
                steps.append(self._calm("again", simulator))
        return steps

    # The server

    @contextmanager
    def _server(
        self, changes: dict[str, list[Any]], faults: dict[str, str], forgetting: bool = False
    ) -> Iterator[Simulator]:
        schedule = self._schedule
        settings: dict[str, Any] = {name: _value(name, value) for name, value in schedule.server.items()}
        if schedule.seed % 2:
            settings["tokens"] = (TOKEN,)
        else:
            settings["users"] = {USER: PASSWORD}
        settings["fault_schedule"] = {int(number): Fault(fault) for number, fault in faults.items()}
        settings["changes"] = self._changes = {int(number): self._change(*change) for number, change in changes.items()}
        settings["retry_after"] = 0
        if forgetting and schedule.forgotten is not None:
            settings["now"] = START + PERIOD + timedelta(days=3)
            cutoff = START + timedelta(seconds=schedule.window[0] + schedule.forgotten)
            settings["retention"] = max(settings["now"] - cutoff, timedelta(seconds=1))
        slow = not _SLOW.isdisjoint(faults.values())
        extra = {"timeout": [2, 0.4] if slow else [2, 20]}
        client = schedule.client
        with simulated(
            port=self._port,
            end=START + PERIOD,
            extra=extra,
            hang=1.0,
            page_size=client["page_size"],
            concurrency=client["concurrency"],
            slice_rows=client["slice_rows"],
            **settings,
        ) as simulator:
            # A server that is started anew is the same instance.
            self._port = simulator.port
            yield simulator

    def _change(self, verb: str, second: int) -> Any:
        moment = START + timedelta(seconds=second)
        dry_run = bool(self._schedule.export.get("dry_run"))
        if verb.startswith("insert"):
            id_ = NewId.BETWEEN if verb == "insert-between" else NewId.NEXT
            return Insert(moment, {"package_name": "late"}, id_, dry_run)
        if verb == "delete":
            return Delete(moment)
        return Hide(moment, moment + timedelta(hours=8)) if verb == "hide" else Reveal()

    def _state(self, simulator: Simulator) -> State:
        start, end = (START + timedelta(seconds=second) for second in self._schedule.window)
        dry_run = bool(self._schedule.export.get("dry_run"))
        events = list(simulator.truth(start, end, dry_run))
        csv = self._schedule.export["file_format"] == "csv"
        return State(events, csv_rows(simulator.truth_csv(start, end, dry_run)) if csv else [])

    # The steps

    def _before(self) -> Step:
        before = self._schedule.before
        with self._server({}, {}) as simulator:
            changed: dict[str, Any] = {"allow_shrink": True, "replace": True}
            window = list(self._schedule.window)
            if before == "filtered":
                changed["actions"] = ["approved"]
            if before == "wider":
                window[1] += 60
            step = self._calm("before", simulator, window, **changed)
        keys: list[str | None] = list(step.stored.data) or [None]
        [key] = keys
        if key is not None and before == "foreign":
            self._bucket.clear()
            self._put(key, FOREIGN)
        if before == "scribbled":
            random = Random(f"scribble {self._schedule.seed}")
            for manifest, body in step.stored.manifests.items():
                place = random.randrange(len(body))
                self._put(manifest, random.choice([body[:place], body[:place] + b"\xff" + body[place + 1 :], b"[]"]))
        step.stored = self._stored()
        return step

    def _calm(self, name: str, simulator: Simulator, window: list[int] | None = None, **changed: Any) -> Step:
        step = Step(name, states=[self._state(simulator)])
        self._states = step.states
        if name == "again":
            changed["retention"] = retention(self._schedule)
        started = time.monotonic()
        with self._connected(self._s3_url), MainThread():
            operator = new_operator(self._schedule, self._bucket.name, window or self._schedule.window, **changed)
            step.tries.append(attempt(name, operator))
        step.seconds = time.monotonic() - started
        step.stored = self._stored()
        return step

    def _disturbed(self, simulator: Simulator) -> Step:
        schedule = self._schedule
        step = Step("disturbed", states=[self._state(simulator)])
        self._states = step.states
        trigger = _Trigger(schedule.process)
        started = time.monotonic()
        with S3Proxy(self._s3_url, before=trigger.before_s3, after=trigger.after_s3) as proxy:
            proxy.fails = {int(number): Failure(failure) for number, failure in schedule.s3.items()}
            trigger.slow(schedule.s3_seconds)
            if schedule.s3_outage:
                trigger.outage(proxy, *schedule.s3_outage)
            trigger.watch(simulator)
            with self._connected(proxy.url):
                step.tries += self._tries(trigger)
            trigger.end()
            step.s3_failed = trigger.failed(proxy)
        step.seconds = time.monotonic() - started
        step.stored = self._stored()
        return step

    def _tries(self, trigger: _Trigger) -> list[Try]:
        schedule = self._schedule
        kind = schedule.process.get("kind")
        if kind in ("sigterm", "sigkill"):
            return [self._in_process(kind, trigger)]
        operator = new_operator(schedule, self._bucket.name, schedule.window, retention=retention(schedule))
        others: list[Try] = []
        with MainThread() as main:
            if kind == "two-tries":
                other = new_operator(schedule, self._bucket.name, schedule.window, retention=retention(schedule))
                thread = threading.Thread(target=lambda: others.append(attempt("other", other)), daemon=True)
                trigger.action = thread.start
            elif kind == "raise":
                trigger.action = main.order
            elif kind == "stop":
                trigger.action = operator.on_kill
            ended = attempt("try", operator, lambda: main.fired or (kind == "stop" and trigger.fired))
        trigger.end()
        if kind == "two-tries" and trigger.fired:
            thread.join(MOST_SECONDS)
            if thread.is_alive():
                raise TimeoutError("the other try hangs")
        return [ended, *others]

    def _in_process(self, kind: str, trigger: _Trigger) -> Try:
        context = multiprocessing.get_context("forkserver")
        receiving, sending = context.Pipe(duplex=False)
        connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
        order = {"environment": connections, "schedule": self._schedule.line(), "bucket": self._bucket.name}
        process = context.Process(target=in_process, args=(order, sending), daemon=True)
        process.start()
        sending.close()
        trigger.action = process.terminate if kind == "sigterm" else process.kill
        try:
            ended = receiving.recv() if receiving.poll(MOST_SECONDS) else None
        except EOFError:
            ended = None
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join(5)
            raise TimeoutError("the try in a process of its own hangs")
        assert ended is None or isinstance(ended, Try)
        return ended or Try("try", killed=True)

    # The rest of the world

    @contextmanager
    def _connected(self, url: str) -> Iterator[None]:
        connection = json.dumps(aws_connection(url, connect_timeout=2, read_timeout=20))
        with patch.dict(os.environ, {f"AIRFLOW_CONN_{AWS.upper()}": connection}):
            yield

    def _record_states(self, simulator: Simulator) -> None:
        """Note what the server holds after each change; it makes them between two requests, in every step."""
        apply = simulator.app.store.apply

        def recorded(change: Any) -> int | None:
            done = None
            with suppress(KeyError):  # there is no event to delete any more
                done = apply(change)
            self._states.append(self._state(simulator))
            return done

        simulator.app.store.apply = recorded  # type: ignore[method-assign]

    def _put(self, key: str, body: bytes) -> None:
        self._bucket.client.put_object(Bucket=self._bucket.name, Key=key, Body=body)

    def _stored(self) -> Stored:
        bucket = self._bucket
        return Stored({key: bucket.body(key) for key in bucket.objects()}, bucket.uploads())


class _Trigger:
    """Does what a schedule says when the request of its number arrives."""

    def __init__(self, process: dict[str, Any]) -> None:
        self._at = process.get("at")
        self._number = process.get("number", 0)
        self._delay = process.get("delay", 0.0)
        self._seconds = 0.0
        self._asked = 0
        self._lock = threading.Lock()
        self._outage: tuple[S3Proxy, int, Failure] | None = None
        self._timer: threading.Timer | None = None
        self.action: Callable[[], Any] = lambda: None
        self.fired = False

    def slow(self, seconds: float) -> None:
        self._seconds = seconds

    def outage(self, proxy: S3Proxy, number: int, failure: str) -> None:
        self._outage = proxy, number, Failure(failure)

    def failed(self, proxy: S3Proxy) -> list[int]:
        """Return the numbers of the S3 requests that failed."""
        asked = len(proxy.requests)
        found = [number for number in proxy.fails if number <= asked]
        return found + list(range(self._outage[1], asked + 1) if self._outage else ())

    def watch(self, simulator: Simulator) -> None:
        handle = simulator.app.handle

        def watched(request: Any) -> Any:
            with self._lock:
                self._asked += 1
                number = self._asked
            self._arrived("server", number)
            return handle(request)

        simulator.app.handle = watched  # type: ignore[method-assign]

    def before_s3(self, number: int, name: str) -> None:
        if self._outage and number >= self._outage[1]:
            self._outage[0].outage = self._outage[2]
        if self._seconds:
            time.sleep(self._seconds)
        self._arrived("s3-before", number)

    def after_s3(self, number: int, name: str) -> None:
        self._arrived("s3-after", number)

    def end(self) -> None:
        """Set nothing off from now on, and wait until what was set off has happened."""
        with self._lock:
            self._at = None
        if self._timer is not None:
            self._timer.join()

    def _arrived(self, at: str, number: int) -> None:
        with self._lock:
            if self.fired or at != self._at or number < self._number:
                return
            self.fired = True
            if self._delay:
                self._timer = threading.Timer(self._delay, self.action)
                self._timer.daemon = True
                self._timer.start()
        if self._timer is None:
            self.action()


def _apply(simulator: Simulator, change: Any) -> None:
    with suppress(KeyError):  # there is no event to delete
        simulator.app.store.apply(change)


def _value(name: str, value: Any) -> Any:
    hint = _HINTS[name]
    return hint(value) if isinstance(hint, type) and issubclass(hint, Enum) else value
