"""What every peer shares: the job it is given, and the report of its own time and memory that it leaves behind."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

AUDIT_PATH = "/xray/api/v1/curation/audit/packages"
#: (connect, read) seconds.
TIMEOUT = (10, 300)


@dataclass(frozen=True)
class Job:
    """Export the events of `[start, end)` (RFC 3339) from `url` into a bucket at the S3 API `s3`; `level` is gzip's."""

    url: str
    start: str
    end: str
    s3: str
    bucket: str
    token: str
    file_format: str
    level: int
    report: Path

    def parameters(self, num_of_rows: int, offset: int) -> dict[str, str | int]:
        """The query of one page, oldest first."""
        return {
            "order_by": "id",
            "direction": "asc",
            "num_of_rows": num_of_rows,
            "offset": offset,
            "created_at_start": self.start,
            "created_at_end": self.end,
        }


def parse_job() -> Job:
    """The job on the command line."""
    parser = argparse.ArgumentParser()
    for name in ("url", "start", "end", "s3", "bucket", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--file-format", default="jsonl")
    parser.add_argument("--level", type=int, default=9, help="of gzip, where the peer has a choice")
    parser.add_argument("--report", type=Path, required=True)
    return Job(**vars(parser.parse_args()))


@contextmanager
def reported(job: Job) -> Iterator[None]:
    """Measure the work inside: seconds, and the process's peak memory over what it held before (after the imports)."""
    _reset_peak()
    before, began = _status_kib("VmRSS"), time.perf_counter()
    yield
    seconds, peak = time.perf_counter() - began, _status_kib("VmHWM")
    over = (peak - before) * 1024 if peak is not None and before is not None else None
    job.report.write_text(json.dumps({"work_seconds": seconds, "peak_over_imports_bytes": over}))


def _reset_peak() -> None:
    """Let VmHWM forget what only the imports needed; where that is not allowed the figure is a little kinder."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status_kib(name: str) -> int | None:
    """A line of /proc/self/status in KiB; None on systems that have no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), None)
