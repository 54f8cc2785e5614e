"""A whole Airflow of its own processes, on free ports, in a folder of its own; killed with all that they started."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import psutil
from airflow import __version__

AIRFLOW_3 = not __version__.startswith("2.")

_ROOT = Path(__file__).parents[2]
_T = TypeVar("_T")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(check: Callable[[], _T], seconds: float, what: str) -> _T:
    """Return what a check gives as soon as it is true.

    :raises TimeoutError: when it is not true in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.25)
    raise TimeoutError(f"After {seconds} s still no {what}.")


class Airflow:
    """Scheduler, triggerer and what else this Airflow needs, on SQLite.

    :param home: an empty folder.
    :param dags: a folder of DAGs, which run without being switched on.
    """

    def __init__(self, home: Path, dags: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self._database = home / "airflow.db"
        port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            # Airflow 2's executor calls the command by its name.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            # A triggerer that was killed is known to be dead after seconds.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
            **environment,
        }
        self._port = port
        self._components = ["scheduler", "triggerer"]
        if AIRFLOW_3:
            self._components = ["api-server", "scheduler", "dag-processor", "triggerer"]
            secret = secrets.token_urlsafe(32)
            self._environment |= {
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "2",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API__SECRET_KEY": secret,
                "AIRFLOW__API_AUTH__JWT_SECRET": secret,
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def running(self) -> Iterator[Airflow]:
        """Run everything; at the end nothing of it is left."""
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(command, env=self._environment, check=True, timeout=180, stdout=subprocess.DEVNULL)
        try:
            for component in self._components:
                self.start(component)
                if component == "api-server":
                    # A task that starts without it has failed.
                    eventually(self._answers, 180, "API server")
            yield self
        finally:
            for component in list(self._running):
                self.kill(component)

    def start(self, component: str) -> None:
        command = [sys.executable, "-m", "airflow", component]
        with open(self.home / f"{component}.log", "ab") as log:
            self._running[component] = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/api/v2/version", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, component: str) -> None:
        """``kill -9`` a component and everything that it started."""
        process = self._running.pop(component)
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for member in family:
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        process.wait(timeout=30)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What is in Airflow's database; nothing while there is no such table."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query, parameters).fetchall()

    def state(self, dag_id: str, task_id: str) -> str | None:
        """The state of a task's latest run."""
        query = "select state from task_instance where dag_id = ? and task_id = ? order by start_date desc limit 1"
        found = self.rows(query, dag_id, task_id)
        return found[0][0] if found else None

    def batches(self) -> list[dict[str, Any]]:
        """The payloads of all asset events, in order."""
        extras = self.rows("select extra from asset_event order by id")
        return [json.loads(extra)["payload"] for (extra,) in extras]

    def log(self, component: str) -> str:
        return (self.home / f"{component}.log").read_text(errors="replace")
