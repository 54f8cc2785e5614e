"""The competitors: each has a label and the command with which it exports a window."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from bench.endpoint import TOKEN
from bench.processes import BENCHMARKS

BUCKET = "bench"


@dataclass(frozen=True)
class Job:
    """A window of `events` events (RFC 3339 bounds), the servers' URLs, and a folder for a run's files."""

    endpoint: str
    s3: str
    start: str
    end: str
    events: int
    folder: Path

    @property
    def report(self) -> Path:
        return self.folder / "report.json"


@dataclass(frozen=True)
class Peer:
    """A competitor; `writes` is the format of the object that it leaves in S3, None if it leaves none."""

    name: str
    label: str
    command: Callable[[Job], list[str]]
    writes: str | None = None
    reads: bool = True
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Return the programs it needs that this machine does not have."""
        return [program for program in self.needs if shutil.which(program) is None]


def script(file: str, **extra: str | int) -> Callable[[Job], list[str]]:
    """Return the command of a script in the folder `peers`, run by this interpreter."""

    def command(job: Job) -> list[str]:
        options = {
            "url": job.endpoint,
            "start": job.start,
            "end": job.end,
            "s3": job.s3,
            "bucket": BUCKET,
            "token": TOKEN,
            "report": str(job.report),
            **extra,
        }
        arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        return [sys.executable, str(BENCHMARKS / "peers" / file), *arguments]

    return command


def curl(connections: int, gzip_level: int | None, rows: int = 2000) -> Callable[[Job], list[str]]:
    """Return the command of curl over flat pages: compressed and thrown away, or (no level) thrown away at once."""

    def command(job: Job) -> list[str]:
        config = job.folder / "curl.config"
        config.write_text(_curl_config(job, rows, thrown_away=gzip_level is None))
        read = f"curl -sSf -Z --parallel-max {connections}" if connections > 1 else "curl -sSf"
        pipe = f" | gzip -{gzip_level} > /dev/null" if gzip_level is not None else ""
        return ["sh", "-c", f'{read} -K "$1"{pipe}', "sh", str(config)]

    return command


def curl_csv(job: Job) -> list[str]:
    """Return the command of curl that asks for the whole window as one zip of CSV, and uploads it as it is."""
    query = {"order_by": "id", "direction": "asc", "num_of_rows": 500_000, "offset": 0, "format": "csv"}
    query |= {"created_at_start": job.start, "created_at_end": job.end}
    options = f'curl -sSf --max-time 300 -H "Authorization: Bearer {TOKEN}" -o export.zip'
    upload = f'curl -sSf --max-time 300 -T export.zip "{job.s3}/{BUCKET}/bench/export.csv.zip" -o /dev/null'
    place = f'cd "{job.folder}" && {options} "$1" && {upload}'
    return ["sh", "-c", place, "sh", f"{job.endpoint}{AUDIT_PATH}?{urlencode(query)}"]


def _curl_config(job: Job, rows: int, *, thrown_away: bool) -> str:
    lines = [f'header = "Authorization: Bearer {TOKEN}"', "max-time = 300"]
    for offset in range(0, job.events, rows):
        query = {
            "order_by": "id",
            "direction": "asc",
            "num_of_rows": rows,
            "offset": offset,
            "created_at_start": job.start,
            "created_at_end": job.end,
        }
        lines.append(f'url = "{job.endpoint}{AUDIT_PATH}?{urlencode(query)}"')
        if thrown_away:
            lines.append('output = "/dev/null"')
    return "\n".join(lines) + "\n"


THROWN_AWAY = Peer("curl4", "the server: curl, 4 connections, thrown away", curl(4, None), needs=("curl",))
LIMIT = Peer("curl_gzip1", "limit: curl, 1 connection, gzip -1", curl(1, 1), needs=("curl", "gzip"))
LIMIT_6 = Peer("curl_gzip6", "same, gzip -6", curl(1, 6), needs=("curl", "gzip"))
CURL_CSV = Peer("curl_csv", "curl: one zip of CSV, and its upload", curl_csv, "csv", needs=("curl",))
VENDOR = Peer("vendor_loop", "vendor's example loop + gzip + upload", script("vendor_loop.py"), "jsonl")
VENDOR_1 = Peer("vendor_loop_gzip1", "same, gzip level 1", script("vendor_loop.py", level=1), "jsonl")
HTTP_OPERATOR = Peer("http_operator", "Airflow: HttpOperator, then S3Hook", script("http_operator.py"), "jsonl")
AIRFLOW_START = Peer("airflow_start", "Airflow's fixed start (imports only)", script("airflow_start.py"), reads=False)
PROVIDER = Peer("provider_jsonl", "this provider, JSONL", script("provider.py"), "jsonl")
PROVIDER_CSV = Peer("provider_csv", "this provider, CSV", script("provider.py", file_format="csv"), "csv")
PROVIDER_PARQUET = Peer(
    "provider_parquet", "this provider, Parquet", script("provider.py", file_format="parquet"), "parquet"
)

#: In the order of the table and of each round. None of the others writes Parquet, so it is only in memory.py.
ALL = (
    THROWN_AWAY, LIMIT, LIMIT_6, CURL_CSV, VENDOR, VENDOR_1, HTTP_OPERATOR, AIRFLOW_START, PROVIDER, PROVIDER_CSV,
)  # fmt: skip
