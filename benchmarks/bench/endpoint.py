"""A fake audit-events endpoint on loopback that is never the bottleneck: a page is a slice of a buffer made beforehand.

Run as a process of its own: `python -m bench.endpoint --events 200000 --start … --end …`. It prints one line of JSON
with its port when it is ready, and ends when its standard input does, so that it cannot outlive the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import json
import os
import socket
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from bench.events import CSV_COLUMNS, Events, Prebuilt, format_time, parse_time

AUDIT_PATH = "/xray/api/v1/curation/audit/packages"
ENTITLEMENT_PATH = "/xray/api/v1/entitlements/feature/curation"
VERSION_PATH = "/xray/api/v1/system/version"

JSON_ROWS = 2_000
CSV_ROWS = 500_000
MAX_WIDTH = timedelta(hours=168)
#: Up to so many events the JSON is kept in memory (1.1 GB a million); beyond it each page is made when it is asked for.
PREBUILT_EVENTS = 400_000
#: Bytes of CSV and gzip answers that are kept for the next run.
CACHE_BYTES = 512 * 1024 * 1024
#: Seconds that a connection may be silent.
IDLE_SECONDS = 600

Body = Sequence[bytes | memoryview]


class Answer(NamedTuple):
    """A status, the type of the body, and the body in pieces that are sent without being joined."""

    status: int
    content_type: str
    body: Body
    encoding: str = ""


@dataclass
class Stats:
    """What clients asked for since the last reset."""

    requests: int = 0
    rows: int = 0
    body_bytes: int = 0
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    windows: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, int]:
        """Counts; `windows` is the number of distinct time ranges whose rows were asked for."""
        names = ("requests", "rows", "body_bytes", "connections", "most_in_flight")
        return {**{name: getattr(self, name) for name in names}, "windows": len(self.windows)}


@dataclass(frozen=True)
class Query:
    """The parameters of one audit request, checked."""

    first: int
    after: int
    window: str
    offset: int
    rows: int
    ascending: bool
    include_total: bool
    as_csv: bool
    meta: dict[str, Any]

    @property
    def asked(self) -> tuple[int, int]:
        """The run of event indexes that the answer holds."""
        count = max(0, min(self.rows, self.after - self.first - self.offset))
        if self.ascending:
            first = min(self.first + self.offset, self.after)
            return first, first + count
        after = max(self.after - self.offset, self.first)
        return after - count, after


class Cache:
    """Answers that are costly to make, the oldest dropped when `limit` bytes are exceeded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._answers: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    async def get(self, key: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
        if key not in self._answers:
            made = await asyncio.get_running_loop().run_in_executor(None, make)
            if key not in self._answers:
                self._answers[key] = made
                self._held += len(made)
            while self._held > self._limit and len(self._answers) > 1:
                self._held -= len(self._answers.popitem(last=False)[1])
            return made
        self._answers.move_to_end(key)
        return self._answers[key]


class Endpoint:
    """The events, the counters and the delay, shared by all connections."""

    def __init__(self, events: Events, *, allow_gzip: bool = False) -> None:
        self.events = events
        self.stats = Stats()
        self.latency = 0.0
        self._allow_gzip = allow_gzip
        self._prebuilt = Prebuilt(events) if events.total <= PREBUILT_EVENTS else None
        self._cache = Cache(CACHE_BYTES)

    async def answer(self, target: str, headers: dict[str, str]) -> Answer:
        """One request's answer, after the added latency."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if url.path == "/stats":
            return _json(200, self.stats.as_dict())
        if url.path == "/control":
            return self._control(query)
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return await self._product(url.path, query, headers)
        finally:
            self.stats.in_flight -= 1

    def _control(self, query: dict[str, str]) -> Answer:
        self.latency = float(query.get("latency_ms", self.latency * 1000)) / 1000
        self.stats = Stats(in_flight=self.stats.in_flight)
        return _json(200, {"latency_ms": self.latency * 1000})

    async def _product(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if not headers.get("authorization"):
            return _json(401, {"error": "Bad Credentials"})
        if path == ENTITLEMENT_PATH:
            return _json(200, {"feature_id": "curation", "entitled": True})
        if path == VERSION_PATH:
            return _json(200, {"xray_version": "3.131.0", "xray_revision": "0"})
        if path != AUDIT_PATH:
            return Answer(404, "text/plain", [b"404 page not found"])
        self.stats.requests += 1
        try:
            asked = self._parse(query)
        except ValueError as fault:
            return _json(400, {"error": str(fault)})
        first, after = asked.asked
        self.stats.rows += after - first
        if asked.rows > 1:
            self.stats.windows.add(asked.window)
        if asked.as_csv:
            body = await self._cache.get(("csv", first, after), lambda: self._csv(first, after))
            return Answer(200, "application/zip", [body])
        body_json = self._page(asked)
        if self._allow_gzip and "gzip" in headers.get("accept-encoding", ""):
            key = ("gzip", asked.window, asked.offset, asked.rows, asked.ascending, asked.include_total)
            packed = await self._cache.get(key, lambda: gzip.compress(b"".join(body_json), 6, mtime=0))
            return Answer(200, "application/json", [packed], "gzip")
        return Answer(200, "application/json", body_json)

    def _parse(self, query: dict[str, str]) -> Query:
        as_csv = query.get("format", "json") == "csv"
        rows, offset = int(query.get("num_of_rows", "100")), int(query.get("offset", "0"))
        include_total = query.get("include_total", "false").lower() == "true"
        direction = query.get("direction", "desc")
        if not 1 <= rows <= (CSV_ROWS if as_csv else JSON_ROWS) or offset < 0:
            raise ValueError(f"num_of_rows {rows} or offset {offset} out of range")
        if as_csv and include_total:
            raise ValueError("include_total is not allowed with format=csv")
        if query.get("order_by", "id") != "id" or direction not in ("asc", "desc"):
            raise ValueError("unknown order")
        now = format_time(datetime.now(timezone.utc))
        end = parse_time(query.get("created_at_end", now))
        start = parse_time(query["created_at_start"]) if "created_at_start" in query else end - timedelta(days=7)
        if end - start > MAX_WIDTH:
            raise ValueError("Maximum allowed duration is 168 hours")
        # Dry-run events do not exist here: such a question gets an empty answer.
        dry_run = query.get("dry_run", "false").lower() == "true"
        first, after = (0, 0) if dry_run else self.events.index_range(start, end)
        meta = {
            "order_by": "id",
            "direction": direction,
            "num_of_rows": rows,
            "offset": offset,
            "include_total": include_total,
            "include_explanation_and_recommendation": False,
            "created_at_start": format_time(start),
            "created_at_end": format_time(end),
        }
        window = f"{meta['created_at_start']}/{meta['created_at_end']}"
        return Query(first, after, window, offset, rows, direction == "asc", include_total, as_csv, meta)

    def _page(self, query: Query) -> Body:
        first, after = query.asked
        total, count = query.after - query.first, after - first
        at_end = count == 0 or query.offset + count >= total
        meta = {
            **({"total_count": total} if query.include_total else {}),
            "result_count": count,
            "next_offset": None if at_end else query.offset + count,
            **query.meta,
        }
        tail = b',"meta":' + json.dumps(meta, separators=(",", ":")).encode() + b"}"
        if count == 0:
            return [b'{"data":null' + tail]
        return [b'{"data":[', self._rows(first, after, query.ascending), b"]" + tail]

    def _rows(self, first: int, after: int, ascending: bool) -> bytes | memoryview:
        if ascending and self._prebuilt is not None:
            return self._prebuilt.slice(first, after)
        rows = list(self.events.json_events(first, after))
        return b",".join(rows if ascending else reversed(rows))

    def _csv(self, first: int, after: int) -> bytes:
        packed = io.BytesIO()
        name = zipfile.ZipInfo("audit_packages.csv", date_time=(2026, 1, 1, 0, 0, 0))
        name.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(packed, "w") as archive, archive.open(name, "w", force_zip64=True) as member:
            member.write(CSV_COLUMNS.encode() + b"\n")
            for low in range(first, after, 10_000):
                member.write(b"".join(self.events.csv_rows(low, min(low + 10_000, after))))
        return packed.getvalue()


def _json(status: int, value: Any) -> Answer:
    return Answer(status, "application/json", [json.dumps(value).encode()])


def _head(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {'OK' if answer.status == 200 else 'Error'}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {sum(len(piece) for piece in answer.body)}",
        *([f"Content-Encoding: {answer.encoding}"] if answer.encoding else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _serve_connection(endpoint: Endpoint, connection: socket.socket) -> None:
    """HTTP/1.1 with keep-alive; only requests without a body."""
    loop = asyncio.get_running_loop()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    endpoint.stats.connections += 1
    with connection:
        while True:
            while b"\r\n\r\n" not in received:
                chunk = await asyncio.wait_for(loop.sock_recv(connection, 65_536), IDLE_SECONDS)
                if not chunk:
                    return
                received += chunk
            raw, received = received.split(b"\r\n\r\n", 1)
            request, *lines = raw.decode("latin-1").split("\r\n")
            target = request.split(" ")[1]
            headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            answer = await endpoint.answer(target, headers)
            pieces = list(answer.body)
            if len(pieces) > 1 and isinstance(pieces[0], bytes):
                await loop.sock_sendall(connection, _head(answer) + pieces.pop(0))
            else:
                await loop.sock_sendall(connection, _head(answer))
            for piece in pieces:
                await loop.sock_sendall(connection, piece)
            endpoint.stats.body_bytes += sum(len(piece) for piece in answer.body)
            if headers.get("connection", "").lower() == "close":
                return


async def _serve(endpoint: Endpoint, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()

    def forget(task: asyncio.Task[None]) -> None:
        connections.discard(task)
        if not task.cancelled() and task.exception() and not isinstance(task.exception(), OSError):
            print(f"endpoint: {task.exception()!r}", file=sys.stderr)

    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else ended.set())
    over = asyncio.create_task(ended.wait())
    accepting: asyncio.Task[tuple[socket.socket, Any]] | None = None
    while not ended.is_set():
        accepting = accepting or asyncio.create_task(loop.sock_accept(listener))
        await asyncio.wait((accepting, over), return_when=asyncio.FIRST_COMPLETED)
        if accepting.done():
            task = asyncio.create_task(_serve_connection(endpoint, accepting.result()[0]))
            connections.add(task)
            task.add_done_callback(forget)
            accepting = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--start", type=parse_time, required=True, help="RFC 3339")
    parser.add_argument("--end", type=parse_time, required=True, help="RFC 3339")
    parser.add_argument("--gzip", action="store_true", help="gzip for clients that accept it, from a cache")
    args = parser.parse_args()
    endpoint = Endpoint(Events(args.events, args.start, args.end), allow_gzip=args.gzip)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setblocking(False)
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        asyncio.run(_serve(endpoint, listener))


if __name__ == "__main__":
    main()
