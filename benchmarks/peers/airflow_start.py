"""Airflow's fixed start: what every task that uploads to S3 imports, and nothing else."""

from __future__ import annotations

import boto3  # noqa: F401
from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: F401
from peer import parse_job, reported

if __name__ == "__main__":
    with reported(parse_job()):
        pass
