"""A whole deployment: Airflow on PostgreSQL, a simulated server and an S3 API that can be made to fail."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from moto.server import ThreadedMotoServer

from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from tests.support.exports import Bucket, aws_connection, csv_of, s3_client, truth_csv, truth_jsonl
from tests.support.s3_proxy import S3Proxy
from tests.system.markers import HEADER, LOGIN, PASSWORD, TOKEN, WRONG, plant
from tests.system.postgres import Postgres, postgres
from tests.system.processes import AIRFLOW_3, Airflow, eventually, free_port

BUCKET = "audit-archive"
#: The longest that a request is halted, and that boto waits for an answer, in seconds.
_PATIENCE = 400
ENDS = ("success", "failed")
#: Two of the slices that an export reads one after the other, of eleven pages each.
LARGE_EVENTS = 40_000

Span = tuple[datetime, datetime]
#: A window, its stream and the ending of its key.
Export = tuple[Span, str, str]


class Gate:
    """Halts S3 requests of one name until as many have come as were waited for, and someone lets them go."""

    def __init__(self, proxy: S3Proxy, name: str, count: int = 1) -> None:
        self._proxy, self._name, self._count = proxy, name, count
        self._arrived = 0
        self._lock = threading.Condition()
        self._open = threading.Event()
        self._drop = False

    def __enter__(self) -> Gate:
        self._proxy.before = self._before
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.before = None
        self._open.set()

    def _before(self, number: int, name: str) -> bool:
        if name != self._name or self._open.is_set():
            return False
        with self._lock:
            if self._arrived >= self._count:
                return False
            self._arrived += 1
            self._lock.notify_all()
        self._open.wait(_PATIENCE)
        return self._drop

    def reached(self, seconds: float = 180) -> None:
        with self._lock:
            if not self._lock.wait_for(lambda: self._arrived >= self._count, seconds):
                raise TimeoutError(f"After {seconds} s only {self._arrived} of {self._count} requests {self._name}.")

    def release(self, *, drop: bool = False) -> None:
        """Let the requests go, or cut their connections."""
        self._drop = drop
        self._open.set()


@dataclass
class Deployment:
    """What the scenarios work with."""

    airflow: Airflow
    postgres: Postgres
    server: Simulator
    #: Many events on one day: its exports have several parts.
    busy: Simulator
    #: More events on a day than are read before the upload begins.
    large: Simulator
    s3: S3Proxy
    bucket: Bucket
    dags: Path
    today: datetime
    runs: int = 0
    #: What was exported from the busy server so far.
    mortal: list[Span] = field(default_factory=list)
    #: What was in the database when it mattered, beside what is in it at the end.
    seen: list[bytes] = field(default_factory=list)

    def day(self, number: int) -> datetime:
        return self.today + timedelta(days=number)

    def days(self, first: int, count: int) -> list[Span]:
        return [(self.day(number), self.day(number + 1)) for number in range(first, first + count)]

    # Runs

    def trigger(self, dag_id: str, span: Span | None = None, conf: dict[str, Any] | None = None) -> str:
        """Start a run through the REST API, with that data interval; its id."""
        self.runs += 1
        body: dict[str, Any] = {"dag_run_id": f"{dag_id}-{self.runs}", "conf": conf or {}}
        if span is not None:
            # Runs of one DAG need different logical dates.
            logical = span[0] + timedelta(microseconds=self.runs)
            body |= {"logical_date": logical, "data_interval_start": span[0], "data_interval_end": span[1]}
        elif AIRFLOW_3:
            body["logical_date"] = None
        body = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in body.items()}
        status, answer = self.airflow.api("POST", f"dags/{dag_id}/dagRuns", body)
        assert status in (200, 201), answer
        return str(answer["dag_run_id"])

    def pause(self, dag_id: str, paused: bool) -> None:
        status, answer = self.airflow.api("PATCH", f"dags/{dag_id}?update_mask=is_paused", {"is_paused": paused})
        assert status == 200, answer

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        found = self.airflow.rows("select state from dag_run where dag_id = ? and run_id = ?", dag_id, run_id)
        return found[0][0] if found else None

    def ended(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """How a run ended."""
        wanted = f"end of {run_id}"
        return str(eventually(lambda: (s := self.run_state(dag_id, run_id)) in ENDS and s, seconds, wanted))

    def states(self, dag_id: str) -> list[str]:
        return [state for (state,) in self.airflow.rows("select state from dag_run where dag_id = ?", dag_id)]

    def tries(self, dag_id: str, run_id: str) -> int:
        query = "select max(try_number) from task_instance where dag_id = ? and run_id = ?"
        return int(self.airflow.rows(query, dag_id, run_id)[0][0])

    def task_logs(self, dag_id: str) -> str:
        """What the tasks of a DAG logged, in all tries."""
        logs = sorted((self.airflow.home / "logs" / f"dag_id={dag_id}").rglob("*.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned, as the REST API tells it."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
        status, answer = self.airflow.api("GET", path)
        assert status == 200, answer
        value = answer["value"]
        # Airflow 2 gives Python's text of it.
        return ast.literal_eval(value) if isinstance(value, str) else value

    # S3

    def under(self, place: str) -> list[str]:
        return [key for key in self.bucket.objects() if key.startswith(f"{place}/")]

    def bodies(self, place: str) -> dict[str, bytes]:
        """The objects of a place, without their manifests."""
        return {key: self.bucket.body(key) for key in self.under(place) if "/_manifests/" not in key}

    def assert_complete(
        self,
        place: str,
        spans: Iterable[Span],
        *,
        server: Simulator | None = None,
        stream: str = "events",
        suffix: str = ".jsonl.gz",
    ) -> None:
        """Check that a place has these windows and nothing else, each with every event of the server's truth once."""
        self.assert_exported(place, [(span, stream, suffix) for span in spans], server or self.server)

    def assert_exported(self, place: str, exports: Iterable[Export], server: Simulator) -> None:
        """The same of windows in several streams and formats."""
        instance = self.instance(server)
        keys = {key_of(place, instance, *export): export for export in exports}
        assert keys, "no windows"
        assert self.under(place) == sorted([*keys, *(manifest_key(key) for key in keys)])
        for key, ((start, end), stream, suffix) in keys.items():
            csv, dry_run = suffix == ".csv.zip", stream == "dry_run"
            content = csv_of(self.bucket.body(key)) if csv else self.bucket.content(key)
            assert content == (truth_csv if csv else truth_jsonl)(server, start, end, dry_run), key
            manifest, count = json.loads(self.bucket.body(manifest_key(key))), server.count(start, end, dry_run)
            assert manifest["reconciled"] is True
            assert manifest["events"] == manifest["total_before"] == manifest["total_after"] == count
            assert manifest["sha256"] == hashlib.sha256(self.bucket.body(key)).hexdigest()
            assert (manifest["start"], manifest["end"]) == (_iso(start), _iso(end))
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """Check that no upload is open, and that each object has its manifest, and each manifest its object."""
        assert self.bucket.uploads() == []
        objects = set(self.bucket.objects())
        manifests = {key for key in objects if "/_manifests/" in key}
        assert {manifest_key(key) for key in objects - manifests} == manifests

    def instance(self, server: Simulator) -> str:
        """The server's name in keys."""
        return f"127.0.0.1_{server.port}"


