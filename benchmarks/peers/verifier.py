"""One verification of the made-up archive, by this provider or by bare boto3, which only lists and reads.

Prints seconds, CPU seconds and peak memory over the imports as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import boto3
from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401
from bench.made_archive import BUCKET, LAYOUT, hour

from airflow_provider_curation.evidence import verify_archive
from airflow_provider_curation.s3 import archive as s3_archive  # noqa: F401

WORKERS = 8


def provider(first: int, last: int) -> dict[str, Any]:
    report = verify_archive(
        f"s3://{BUCKET}/{LAYOUT.root}",
        hour(first).start,
        hour(last - 1).end,
        aws_conn_id="aws_default",
        workers=WORKERS,
    )
    # Nothing is sealed, so that every object is read: the most that a verification can cost.
    if report.findings or not report.totals.manifests == report.totals.objects_read == last - first:
        sys.exit(report.summary())
    return {"manifests": report.totals.manifests}


def bare(first: int, last: int) -> dict[str, Any]:
    client = boto3.client("s3", endpoint_url=s3_url())
    read = 0

    def get(manifest_key: str) -> int:
        keys = (manifest_key, LAYOUT.object_key(str(LAYOUT.relative_key(manifest_key))))
        return sum(len(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys)

    under_way: deque[Future[int]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=LAYOUT.manifests):
            for each in page["Contents"]:
                under_way.append(pool.submit(get, each["Key"]))
                if len(under_way) >= 4 * WORKERS:
                    read += under_way.popleft().result() > 0
        read += sum(each.result() > 0 for each in under_way)
    return {"manifests": read}


def s3_url() -> str:
    return str(json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("who", choices=("provider", "bare"))
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    chosen = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    made = {"provider": provider, "bare": bare}[chosen.who](chosen.first, chosen.last)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = (after.ru_maxrss - before.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
    process_cpu = after.ru_utime + after.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "process_cpu": process_cpu, "memory": memory, **made}))


if __name__ == "__main__":
    main()
