"""What every peer shares: its job, and the report of its time and memory that it leaves behind."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.usage import measured

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
        """Return the query of a page, oldest first."""
        return {
            "order_by": "id",
            "direction": "asc",
            "num_of_rows": num_of_rows,
            "offset": offset,
            "created_at_start": self.start,
            "created_at_end": self.end,
        }


def parse_job() -> Job:
    """Return the job on the command line."""
    parser = argparse.ArgumentParser()
    for name in ("url", "start", "end", "s3", "bucket", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--file-format", default="jsonl")
    parser.add_argument("--level", type=int, default=9, help="of gzip, where the peer has a choice")
    parser.add_argument("--report", type=Path, required=True)
    return Job(**vars(parser.parse_args()))


@contextmanager
def reported(job: Job) -> Iterator[None]:
    """Measure the work inside, which comes after the imports."""
    with measured() as usage:
        yield
    job.report.write_text(json.dumps(asdict(usage)))
