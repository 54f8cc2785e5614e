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
from pathlib import Path
from statistics import median
from types import FrameType

from bench.contention import Busy
from bench.events import Events, format_time
from bench.peers import BUCKET, TOKEN, Job, Peer
from bench.processes import BENCHMARKS, ROOT, Server, Usage, run_measured
from bench.verify import Bucket, WrongExport

#: Seconds after which one run is given up.
RUN_SECONDS = 900


class RunFailed(Exception):
    """A competitor ended with an error, or with a wrong object; the text says which and shows the end of its output."""


@dataclass(frozen=True)
class Run:
    """One finished run: seconds (`work` is the time after the imports), bytes, and what the endpoint counted.

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
    """The runs of one competitor at one latency."""

    runs: list[Run] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)

    @property
    def work(self) -> float | None:
        known = [run.work for run in self.runs if run.work is not None]
        return median(known) if known else None

    @property
    def memory(self) -> float | None:
        known = [run.memory for run in self.runs if run.memory is not None]
        return median(known) if known else None


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler: end as with Ctrl-C, so that the servers are ended too."""
    raise KeyboardInterrupt


def past_window() -> tuple[datetime, datetime]:
    """One whole day (UTC) that ended three days ago: settled, and within the retention."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=4), today - timedelta(days=3)


class Arena:
    """A running endpoint and S3 API, and the environment in which competitors run."""

    def __init__(self, events: Events, endpoint: Server, objects: Server, folder: Path) -> None:
        self.events, self.endpoint, self.objects, self.folder = events, endpoint, objects, folder
        self._bucket = Bucket(objects.url, BUCKET)
        self._env = _environment(endpoint.url, objects.url, folder)

    def run(self, peer: Peer, latency_ms: float, end: datetime | None = None, timeout: float = RUN_SECONDS) -> Run:
        """One run over the window (or its part before `end`), verified; raises RunFailed."""
        first, after = self.events.index_range(self.events.start, end or self.events.end)
        job = Job(
            endpoint=self.endpoint.url,
            s3=self.objects.url,
            start=format_time(self.events.start),
            end=format_time(end or self.events.end),
            events=after - first,
            folder=self.folder,
        )
        self._bucket.empty()
        job.report.unlink(missing_ok=True)
        command = peer.command(job)
        self._ask(f"/control?latency_ms={latency_ms}")
        log = self.folder / "output.log"
        servers = (self.endpoint.pid, self.objects.pid)
        before = Busy.now(servers)
        usage = run_measured(command, self._env, log, self.folder, timeout)
        others = Busy.now(servers).cores_of_others(before, usage.cpu)
        if usage.exit_code != 0:
            raise RunFailed(f"{peer.name}: exit code {usage.exit_code}\n{_end_of(log)}")
        return self._finished(peer, job, usage, others)

    def _finished(self, peer: Peer, job: Job, usage: Usage, others: float | None) -> Run:
        stats = self._ask("/stats")
        object_bytes = None
        if peer.writes:
            try:
                object_bytes = self._bucket.verify(peer.writes, 0, job.events)
            except (WrongExport, OSError, EOFError, ValueError) as fault:
                raise RunFailed(f"{peer.name}: wrong object: {fault}") from fault
        elif peer.reads and stats["rows"] != job.events:
            raise RunFailed(f"{peer.name}: read {stats['rows']} events, wanted {job.events}")
        report = json.loads(job.report.read_text()) if job.report.exists() else {}
        return Run(
            wall=usage.wall,
            cpu=usage.cpu,
            work=report.get("work_seconds"),
            memory=report.get("peak_over_imports_bytes"),
            object_bytes=object_bytes,
            requests=stats["requests"],
            windows=stats["windows"],
            most_in_flight=stats["most_in_flight"],
            others=others,
        )

    def _ask(self, path: str) -> dict[str, int]:
        with urllib.request.urlopen(self.endpoint.url + path, timeout=60) as response:
            answer: dict[str, int] = json.load(response)
        return answer


@contextmanager
def arena(total: int, *, gzip: bool = False) -> Iterator[Arena]:
    """Servers for `total` events in one day, ended on leaving whatever happens."""
    start, end = past_window()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curation-bench-")))
        arguments = ["--events", str(total), "--start", format_time(start), "--end", format_time(end)]
        endpoint = stack.enter_context(Server("bench.endpoint", *arguments, *(["--gzip"] if gzip else [])))
        objects = stack.enter_context(Server("bench.objects"))
        yield Arena(Events(total, start, end), endpoint, objects, folder)


def _environment(endpoint: str, objects: str, folder: Path) -> dict[str, str]:
    """This environment without proxies, with Airflow's home in `folder` and connections to both servers."""
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
        # Compiled modules are kept for all runs, as on an installed worker, wherever the installation can be written.
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
