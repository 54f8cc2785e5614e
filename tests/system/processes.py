"""A whole Airflow of its own processes, on free ports, in a folder of its own; killed with all that they started."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def contents(folder: Path) -> dict[Path, bytes]:
    """All files below a folder; such as are gone before they are read are left out, as a database's journal is."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            with suppress(FileNotFoundError):
                found[file] = file.read_bytes()
    return found


def _ask(method: str, url: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json", "Accept": "application/json", **headers})
    request.method = method
    try:
        with urlopen(request, timeout=60) as answer:
            status, content = answer.status, answer.read()
    except HTTPError as error:
        status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content.decode(errors="replace")


class Database(Protocol):
    """Where Airflow keeps its state."""

    url: str

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]: ...

    def dump(self) -> bytes: ...


class Sqlite:
    """A file, for an Airflow with little to do."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.url = f"sqlite:///{file}"

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._open() as database:
            return database.execute(query, parameters).fetchall()

    def dump(self) -> bytes:
        with self._open() as database:
            return "\n".join(database.iterdump()).encode()

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=30))


class Airflow:
    """Scheduler, triggerer and what else this Airflow needs.

    :param home: an empty folder.
    :param dags: a folder of DAGs, which run without being switched on.
    :param database: SQLite by default; with another one all components run, and the REST API can be asked.
    :param parallelism: how many tasks run at a time.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        environment: Mapping[str, str],
        database: Database | None = None,
        parallelism: int = 2,
    ) -> None:
        self.home = home
        self._database = database or Sqlite(home / "airflow.db")
        port = free_port()
        secret = secrets.token_urlsafe(32)
        self.fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            # Airflow 2's executor calls the command by its name.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__FERNET_KEY": self.fernet_key,
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database.url,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            # A process's title would be written over its environment, by which it is found here.
            "SPT_NOENV": "1",
            # What was killed is known to be dead after seconds.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            # A DAG that has changed is run as it is now: in its older form its tasks have ended, and a run has none.
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_FETCH_INTERVAL": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
            **environment,
        }
        self._port = port
        self._components = ["scheduler", "triggerer"]
        if AIRFLOW_3:
            self._components = ["api-server", "scheduler", "dag-processor", "triggerer"]
            self._environment |= {
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API__SECRET_KEY": secret,
                "AIRFLOW__API_AUTH__JWT_SECRET": secret,
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            }
        elif database is not None:
            self._components = ["webserver", "scheduler", "dag-processor", "triggerer"]
            self._environment |= {
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth",
                "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
                "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
                "AIRFLOW__WEBSERVER__WORKERS": "1",
                "AIRFLOW__WEBSERVER__SECRET_KEY": secret,
                "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
                "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            }
        #: Users of the REST API by role.
        self._passwords = {"admin": secrets.token_hex(12), "user": secrets.token_hex(12)}
        self._tokens: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def running(self) -> Iterator[Airflow]:
        """Run everything; at the end nothing of it is left."""
        self.command("db", "migrate")
        self._create_users()
        try:
            for component in self._components:
                self.start(component)
                if component == "api-server":
                    # A task that starts without it has failed.
                    eventually(self._answers, 180, "API server")
            if "webserver" in self._components:
                eventually(self._answers, 180, "webserver")
                self._create_ordinary_user()
            yield self
        finally:
            for component in list(self._running):
                self.kill(component)
            for process in self.processes():
                _kill(process)

    def command(self, *arguments: str, timeout: float = 180, check: bool = True) -> str:
        """Run a command of Airflow's, and return what it prints."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(
            command,
            env=self._environment,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        with open(self.home / "commands.log", "a") as log:
            log.write(done.stdout)
        assert done.returncode == 0 or not check, f"airflow {' '.join(arguments)}: {done.stdout[-3000:]}"
        return done.stdout

    def _create_users(self) -> None:
        if AIRFLOW_3:
            # Otherwise Airflow makes up passwords, and prints them.
            file = self.home / "passwords.json"
            file.write_text(json.dumps(self._passwords))
            self._environment |= {
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,user:user",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
            }
        elif "webserver" in self._components:
            names = ("--firstname", "admin", "--lastname", "admin", "--email", "admin@airflow.example")
            login = ("--username", "admin", "--password", self._passwords["admin"], "--role", "Admin")
            self.command("users", "create", *login, *names)

    def _create_ordinary_user(self) -> None:
        user: dict[str, Any] = {
            "username": "user",
            "password": self._passwords["user"],
            "email": "user@airflow.example",
        }
        user |= {"first_name": "user", "last_name": "user", "roles": [{"name": "User"}]}
        status, answer = self.api("POST", "users", user)
        assert status == 200, answer

    def api(self, method: str, path: str, body: Any = None, user: str = "admin") -> tuple[int, Any]:
        """Ask the REST API; the status and what it answers, as JSON if it is."""
        root = f"http://127.0.0.1:{self._port}"
        if AIRFLOW_3:
            if user not in self._tokens:
                login = {"username": user, "password": self._passwords[user]}
                status, answer = _ask("POST", f"{root}/auth/token", login, {})
                assert status == 201, answer
                self._tokens[user] = answer["access_token"]
            authorization = f"Bearer {self._tokens[user]}"
        else:
            authorization = "Basic " + base64.b64encode(f"{user}:{self._passwords[user]}".encode()).decode()
        version = "v2" if AIRFLOW_3 else "v1"
        return _ask(method, f"{root}/api/{version}/{path}", body, {"Authorization": authorization})

    def start(self, component: str) -> None:
        command = [sys.executable, "-m", "airflow", component]
        with open(self.home / f"{component}.log", "ab") as log:
            self._running[component] = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _answers(self) -> bool:
        path = "api/v2/version" if AIRFLOW_3 else "health"
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, component: str, *, alone: bool = False) -> None:
        """``kill -9`` a component and everything that it started, or itself alone."""
        process = self._running.pop(component)
        family = [] if alone else self.family(process.pid)
        process.kill()
        for member in family:
            _kill(member)
        process.wait(timeout=30)
        # Not only signalled: their connections are closed when they are gone.
        psutil.wait_procs(family, timeout=30)

    def family(self, pid: int) -> list[psutil.Process]:
        """What a process started, directly or not."""
        try:
            return psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def processes(self) -> list[psutil.Process]:
        """Every process of this Airflow, also those whose parents are dead."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("AIRFLOW_HOME") == str(self.home):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def talking_to(self, port: int) -> list[psutil.Process]:
        """The processes with an open connection to a port of this machine."""
        found = []
        for process in self.processes():
            try:
                peers = {each.raddr.port for each in process.net_connections("tcp") if each.raddr}
            except (psutil.Error, OSError):
                continue
            if port in peers:
                found.append(process)
        return found

    def revive(self) -> list[str]:
        """Start the components again that have ended, as an init system would; their names."""
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        for name in ended:
            self.kill(name)
            self.start(name)
        return ended

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What is in Airflow's database; nothing while there is no such table."""
        return self._database.rows(query, *parameters)

    def dump(self) -> bytes:
        """Everything in Airflow's database, as SQL."""
        return self._database.dump()

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
