"""`make demo`: exports a day from a made-up tenant to an S3 API, shows what it left there, and sends an alert.

Nothing outlives it: the servers are threads of this process, Airflow is its only child, and the files are in a
temporary directory, which is kept for its log only if something failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from alert import show_alert
from child import STOP_SIGNALS, AirflowFailed, Child
from evidence import Archive, Day, show
from made_up import BUCKET, TOKEN, SigningKey, made_up_s3, made_up_tenant
from question import show_query

DAG_ID = "curation_audit_daily_export"
#: The provider works there; the command that the demo runs does not.
CANNOT_SHOW = ("3.0.", "3.2.")
CANNOT_SHOW_WHY = (
    "`airflow dags test` does not know assets on Airflow 3.0, and on 3.2 it calls its own API before that has started"
)
DAGS = Path(__file__).resolve().parent.parent / "dags"


class Untrue(Exception):
    """A claim of the demo is not true."""


def main() -> int:
    """Run the demo; the exit status is 0 only if everything that it says is true."""
    arguments = _parser().parse_args()
    airflow = version("apache-airflow")
    if airflow.startswith(CANNOT_SHOW):
        print(f"Airflow {airflow} cannot show this: {CANNOT_SHOW_WHY}. Run `make demo`, or `make demo AIRFLOW=2.11`.")
        return 2
    for stop in STOP_SIGNALS:
        signal.signal(stop, _interrupt)
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            _demo(stack, Day.of(arguments.day))
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running, and nothing is left behind.", flush=True)
        return 130
    except (AirflowFailed, Untrue) as failure:
        print(f"\nFAILED: {failure}", flush=True)
        return 1
    print(f"\nEverything was stopped and deleted. The demo took {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--day",
        type=_midnight,
        help="the day to export, such as 2026-11-09: one of the last 29, on or after the DAG's start_date "
        "(default: yesterday, in UTC)",
    )
    return parser


def _midnight(text: str) -> datetime:
    midnight = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    latest = Day.of(None).start
    if not latest - timedelta(days=28) <= midnight <= latest:
        raise argparse.ArgumentTypeError(f"{text} is not one of the last 29 days")
    return midnight


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only once: a second signal must not interrupt the clean-up.
    for stop in STOP_SIGNALS:
        signal.signal(stop, signal.SIG_IGN)
    raise KeyboardInterrupt


def _demo(stack: ExitStack, day: Day) -> None:
    _forget_the_users_settings()
    home = stack.enter_context(_home())
    tenant = stack.enter_context(made_up_tenant(day))
    s3 = stack.enter_context(made_up_s3())

    events, rows = tenant.count(day.start, day.end), tenant.count(day.start, day.end, dry_run=True)
    _title("1. What runs here")
    print(f"Curation  {tenant.url}, simulated: a tenant with {tenant.settings.events:,} made-up events in 30 days;")
    print(f"          {events:,} are of {day}, with {rows:,} rows of dry-run policies. It requires a token,")
    print(f"          and takes {tenant.settings.latency:.1f} s for each answer, so that there is something to watch.")
    print(f"S3        {s3.url}, simulated, with an empty bucket {BUCKET!r}.")
    key = SigningKey()
    print("Key       Ed25519, made up for this demo. Exports sign their manifests with it. Its public key has the id")
    print(f"          {key.public_key.id}.")
    print(f"Airflow   {version('apache-airflow')}, with its own directory and database. It starts now.", flush=True)

    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CURATION_DEFAULT": tenant.connection_json(password=TOKEN),
        "AIRFLOW_CONN_AWS_DEFAULT": s3.connection_json(),
        "AIRFLOW_CONN_AUDIT_SIGNING": key.connection_json(),
        # What turns signing on in the example DAGs.
        "AIRFLOW_VAR_CURATION_SIGNING_CONN_ID": "audit_signing",
        # One format on Airflow 2 and 3, with the logger's name.
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__LOGGING__LOG_FORMAT": "%(levelname)s [%(name)s] %(message)s",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    sys.stdout.flush()
    airflow = stack.enter_context(Child(environment, home / "airflow.log"))
    airflow.run("db", "migrate")

    # The data interval of a run with this logical date is the day before, on Airflow 2 and 3.
    command = ("dags", "test", DAG_ID, f"{day.end:%Y-%m-%dT%H:%M:%S+00:00}")
    _title(f"2. airflow {' '.join(command)}")
    print(f"The run's data interval, and so the window of each of its three tasks, is {day}. From their logs:")
    airflow.run(*command, tell=lambda seconds, line: print(f"[{seconds:3.0f} s] {line}", flush=True))

    archive = Archive(s3.client(), BUCKET)
    _title("3. What is in S3 now")
    true = show(archive, tenant, day, key.public_key, _title)
    answered = show_query(archive, tenant, day, _title)
    if not show_alert(airflow, tenant, _title) or not (true and answered):
        raise Untrue("something above is UNTRUE.")


def _title(text: str) -> None:
    print(f"\n{text}\n{'-' * min(len(text), shutil.get_terminal_size((120, 40)).columns)}", flush=True)


@contextmanager
def _home() -> Iterator[Path]:
    """Make a directory that is deleted at the end, except after a failure."""
    home = Path(tempfile.mkdtemp(prefix="curation-demo-"))
    try:
        yield home
    except (AirflowFailed, Untrue):
        print(f"\nThe whole log is kept in {home / 'airflow.log'}", flush=True)
        raise
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    shutil.rmtree(home, ignore_errors=True)


def _forget_the_users_settings() -> None:
    """Drop the user's settings of Airflow, AWS and proxies: the demo talks to this machine only."""
    for name in list(os.environ):
        if name.startswith(("AIRFLOW", "AWS_", "BOTO_")) or name.lower().endswith("_proxy"):
            del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
