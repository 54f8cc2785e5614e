"""Airflow's own parts: `HttpOperator` with pagination in pages of 2000, then `S3Hook.load_string` with gzip.

The connections come from the environment (`AIRFLOW_CONN_…`). `load_string` compresses at level 9 and offers no other.
"""

from __future__ import annotations

import json
from typing import Any

import boto3  # noqa: F401  (S3Hook imports it late; here it counts as an import)
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.http.operators.http import HttpOperator
from peer import TIMEOUT, Job, parse_job, reported
from requests import Response

from airflow_provider_curation.audit.endpoint import AUDIT_PATH

ROWS = 2000


def next_page(response: Response) -> dict[str, Any] | None:
    """Return the parameters of the next page, None after the last."""
    offset = response.json()["meta"]["next_offset"]
    return {"data": {"offset": offset}} if offset else None


def to_lines(responses: list[Response]) -> str:
    """Return all pages as JSON lines."""
    events = (event for response in responses for event in response.json()["data"] or [])
    return "".join(json.dumps(event) + "\n" for event in events)


def export(job: Job) -> None:
    operator = HttpOperator(
        task_id="export",
        method="GET",
        endpoint=AUDIT_PATH,
        http_conn_id="bench_http",
        headers={"Authorization": f"Bearer {job.token}"},
        data=job.parameters(ROWS, 0),
        extra_options={"timeout": TIMEOUT[1]},
        pagination_function=next_page,
        response_filter=to_lines,
    )
    lines = operator.execute(context={})
    S3Hook("aws_default").load_string(lines, "bench/export.jsonl.gz", job.bucket, replace=True, compression="gzip")


if __name__ == "__main__":
    the_job = parse_job()
    with reported(the_job):
        export(the_job)
