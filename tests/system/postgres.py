"""A PostgreSQL of the tests' own, from the binaries of Debian's package: on a free port, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from tests.system.processes import free_port

_NEEDED = ("initdb", "postgres", "pg_dump")
_MISSING = (
    "The system tests need PostgreSQL. Its programs (initdb, postgres, pg_dump) are neither in PATH nor in "
    "/usr/lib/postgresql/*/bin: apt-get install postgresql"
)


def find_binaries() -> Path:
    """The folder with PostgreSQL's programs; the tests end here without it, since a skip would look like a pass."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name), reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in _NEEDED):
            return folder
    pytest.exit(_MISSING, returncode=2)


class Postgres:
    """A server with one database, ``airflow``; it can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._binaries = find_binaries()
        self._data = folder / "data"
        self.log = folder / "postgres.log"
        self.port = free_port()
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/airflow"
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = _unprivileged()
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, cwd="/", **self._user)
        assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def create(self) -> None:
        self._run("initdb", "-D", str(self._data), "-U", "airflow", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="airflow", dbname="postgres")) as base:
            base.autocommit = True
            base.cursor().execute("create database airflow")

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        options |= {"max_connections": 200, "shared_buffers": "64MB"}
        # Workers that outlive a killed scheduler keep its connections open, and with them its locks.
        options |= {"idle_in_transaction_session_timeout": "15s"}
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._user
            )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg2.connect(
                    host="127.0.0.1", port=self.port, user="airflow", dbname="postgres", connect_timeout=5
                ).close()
                return
            except psycopg2.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """Stop as in a crash (an "immediate" shutdown): connections are cut, and the start replays the log."""
        process, self._process = self._process, None
        if process is None:
            return
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        try:
            self.create()
            yield self
        finally:
            self.stop()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="airflow", dbname="airflow")) as base:
            cursor = base.cursor()
            cursor.execute(query.replace("?", "%s"), parameters)
            return list(cursor.fetchall())

    def dump(self) -> bytes:
        """Everything in the database, as text."""
        return self._run("pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "airflow", "--inserts", "airflow")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server in a folder that its user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        with Postgres(folder).running() as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.exit("PostgreSQL does not run as root, and there is no user postgres or nobody.", returncode=2)
