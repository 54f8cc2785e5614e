"""Waits of milliseconds instead of seconds, one description of S3 for every client, and uploads of many small parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import botocore.loaders
import botocore.session

from airflow_provider_curation.audit.api import client
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.exporting import window_export
from airflow_provider_curation.audit.reading import reader
from airflow_provider_curation.s3 import claim, upload
from tests.support.exports import QuickEvent


@contextmanager
def quick() -> Iterator[None]:
    """Let the client, and a reader that reads a slice again, wait for milliseconds instead of seconds."""
    policy = partial(RetryPolicy, first_wait=0.001, longest_wait=0.01, longest_retry_after=0.01)
    events = SimpleNamespace(**{**vars(threading), "Event": QuickEvent})
    with (
        patch.object(client, "RetryPolicy", policy),
        patch.object(reader, "threading", events),
        patch.object(window_export, "threading", events),
    ):
        yield


@contextmanager
def one_loader() -> Iterator[None]:
    """Let every boto client take S3's description from memory; reading it takes longer than a small export."""
    loader = botocore.loaders.create_loader()
    with patch.object(botocore.session, "create_loader", lambda search_path_string=None: loader):
        yield


@contextmanager
def small_parts(part_bytes: int) -> Iterator[None]:
    """Let uploads have parts of so many bytes, so that a small export has several of them.

    The store has to take them: moto reads ``S3_UPLOAD_PART_MIN_SIZE`` when it is imported.
    """
    with patch.object(upload, "PART_BYTES", part_bytes):
        yield


@contextmanager
def short_claims() -> Iterator[None]:
    """Let the claim of a dead try end after seconds instead of a minute."""
    with patch.object(claim, "LEASE_SECONDS", 5.0), patch.object(claim, "RENEW_SECONDS", 0.5):
        yield
