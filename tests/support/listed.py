"""A client over a list of events, and exports from it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import zipfile
from collections.abc import Callable, Collection, Iterable
from typing import IO, Any, TypeVar

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.retry import Outages
from airflow_provider_curation.audit.errors import (
    Asked,
    RowLimitError,
    WindowTooWideError,
)
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.exporting.window_export import WindowExport
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.window import Window
from tests.support.unhurried import Unhurried

DAY = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
FORTNIGHT = Window.parse("2026-03-01T00:00:00Z", "2026-03-15T00:00:00Z")
COLUMNS = [
    "id",
    "created_at",
    "action",
    "package_type",
    "package_name",
    "curated_repo_name",
    "policy_id",
    "policy_name",
]

_T = TypeVar("_T")
Event = dict[str, Any]


def event(number: int, policies: int = 0, action: str | None = None, **fields: Any) -> Event:
    return {
        "id": number,
        "created_at": f"2026-03-09T{number % 24:02}:51:03Z",
        "action": action or ("blocked" if policies else "approved"),
        "package_type": "npm",
        "package_name": 'évil, "pkg"\u2028' if number % 3 == 0 else "chokidar",
        "curated_repository_name": "acme-npm-remote",
        "username": "dev1@acme.example",
        "policies": [
            {"policy_id": place, "policy_name": 'malicious, "hard"\nblock', "dry_run": False}
            for place in range(policies)
        ]
        or None,
        **fields,
    }


def day_of(number: int, policies: int = 1) -> list[Event]:
    """Events whose times ascend with their ids."""
    return [
        event(place, place % (policies + 1), created_at=f"2026-03-09T{place * 24 // number:02}:{place % 60:02}:00Z")
        for place in range(number)
    ]


class Client:
    """Answers queries from a list, as the client does: bytes for the decoder, or an error.

    :param rows: the most events in a CSV answer; more are refused with their number.
    :param cap: the most rows of policies in a CSV answer: the last event may be cut.
    :param counts_rows: ``num_of_rows`` is a number of CSV rows, not of events.
    :param most: events of a window that fit into a CSV answer.
    :param holes: requests, by number from 0, that are answered without events and without a count.
    """

    def __init__(
        self,
        events: Iterable[Event] = (),
        *,
        entitled: bool | None = True,
        rows: int = 500_000,
        cap: int | None = None,
        counts_rows: bool = False,
        most: int | None = None,
        bom: str = "",
        line_break: str = "\n",
        ended: bool = True,
        columns: list[str] = COLUMNS,
        pretty: bool = False,
        totals: bool = True,
        holes: Collection[int] = (),
        concurrency: int = 4,
    ) -> None:
        self.events = sorted(events, key=lambda each: each["id"])
        self.concurrency = self.most_concurrent = concurrency
        self.queries: list[Query] = []
        self.before: Callable[[Query], None] = lambda query: None
        self._entitled = entitled
        self.limits = Limits()
        self.outages = Outages()
        self._rows = rows
        self._cap = cap
        self._counts_rows = counts_rows
        self._most = most
        self._bom = bom
        self._line_break = line_break
        self._ended = ended
        self._columns = columns
        self._pretty = pretty
        self._totals = totals
        self._holes = holes

    def read_path(self, asked: Asked, decode: Callable[[bytes], _T]) -> _T:
        return decode(json.dumps({} if self._entitled is None else {"entitled": self._entitled}).encode())

    def _within(self, query: Query) -> list[Event]:
        self.queries.append(query)
        self.before(query)
        if query.window.width.total_seconds() > 168 * 3600:
            raise WindowTooWideError(query.asked, "400")
        params = query.params()
        start, end = params["created_at_start"], params["created_at_end"]
        if len(self.queries) - 1 in self._holes:
            return []
        return [each for each in self.events if start <= each["created_at"] < end]

    def read_json(self, query: Query, decode: Callable[[bytes], _T], stop: threading.Event | None = None) -> _T:
        within = self._within(query)
        ordered = within if query.direction == "asc" else within[::-1]
        data = ordered[query.offset : query.offset + query.num_of_rows]
        hole = len(self.queries) - 1 in self._holes
        meta = {"total_count": len(within)} if query.include_total and self._totals and not hole else {}
        return decode(json.dumps({"data": data or None, "meta": meta}, indent=1 if self._pretty else None).encode())

    def read_zip(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None = None) -> _T:
        within = self._within(query)
        if query.num_of_rows > self._rows:
            error = RowLimitError(query.asked, "400")
            error.limit = self._rows
            raise error
        rows = [row for each in within[query.offset : query.offset + query.num_of_rows] for row in rows_of(each)]
        member = "audit_packages.csv"
        if self._most is not None and len(within) > self._most:
            member = "audit_packages_incomplete.csv"
        cap = min(query.num_of_rows if self._counts_rows else len(rows), len(rows) if self._cap is None else self._cap)
        return decode(self.zipped(rows[:cap], member))

    def content(self, rows: list[list[str]]) -> bytes:
        """Return the CSV that one answer with these rows would hold, last line break included."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=self._line_break)
        writer.writerow(self._columns)
        places = [COLUMNS.index(name) for name in self._columns]
        writer.writerows([row[place] for place in places] for row in rows)
        return (self._bom + text.getvalue()).encode()

    def zipped(self, rows: list[list[str]], member: str) -> IO[bytes]:
        content = self.content(rows)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content if self._ended else content.removesuffix(self._line_break.encode()))
        return file


def rows_of(each: Event) -> list[list[str]]:
    policies = each["policies"] or [{"policy_id": "", "policy_name": ""}]
    about = [each["id"], each["created_at"], each["action"], each["package_type"], each["package_name"]]
    about.append(each["curated_repository_name"])
    return [[str(cell) for cell in [*about, policy["policy_id"], policy["policy_name"]]] for policy in policies]


def jsonl(events: Iterable[Event]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


def make(
    client: Client, window: Window = DAY, file_format: str = "jsonl", compression: str | None = None, **options: Any
) -> WindowExport:
    options = {"stop": Unhurried(), **options}
    return WindowExport(client, window, FileFormat.of(file_format, compression), **options)  # type: ignore[arg-type]


def read(export: WindowExport) -> bytes:
    return export.open().read()


def unpacked(whole: bytes, compression: str, member: str = "audit_packages.jsonl") -> bytes:
    if compression == "gzip":
        return gzip.decompress(whole)
    if compression == "zip":
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            assert archive.namelist() == [member]
            return archive.read(member)
    if compression == "zstd":
        return bytes(pytest.importorskip("zstandard").ZstdDecompressor().stream_reader(whole).read())
    return whole


def unzipped(whole: bytes) -> bytes:
    return unpacked(whole, "zip", "audit_packages.csv")
