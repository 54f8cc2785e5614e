"""The loop of the vendor's example, finished as a user would: requests, 1000 rows a page, one by one, gzip, upload.

The offset grows by 1000 until a page is short or empty. gzip's level is the default of `gzip.open` (9) unless
`--level` says otherwise. It has one session with keep-alive, which is kinder than the example's new connection a page.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import boto3
import requests
from peer import TIMEOUT, Job, parse_job, reported

from airflow_provider_curation.audit.endpoint import AUDIT_PATH

ROWS = 1000


def export(job: Job) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "export.jsonl.gz")
        with requests.Session() as session, gzip.open(path, "wt", job.level, encoding="utf-8") as lines:
            session.headers["Authorization"] = f"Bearer {job.token}"
            offset = 0
            while True:
                response = session.get(job.url + AUDIT_PATH, params=job.parameters(ROWS, offset), timeout=TIMEOUT)
                response.raise_for_status()
                events = response.json()["data"] or []
                for event in events:
                    lines.write(json.dumps(event) + "\n")
                if len(events) < ROWS:
                    break
                offset += ROWS
        boto3.client("s3", endpoint_url=job.s3).upload_file(str(path), job.bucket, "bench/export.jsonl.gz")


if __name__ == "__main__":
    the_job = parse_job()
    with reported(the_job):
        export(the_job)
