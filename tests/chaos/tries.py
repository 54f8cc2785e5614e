"""One execution of the operator, here or in a process of its own, and how it ended."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_curation.audit.errors import ArchiveError
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from tests.chaos.facts import Fault, Try
from tests.chaos.schedule import Schedule
from tests.support import waits
from tests.support.exports import FOREVER, START, QuickEvent, sliced

#: A try that takes longer hangs.
MOST_SECONDS = 60
#: Bytes of an upload's part: an export of the harness has between none and a few hundred kilobytes.
PART_BYTES = 4096


class Injected(BaseException):
    """Stands for what Airflow raises in a task's main thread: its time-outs, and SIGTERM on Airflow 2."""


class TookTooLongError(BaseException):
    """The try hung."""


def new_operator(schedule: Schedule, bucket: str, window: list[int], **changed: Any) -> CurationAuditToS3Operator:
    """Return the operator of a schedule, with some of its arguments changed."""
    arguments = {**schedule.export, **changed}
    if arguments.pop("signed", False):
        arguments["signing_conn_id"] = "signing_key"
    if "pseudonymize" in arguments:
        arguments["pseudonym_conn_id"] = "pseudonym_key"
    operator = CurationAuditToS3Operator(
        task_id="export",
        s3_bucket=bucket,
        s3_key="export{suffix}",
        start=START + timedelta(seconds=window[0]),
        end=START + timedelta(seconds=window[1]),
        **{"retention": FOREVER, **arguments},
    )
    vars(operator)["_stop"] = QuickEvent()
    return operator


def retention(schedule: Schedule) -> timedelta:
    """Return how long the server remembers, as the user knows it."""
    if schedule.forgotten is None:
        return FOREVER
    cutoff = START + timedelta(seconds=schedule.window[0] + schedule.forgotten)
    return datetime.now(timezone.utc) - cutoff


def fault_of(error: BaseException) -> Fault:
    """Return what there is to know of an exception, as data."""
    causes: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in causes:
            causes.append(each)
            waiting += [each.__cause__, each.__context__]
    return Fault(
        kinds=tuple(kind.__name__ for kind in type(error).__mro__),
        message=str(error),
        text="".join(traceback.format_exception(error)),
        by_s3=any(isinstance(each, ClientError | BotoCoreError | ArchiveError) for each in causes),
    )


def attempt(name: str, operator: CurationAuditToS3Operator, disturbed: Callable[[], bool] = lambda: False) -> Try:
    """Execute the operator, and return how it ended."""
    try:
        result = operator.execute({})
    except BaseException as error:
        return Try(name, fault=fault_of(error), disturbed=disturbed())
    return Try(name, result=result, disturbed=disturbed())


class MainThread:
    """Raises in the main thread at any moment while it is armed, as a signal's handler does."""

    def __init__(self) -> None:
        self._armed = False
        self.fired = False

    def __enter__(self) -> MainThread:
        signal.signal(signal.SIGUSR1, self._on_order)
        signal.signal(signal.SIGALRM, self._on_time_out)
        signal.alarm(MOST_SECONDS)
        self._armed = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._armed = False
        signal.alarm(0)

    def order(self) -> None:
        """Raise from now on, called from any thread."""
        os.kill(os.getpid(), signal.SIGUSR1)

    def _on_order(self, number: int, frame: Any) -> None:
        if self._armed:
            self._armed = False
            self.fired = True
            raise Injected("raised in the main thread")

    def _on_time_out(self, number: int, frame: Any) -> None:
        raise TookTooLongError(f"the try took more than {MOST_SECONDS} s")


def in_process(order: dict[str, Any], answers: Connection) -> None:
    """Execute an operator in this process, which may be killed, and send how it ended."""
    os.environ.update(order["environment"])
    schedule = Schedule.parse(order["schedule"])
    with (
        waits.quick(),
        waits.one_loader(),
        waits.small_parts(PART_BYTES),
        waits.short_claims(),
        sliced(schedule.client["slice_rows"]),
    ):
        operator = new_operator(schedule, order["bucket"], schedule.window, retention=retention(schedule))
        told = threading.Event()

        def on_term(number: int, frame: Any) -> None:
            told.set()
            operator.on_kill()
            if schedule.seed % 2:
                raise Injected("Task received SIGTERM signal")

        signal.signal(signal.SIGTERM, on_term)
        ended = attempt("try", operator, told.is_set)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers.send(ended)
    answers.close()
