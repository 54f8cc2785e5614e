"""Checks an export: every id of the window once, in ascending order, read back from S3."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

import boto3

_ID = re.compile(rb'^\{"id": ?(\d+),', re.MULTILINE)
_CHUNK = 16 * 1024 * 1024


class WrongExport(Exception):
    """The object is missing, or does not hold exactly the events of the window."""


class Bucket:
    """A bucket at the S3 API `url`."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        )

    def empty(self) -> None:
        """Delete all objects (the server holds them in memory) and start with an empty bucket."""
        urllib.request.urlopen(urllib.request.Request(f"{self._url}/moto-api/reset", method="POST"), timeout=60).close()
        self._client.create_bucket(Bucket=self._name)

    def verify(self, file_format: str, wanted: Iterator[int]) -> int:
        """Check that the only export in the bucket holds the events with these ids, and return its bytes."""
        listed = self._client.list_objects_v2(Bucket=self._name).get("Contents", [])
        exports = [item for item in listed if "_manifests/" not in item["Key"]]
        if len(exports) != 1:
            raise WrongExport(f"expected one object, found {[item['Key'] for item in exports]}")
        with self._download(exports[0]["Key"]) as file:
            _check(_IDS[file_format](file), wanted)
        return int(exports[0]["Size"])

    @contextmanager
    def _download(self, key: str) -> Iterator[IO[bytes]]:
        with tempfile.TemporaryFile() as file:
            self._client.download_fileobj(self._name, key, file)
            file.seek(0)
            yield file


def _check(runs: Iterator[list[int]], wanted: Iterator[int]) -> None:
    for ids in runs:
        if ids != list(islice(wanted, len(ids))):
            raise WrongExport(f"the ids from {ids[0]} to {ids[-1]} are not those of the window")
    if missing := list(wanted):
        raise WrongExport(f"{len(missing)} events are missing, the first is {missing[0]}")


def _jsonl_ids(file: IO[bytes]) -> Iterator[list[int]]:
    """Yield the ids of a gzip of JSON lines, a run at a time; each line must be one event."""
    rest = b""
    with gzip.open(file) as lines:
        while chunk := lines.read(_CHUNK):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            ids = [int(match) for match in _ID.findall(whole)]
            if newline and len(ids) != whole.count(b"\n") + 1:
                raise WrongExport("a line is not an event")
            yield ids
    if rest:
        raise WrongExport("the last line has no line break")


def _csv_ids(file: IO[bytes]) -> Iterator[list[int]]:
    """Yield the distinct ids of a zip with one CSV; an event's rows must stand together."""
    with zipfile.ZipFile(file) as archive:
        if archive.namelist() != ["audit_packages.csv"]:
            raise WrongExport(f"members are {archive.namelist()}")
        with archive.open("audit_packages.csv") as member:
            rows = csv.reader(io.TextIOWrapper(member, encoding="utf-8", newline=""))
            column = next(rows).index("id")
            ids: list[int] = []
            last = 0
            for row in rows:
                if (this := int(row[column])) != last:
                    ids.append(this)
                    last = this
                    if len(ids) >= 50_000:
                        yield ids
                        ids = []
            yield ids


def _parquet_ids(file: IO[bytes]) -> Iterator[list[int]]:
    # Only what writes Parquet needs it.
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(columns=["id"]):
        yield batch.column(0).to_pylist()


_IDS = {"jsonl": _jsonl_ids, "csv": _csv_ids, "parquet": _parquet_ids}
