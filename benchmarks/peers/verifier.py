"""One verification of the made-up archive, by this provider or by bare boto3, which only lists and reads.

It prints seconds, CPU seconds and peak memory over the imports as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict

import boto3
from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401
from bench.made_archive import BUCKET, LAYOUT, hour
from bench.sealed_archive import key
from bench.usage import measured

from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.evidence import verify_archive
from airflow_provider_curation.s3 import archive as s3_archive  # noqa: F401

WORKERS = 8


def provider(first: int, last: int) -> int:
    report = verify_archive(
        f"s3://{BUCKET}/{LAYOUT.root}",
        hour(first).start,
        hour(last - 1).end,
        aws_conn_id="aws_default",
        workers=WORKERS,
    )
    # Nothing is sealed, so every object is read: the most that a verification can cost.
    if report.findings or not report.totals.manifests == report.totals.objects_read == last - first:
        sys.exit(report.summary())
    return report.totals.manifests


def sealed(first: int, last: int) -> int:
    """Verify a signed and sealed archive: no object is read, and each signature is checked."""
    report = verify_archive(
        f"s3://{BUCKET}/{LAYOUT.root}",
        hour(first).start,
        hour(last - 1).end,
        key_ring=KeyRing((TrustedKey(key().public_key, "made up"),)),
        aws_conn_id="aws_default",
        workers=WORKERS,
    )
    totals = report.totals
    whole = totals.manifests == report.signatures_checked == last - first and not totals.objects_read
    if report.findings or not whole or report.seals != 1:
        sys.exit(report.summary())
    return totals.manifests


def bare(first: int, last: int) -> int:
    url = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"]
    client = boto3.client("s3", endpoint_url=url)
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
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("provider", "sealed", "bare"))
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    chosen = parser.parse_args()
    with measured() as usage:
        manifests = {"provider": provider, "sealed": sealed, "bare": bare}[chosen.who](chosen.first, chosen.last)
    process = os.times()
    print(json.dumps({**asdict(usage), "process_cpu": process.user + process.system, "manifests": manifests}))


if __name__ == "__main__":
    main()
