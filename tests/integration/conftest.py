"""An Airflow home, an S3 API and quick waits for the tests that talk to servers."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest

# Before Airflow's first import, unless the tests' own conftest has seen to it.
if "airflow" not in sys.modules and not os.environ.get("AIRFLOW_HOME", "").startswith(tempfile.gettempdir()):
    import atexit

    _home = tempfile.mkdtemp(prefix="airflow-home-")
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
    os.environ["AIRFLOW_HOME"] = _home
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from moto.server import ThreadedMotoServer

if "tests.support.exports" not in sys.modules:
    pytest.register_assert_rewrite("tests.support.exports")

from tests.support import waits
from tests.support.dags import airflow_database, empty_bucket
from tests.support.exports import AWS, REAL_STORE, Bucket, aws_connection, s3_client

# The fixtures of a module are asked for by name: other tests here want Airflow as it is.


@pytest.fixture(scope="module")
def quick_waits() -> Iterator[None]:
    """Let the client, and a reader that reads a slice again, wait for milliseconds instead of seconds."""
    with waits.quick():
        yield


@pytest.fixture(scope="module")
def one_loader() -> Iterator[None]:
    """Let every boto client take S3's description from memory; reading it takes longer than a small export."""
    with waits.one_loader():
        yield


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The address of an S3 API."""
    if REAL_STORE:
        yield REAL_STORE
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def aws_default(s3_url: str) -> Iterator[None]:
    """The connection ``aws_default`` leads to the S3 API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", json.dumps(aws_connection(s3_url)))
        yield


_numbers = count()


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    """A new bucket."""
    # Another run may have left its buckets in a real store.
    run = f"{os.getpid()}-{secrets.token_hex(3)}-" if REAL_STORE else ""
    return Bucket.create(s3_client(s3_url), f"audit-archive-{run}{next(_numbers)}")


# For the DAGs of dags/


@pytest.fixture(scope="module")
def dags_database() -> Iterator[None]:
    """A database of Airflow's that knows the folder of DAGs."""
    with airflow_database():
        yield


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the S3 API, with the DAGs' bucket, empty; the DAGs' connection leads there too."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws_connection(s3_url)))
    return empty_bucket(s3_client(s3_url))


@pytest.fixture(scope="module")
def midnight() -> datetime:
    """The end of the latest day that has settled, so that no task waits for it."""
    settled = datetime.now(timezone.utc) - timedelta(minutes=10)
    return settled.replace(hour=0, minute=0, second=0, microsecond=0)
