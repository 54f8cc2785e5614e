"""Runs competitors side by side against one endpoint and one S3 API, and checks what each of them left behind."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from statistics import mean, median

from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.simulator import Simulator
from bench.contention import Busy
from bench.endpoint import TOKEN, settings
from bench.peers import BUCKET, Job, Peer
from bench.processes import BENCHMARKS, ROOT, Server, Usage, run_measured, server
from bench.verify import Bucket, WrongExport

#: Seconds after which a run is given up.
RUN_SECONDS = 900
DAY = timedelta(days=1)


class RunFailed(Exception):
    """A competitor ended with an error or with a wrong object; the text names it and shows the end of its output."""


@dataclass(frozen=True)
class Run:
    """A run that ended: seconds (`work` is the time after the imports), bytes, and what the endpoint counted.

    `others` is how many cores other processes of the machine kept busy meanwhile.
    """

    wall: float
    cpu: float
    work: float | None
    memory: int | None
    object_bytes: int | None
    requests: int
    windows: int
    most_in_flight: int
    others: float | None


@dataclass
class Result:
    """The runs of one competitor at one latency, and their medians."""

    runs: list[Run] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)

    @property
    def work(self) -> float | None:
        return _median([run.work for run in self.runs])

    @property
    def memory(self) -> float | None:
        return _median([run.memory for run in self.runs])


def _median(values: list[float | None] | list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


class Arena:
    """A running endpoint and S3 API, and the environment in which competitors run."""

    def __init__(self, total: int, end: datetime, endpoint: Server, objects: Server, folder: Path) -> None:
        self.start, self.end = end - DAY, end
        self._tenant = Simulator(settings(total, self.start, end))
        self._endpoint, self._objects, self._folder = endpoint, objects, folder
        self._bucket = Bucket(objects.url, BUCKET)
        self._env = environment(endpoint.url, objects.url, folder)

    def event_bytes(self) -> float:
        """Return the bytes of JSON of an event, on average."""
        return mean(len(line) for line in islice(self._tenant.truth_lines(self.start, self.end), 20_000))

    def run(self, peer: Peer, latency_ms: float, end: datetime | None = None, timeout: float = RUN_SECONDS) -> Run:
        """Run a competitor over the window (or its part before `end`), and verify what it did.

        :raises RunFailed: it ended with an error or with a wrong object.
        """
        end = end or self.end
        job = Job(
            endpoint=self._endpoint.url,
            s3=self._objects.url,
            start=format_utc(self.start),
            end=format_utc(end),
            events=self._tenant.count(self.start, end),
            folder=self._folder,
        )
        self._bucket.empty()
        job.report.unlink(missing_ok=True)
        command = peer.command(job)
        self._ask(f"/control?latency_ms={latency_ms}")
        log = self._folder / "output.log"
        servers = (self._endpoint.pid, self._objects.pid)
        before = Busy.now(servers)
        usage = run_measured(command, self._env, log, timeout)
        others = Busy.now(servers).cores_of_others(before, usage.cpu)
        if usage.exit_code != 0:
            raise RunFailed(f"{peer.name}: exit code {usage.exit_code}\n{_end_of(log)}")
        return self._finished(peer, job, usage, others)

    def _finished(self, peer: Peer, job: Job, usage: Usage, others: float | None) -> Run:
        stats = self._ask("/stats")
        object_bytes = None
        if peer.writes:
            data = self._tenant.app.store.dataset
            try:
                object_bytes = self._bucket.verify(peer.writes, map(data.id, range(job.events)))
            except (WrongExport, OSError, EOFError, ValueError) as fault:
                raise RunFailed(f"{peer.name}: wrong object: {fault}") from fault
        elif peer.reads and stats["rows"] != job.events:
            raise RunFailed(f"{peer.name}: read {stats['rows']} events, wanted {job.events}")
        report = json.loads(job.report.read_text()) if job.report.exists() else {}
        return Run(
            wall=usage.wall,
            cpu=usage.cpu,
            work=report.get("seconds"),
            memory=report.get("memory"),
            object_bytes=object_bytes,
            requests=stats["requests"],
            windows=stats["windows"],
            most_in_flight=stats["most_in_flight"],
            others=others,
        )

    def _ask(self, path: str) -> dict[str, int]:
        with urllib.request.urlopen(self._endpoint.url + path, timeout=60) as response:
            answer: dict[str, int] = json.load(response)
        return answer


@contextmanager
def arena(total: int, *, gzip: bool = False) -> Iterator[Arena]:
    """Run servers for `total` events in one whole day (UTC) that ended three days ago."""
    end = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curation-bench-")))
        bounds = ["--start", (end - DAY).isoformat(), "--end", end.isoformat()]
        flags = ["--events", str(total), *bounds, *(["--gzip"] if gzip else [])]
        endpoint = stack.enter_context(server("bench.endpoint", *flags))
        objects = stack.enter_context(server("bench.objects"))
        yield Arena(total, end, endpoint, objects, folder)


def environment(endpoint: str, objects: str, folder: Path) -> dict[str, str]:
    """Return this environment without proxies, with Airflow's home in `folder` and connections to both servers."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("AIRFLOW_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    aws = {
        "conn_type": "aws",
        "login": "bench",
        "password": "bench",
        "extra": {"endpoint_url": objects, "region_name": "us-east-1"},
    }
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(BENCHMARKS)]),
        # Compiled modules are kept for all runs, as on an installed worker, even if the installation is read-only.
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "TMPDIR": str(folder),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_BENCH_HTTP": json.dumps({"conn_type": "http", "host": endpoint}),
        "AIRFLOW_CONN_CURATION_DEFAULT": json.dumps(
            {"conn_type": "jfrog_curation", "host": endpoint, "password": TOKEN}
        ),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _end_of(log: Path, lines: int = 15) -> str:
    return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
