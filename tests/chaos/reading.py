"""What an object holds and what it should hold, read by the standard library alone."""

from __future__ import annotations

import csv
import gzip
import hashlib
import hmac
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pyarrow.parquet
import zstandard

from tests.chaos.facts import State
from tests.chaos.schedule import Schedule

_PERSONAL_COLUMNS = {"username": ("username", "user_name"), "user_mail": ("user_mail",)}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Content:
    """What an object holds.

    :param raw: its uncompressed bytes; ``None`` for Parquet, where a manifest speaks of the JSON lines behind it.
    :param items: its events, or its rows of CSV, in a form that can be counted.
    :param ids: of the items, in their order.
    :param cells: of a CSV.
    """

    raw: bytes | None
    items: Counter[str]
    ids: list[int]
    cells: list[str]

    @property
    def rows(self) -> int:
        return sum(self.items.values())


def content_of(key: str, body: bytes) -> Content:
    """Read an object.

    :raises Exception: of the standard library, if it is not what its key's ending says.
    """
    if key.endswith(".parquet"):
        events = [_event_of(row) for row in pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()]
        return Content(None, items_of(events), [event["id"] for event in events], [])
    raw = _unpacked(key, body)
    if ".csv" in key.rpartition("/")[2]:
        rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
        return Content(
            raw, items_of(rows), [int(row["id"]) for row in rows], [str(c) for r in rows for c in r.values()]
        )
    lines = raw.split(b"\n")
    if lines.pop() != b"":
        raise ValueError("the last line has no line break")
    events = [json.loads(line) for line in lines]
    return Content(raw, items_of(events), [event["id"] for event in events], [])


def ids_digest(ids: Iterable[int]) -> str:
    """Return what a manifest says of a set of ids: their number, and the sums of their powers in hexadecimal."""
    distinct = set(ids)
    return ":".join([str(len(distinct)), *(f"{sum(each**power for each in distinct):x}" for power in (1, 2, 3))])


def _unpacked(key: str, body: bytes) -> bytes:
    if key.endswith(".gz"):
        return gzip.decompress(body)
    if key.endswith(".zst"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    if key.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            [name] = archive.namelist()
            return archive.read(name)
    return body


def _event_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a Parquet row as the event that it was, but for members that are null."""
    event = {**row, **json.loads(row.pop("other") or "{}")}
    event["created_at"] = row["created_at"].strftime("%Y-%m-%dT%H:%M:%SZ")
    event["policies"] = [{**policy, **json.loads(policy.pop("other") or "{}")} for policy in row["policies"] or ()]
    event.pop("other", None)
    return _without_nulls(event)


def _without_nulls(event: dict[str, Any]) -> dict[str, Any]:
    policies = [
        {name: value for name, value in policy.items() if value is not None and name != "other"}
        for policy in event.get("policies") or ()
    ]
    return {name: value for name, value in {**event, "policies": policies}.items() if value is not None}


def items_of(values: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(value, sort_keys=True) for value in values)


def expected(state: State, schedule: Schedule, pseudonym_key: str) -> Counter[str]:
    """Return the items that an object should hold, were the server always in this state."""
    export = schedule.export
    events = [event for event in state.events if _wanted(event, export)]
    if export["file_format"] != "csv":
        given = (_pseudonymized(event, export, pseudonym_key, dict) for event in events)
        return items_of(_without_nulls(event) if export["file_format"] == "parquet" else event for event in given)
    dry_run = bool(export.get("dry_run"))
    wanted = {_identity(event, dry_run) for event in events}
    rows = (row for row in state.rows if _row_identity(row, dry_run) in wanted)
    return items_of(_pseudonymized(row, export, pseudonym_key, _PERSONAL_COLUMNS) for row in rows)


def _identity(event: dict[str, Any], dry_run: bool) -> tuple[str, ...]:
    policies = event.get("policies") or [{}]
    return (str(event["id"]), str(policies[0].get("policy_name"))) if dry_run else (str(event["id"]),)


def _row_identity(row: dict[str, str], dry_run: bool) -> tuple[str, ...]:
    return (row["id"], row["policy_name"]) if dry_run else (row["id"],)


def _wanted(event: dict[str, Any], export: dict[str, Any]) -> bool:
    policies = event.get("policies") or []
    values = {
        "actions": [event["action"]],
        "package_types": [event["package_type"]],
        "repositories": [event["curated_repository_name"]],
        "policies": [str(each[name]) for each in policies for name in ("policy_name", "policy_id") if name in each],
    }
    return all(
        any(fnmatchcase(value, pattern) for value in values[name] for pattern in export[name])
        for name in values
        if export.get(name)
    )


@cache
def _derived(key: str) -> bytes:
    return hashlib.scrypt(
        key.encode(),
        salt=b"airflow-provider-curation pseudonyms v1",
        dklen=40,
        **{"n": 1 << 15, "r": 8, "p": 1, "maxmem": 1 << 26},
    )[:32]


def _pseudonymized(value: dict[str, Any], export: dict[str, Any], key: str, columns: Any) -> dict[str, Any]:
    changed = dict(value)
    for name in export.get("pseudonymize") or ():
        for column in (name,) if columns is dict else columns[name]:
            if changed.get(column):
                digest = hmac.new(_derived(key), str(changed[column]).encode(), hashlib.sha256).hexdigest()
                changed[column] = "p-" + digest[:32]
    return changed


def without_apostrophes(items: Counter[str]) -> Counter[str]:
    """Return the same rows without the apostrophe that makes a cell harmless, for those that were written so."""
    found: Counter[str] = Counter()
    for item, times in items.items():
        row = {name: str(cell).removeprefix("'") for name, cell in json.loads(item).items()}
        found[json.dumps(row, sort_keys=True)] += times
    return found
