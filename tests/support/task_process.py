"""Runs exports in processes of their own, each with a task runner's way of taking SIGTERM; for ``test_signals``.

Orders are read from standard input, one JSON object a line. A process is forked for each, as Airflow does; its id, and
then its exit code, are written to the file descriptor of the first argument.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_curation.audit.exporting import window_export as export  # noqa: F401
from airflow_provider_curation.hooks import curation_audit  # noqa: F401
from airflow_provider_curation.s3 import exported_object  # noqa: F401
from airflow_provider_curation.transfers import progress  # noqa: F401
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from tests.support import waits
from tests.support.exports import END, FOREVER, START


class Terminated(BaseException):
    """Stands for Airflow 2's AirflowTaskTerminated, which is no Exception either."""


def run(order: dict[str, Any]) -> None:
    """Run the operator, and write what became of it."""
    os.environ.update(order["environment"])
    arguments = {
        "s3_prefix": "",
        "s3_key": "export{suffix}",
        "start": START,
        "end": END,
        "retention": FOREVER,
        **order["arguments"],
    }
    if order["settle_seconds"]:
        arguments["settle_time"] = timedelta(seconds=order["settle_seconds"])
    operator = CurationAuditToS3Operator(task_id="export", **arguments)

    def tell() -> None:
        operator._stop.wait()
        Path(order["heard"]).touch()

    def on_kill_and_go_on(number: int, frame: Any) -> None:
        threading.Thread(target=tell, daemon=True).start()
        operator.on_kill()

    def on_kill_and_raise(number: int, frame: Any) -> None:
        on_kill_and_go_on(number, frame)
        raise Terminated("Task received SIGTERM signal")

    outcome: dict[str, Any]
    claims = waits.short_claims() if order["short_claims"] else contextlib.nullcontext()
    try:
        signal.signal(signal.SIGTERM, on_kill_and_raise if order["raises"] else on_kill_and_go_on)
        with claims:
            outcome = {"result": operator.execute({})}
    except BaseException as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(order["outcome"]).write_text(json.dumps(outcome))


def warm_up() -> None:
    """Do once what every forked process would do anew, and slowly."""
    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda search_path_string=None: loader
    S3Hook(aws_conn_id=None, region_name="us-east-1").get_conn()
    get_hook_lineage_collector()  # type: ignore[no-untyped-call]


def main() -> None:
    warm_up()
    with open(int(sys.argv[1]), "w", buffering=1) as answers:
        print(json.dumps("ready"), file=answers)
        for line in sys.stdin:
            process = os.fork()
            if process == 0:
                try:
                    run(json.loads(line))
                finally:
                    os._exit(0)
            print(json.dumps(process), file=answers)
            _, status = os.waitpid(process, 0)
            print(json.dumps(os.waitstatus_to_exitcode(status)), file=answers)


if __name__ == "__main__":
    main()