def key_of(place: str, instance: str, span: Span, stream: str, suffix: str) -> str:
    start, end = span
    name = f"{start:%Y%m%dT%H%M%SZ}_{end:%Y%m%dT%H%M%SZ}{suffix}"
    form = suffix.split(".")[1]
    return f"{place}/instance={instance}/stream={stream}/format={form}/dt={start:%Y-%m-%d}/{name}"


def manifest_key(key: str) -> str:
    root, _, relative = key.partition("/")
    return f"{root}/_manifests/{relative}.json"


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _connection(server: Simulator, login: str | None, password: str, **extra: Any) -> dict[str, Any]:
    fields = {"conn_type": "jfrog_curation", "host": server.url, "password": password}
    return {**fields, **({"login": login} if login else {}), "extra": {"timeout": 10, **extra}}


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Run everything; at the end nothing of it is left."""
    home, dags = folder / "home", folder / "dags"
    home.mkdir()
    dags.mkdir()
    here = Path(__file__)
    shutil.copyfile(here.with_name("exports_dag.py"), dags / "exports.py")
    shutil.copy(here.parents[2] / "dags" / "curation_audit_backfill.py", dags)
    # Late enough that the last day has settled.
    today = (datetime.now(timezone.utc) - timedelta(minutes=10)).replace(hour=0, minute=0, second=0, microsecond=0)
    access: dict[str, Any] = {"tokens": (TOKEN,), "users": {LOGIN: PASSWORD}}
    settings = SimulatorSettings(events=24_000, start=today - timedelta(days=29), end=today, **access)
    crowd = SimulatorSettings(
        events=14_000, seed=2, start=today - timedelta(days=2), end=today - timedelta(days=1), **access
    )
    with ExitStack() as stack:
        server = stack.enter_context(Simulator(settings, port=free_port()))
        busy = stack.enter_context(Simulator(crowd, port=free_port()))
        large = stack.enter_context(Simulator(replace(crowd, events=LARGE_EVENTS, seed=3), port=free_port()))
        # It logs every request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        stack.callback(moto.stop)
        host, port = moto.get_host_and_port()
        bucket = Bucket.create(s3_client(f"http://{host}:{port}"), BUCKET)
        s3 = stack.enter_context(S3Proxy(f"http://{host}:{port}"))
        database = stack.enter_context(postgres())
        connections = {
            "aws_default": aws_connection(s3.url, read_timeout=_PATIENCE),
            "curation_token": _connection(server, None, TOKEN, secret_headers={"X-Made-Up": HEADER}),
            "curation_busy": _connection(busy, LOGIN, PASSWORD),
            "curation_large": _connection(large, LOGIN, PASSWORD),
            "curation_refused": _connection(server, LOGIN, WRONG),
        }
        environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        environment |= {
            "SYSTEM_TEST_TODAY": today.isoformat(),
            # What was killed is known to be dead after seconds.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
            "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "40",
            "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "16",
        }
        for each, moment in ((server, today - timedelta(days=4, hours=3)), (busy, today - timedelta(days=1, hours=3))):
            plant(each, moment)
        airflow = stack.enter_context(Airflow(home, dags, environment, database, parallelism=8).running())
        deployed = Deployment(airflow, database, server, busy, large, s3, bucket, dags, today)
        # This connection is in the database, the others are in the environment.
        stored = _connection(server, LOGIN, PASSWORD)
        stored |= {"connection_id": "curation_default", "extra": json.dumps(stored["extra"])}
        status, answer = airflow.api("POST", "connections", stored)
        assert status in (200, 201), answer
        eventually(lambda: airflow.rows("select 1 from dag where dag_id = 'refused'"), 180, "DAG in the database")
        yield deployed
