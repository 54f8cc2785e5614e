"""What the integration tests share: a simulated server, a bucket, and exports from the one to the other."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import boto3
import zstandard

from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.reading.csv_source import CsvSource
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

CURATION = "curation_default"
AWS = "aws_default"

START = datetime(2025, 11, 3, tzinfo=timezone.utc)
END = START + timedelta(days=2)
#: The simulated events are of fixed dates, so that failures repeat.
FOREVER = timedelta(days=36_500)

#: Stand for credentials; no message and no log may show them.
TOKEN = "made-up-token-c0ffee"
PASSWORD = "made-up-password-decade"


class QuickEvent(threading.Event):
    """An event that nobody waits for longer than a moment."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.01 if timeout is None else min(timeout, 0.01))


@contextmanager
def sliced(rows: int | None) -> Iterator[None]:
    """Let the reader cut windows into slices of so many events; ``None`` leaves it to the reader."""
    with (
        patch.object(JsonSource, "slice_rows", rows or JsonSource.slice_rows),
        patch.object(CsvSource, "slice_rows", rows or CsvSource.slice_rows),
    ):
        yield


# The simulated server


@contextmanager
def simulated(
    *,
    page_size: int = 60,
    concurrency: int = 4,
    slice_rows: int | None = None,
    extra: dict[str, Any] | None = None,
    login: str | None = None,
    password: str | None = None,
    conn_id: str = CURATION,
    port: int = 0,
    **settings: Any,
) -> Iterator[Simulator]:
    """Run a simulator with a few hundred events; the connection leads to it.

    :param slice_rows: events in a slice of the reader, so that small windows have several.
    :param extra: more extras of the connection.
    :param port: of the server; 0 takes a free one.
    """
    chosen = {"events": 400, "start": START, "end": END, **settings}
    with Simulator(SimulatorSettings(**chosen), port=port) as simulator:
        connection = json.loads(simulator.connection_json(login, password))
        connection["extra"] = {"page_size": page_size, "concurrency": concurrency, "timeout": [2, 10], **(extra or {})}
        with (
            patch.dict(os.environ, {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)}),
            sliced(slice_rows),
        ):
            yield simulator


def truth_jsonl(simulator: Simulator, start: datetime = START, end: datetime = END, dry_run: bool = False) -> bytes:
    """The content that an unfiltered JSONL export must have."""
    return b"".join(line + b"\n" for line in simulator.truth_lines(start, end, dry_run))


def truth_csv(simulator: Simulator, start: datetime = START, end: datetime = END, dry_run: bool = False) -> bytes:
    """The content that an unfiltered CSV export must have: each record with a line break, the last one too."""
    content = simulator.truth_csv(start, end, dry_run)
    if content.endswith(b"\n"):
        return content
    return content + (b"\r\n" if content.partition(b"\n")[0].endswith(b"\r") else b"\n")


def csv_rows(content: bytes) -> list[dict[str, str]]:
    """A CSV's rows by column name."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def csv_of(archive: bytes) -> bytes:
    """The content of a zip with one ``audit_packages.csv``."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        assert file.namelist() == ["audit_packages.csv"]
        return file.read("audit_packages.csv")


# S3

#: The address of a real S3 API to test with, in place of moto; ``make test-s3`` sets it.
REAL_STORE = os.environ.get("CURATION_TEST_S3_URL", "")
ACCESS_KEY, SECRET_KEY = "made-up-key", "made-up-secret"


def aws_connection(url: str, **config: Any) -> dict[str, Any]:
    """An Airflow connection to an S3 API; boto's own retries are off, so that one failure is one.

    :param config: more of botocore's configuration.
    """
    once = {"retries": {"total_max_attempts": 1, "mode": "standard"}, **config}
    fields = {"endpoint_url": url, "region_name": "us-east-1", "config_kwargs": once}
    return {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": fields}


def s3_client(url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )


def manifest_key(key: str) -> str:
    """The key of an object's manifest; the archive is the whole bucket."""
    return Layout().manifest_key(key)


@dataclass(frozen=True)
class Bucket:
    """A bucket, seen past the code under test."""

    client: Any
    name: str

    @classmethod
    def create(cls, client: Any, name: str) -> Bucket:
        client.create_bucket(Bucket=name)
        return cls(client, name)

    def objects(self) -> list[str]:
        return sorted(each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", ()))

    def exports(self) -> list[str]:
        """The keys of all objects but the manifests."""
        return [key for key in self.objects() if "_manifests/" not in key]

    def uploads(self) -> list[str]:
        """The keys of open multipart uploads."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def content(self, key: str) -> bytes:
        """An object's bytes, decompressed as its name says."""
        body = self.body(key)
        if key.endswith(".gz"):
            return gzip.decompress(body)
        if key.endswith(".zst"):
            return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(body))
        if key.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                [name] = archive.namelist()
                return archive.read(name)
        return body

    def manifest(self, key: str) -> dict[str, Any]:
        manifest = json.loads(self.body(manifest_key(key)))
        assert isinstance(manifest, dict)
        return manifest

    def clear(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket=self.name, Key=key)

    def abort_uploads(self) -> None:
        for each in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ()):
            self.client.abort_multipart_upload(Bucket=self.name, Key=each["Key"], UploadId=each["UploadId"])

    def head(self, key: str) -> dict[str, Any]:
        return dict(self.client.head_object(Bucket=self.name, Key=key))

    def assert_untouched(self) -> None:
        """Check that there is no object, no manifest and no open upload."""
        assert self.objects() == []
        assert self.uploads() == []


def operator(bucket: Bucket, **arguments: Any) -> CurationAuditToS3Operator:
    """An operator that exports the simulated window to ``export<suffix>``."""
    chosen = {
        "s3_bucket": bucket.name,
        "s3_prefix": "",
        "s3_key": "export{suffix}",
        "start": START,
        "end": END,
        "retention": FOREVER,
        **arguments,
    }
    exporting = CurationAuditToS3Operator(task_id="export", **chosen)
    vars(exporting)["_stop"] = QuickEvent()
    return exporting


def export(bucket: Bucket, **arguments: Any) -> dict[str, Any]:
    """Export the simulated window to S3, and return the operator's result."""
    return operator(bucket, **arguments).execute({})
