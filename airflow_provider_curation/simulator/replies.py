"""What goes over the wire: requests and replies, errors, and what faults make of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from airflow_provider_curation.simulator.false_answers import false_csv, false_json
from airflow_provider_curation.simulator.faults import FALSE_ANSWERS, Fault
from airflow_provider_curation.simulator.settings import SimulatorSettings

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
LOGIN_PAGE: Final = b"<!DOCTYPE html><html><body><form>Please log in</form></body></html>"
_CHUNK_BYTES: Final = 10_000
#: Faults that send half of the body.
CUT_SHORT: Final = (Fault.CUT_BODY, Fault.STALL)
_PAGES: Final = {
    Fault.BAD_GATEWAY: HTTPStatus.BAD_GATEWAY,
    Fault.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Fault.GATEWAY_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True)
class Request:
    """What the application needs to know of a request; header names are in title case."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    port: str = "80"

    @classmethod
    def of(cls, method: str, target: str, headers: Iterable[tuple[str, str]], **server: str) -> Request:
        """Return the request of a request line and its headers."""
        parts = urlsplit(target)
        named = {name.title(): value for name, value in headers}
        return cls(method, unquote(parts.path) or "/", parts.query, named, **server)


@dataclass(frozen=True)
class Reply:
    """What to send; ``fault`` names what happens on the connection itself."""

    status: int
    content_type: str
    body: bytes
    rows: int = 0
    skipped: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    fault: Fault | None = None

    def on_the_wire(self, method: str, *, chunked: bool, close: bool) -> tuple[bytes, bytes]:
        """Return the status line with the headers, and the body, as HTTP/1.1 sends them."""
        headers = [("Content-Type", self.content_type), *self.headers]
        body = b"" if method == "HEAD" else self.body
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
            if method != "HEAD":
                places = range(0, len(body), _CHUNK_BYTES)
                parts = [body[place : place + _CHUNK_BYTES] for place in places]
                body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
        else:
            headers.append(("Content-Length", str(len(self.body))))
        if close:
            headers.append(("Connection", "close"))
        head = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", *map(": ".join, headers), "", ""]
        if self.fault in CUT_SHORT:
            body = body[: len(body) - (len(self.body) + 1) // 2]
        return "\r\n".join(head).encode("latin-1"), body


def json_reply(status: int, value: Any) -> Reply:
    """Return a value as compact JSON."""
    return Reply(status, JSON, json.dumps(value, separators=(",", ":")).encode())


def html_reply(status: HTTPStatus) -> Reply:
    """Return the page that a gateway shows for a status."""
    text = f"{status.value} {status.phrase}"
    body = f"<html>\n<head><title>{text}</title></head>\n<body><center><h1>{text}</h1></center></body>\n</html>\n"
    return Reply(status.value, HTML, body.encode())


def error_reply(status: int, message: str, shape: str) -> Reply:
    """Return an error as JSON."""
    if shape == "error":
        return json_reply(status, {"error": message})
    return json_reply(status, {"errors": [{"status": status, "message": message}]})


def fault_reply(fault: Fault, request: Request, settings: SimulatorSettings) -> Reply:
    """Return what a fault sends in place of an answer."""
    seconds = settings.retry_after
    if fault is Fault.THROTTLED:
        return error_reply(429, "Too many requests", settings.error_body)
    if fault in (Fault.THROTTLED_SECONDS, Fault.THROTTLED_DATE):
        # Rounded up, since a date has whole seconds.
        date = formatdate(int(time.time()) + 1 + seconds, usegmt=True)
        after = str(seconds) if fault is Fault.THROTTLED_SECONDS else date
        return replace(error_reply(429, "Too many requests", settings.error_body), headers=(("Retry-After", after),))
    if fault is Fault.SERVER_ERROR:
        return error_reply(500, "Internal server error", settings.error_body)
    if fault is Fault.UNAUTHORIZED:
        return error_reply(401, "Bad credentials", settings.error_body)
    if fault is Fault.LOGIN_PAGE:
        return Reply(200, HTML, LOGIN_PAGE)
    if fault is Fault.REDIRECT:
        url = settings.login_url.format(scheme=request.scheme, port=request.port)
        return Reply(302, HTML, b"<html>Found</html>", headers=(("Location", url),))
    if fault is Fault.NO_DATA:
        return json_reply(200, {"meta": {}})
    if fault in _PAGES:
        return html_reply(_PAGES[fault])
    return Reply(200, JSON, b"", fault=fault)


def spoiled(reply: Reply, fault: Fault) -> Reply:
    """Return the reply with its body damaged, or marked for the connection to damage it."""
    body = reply.body
    if fault in (Fault.TRUNCATED_JSON, Fault.TRUNCATED_ZIP):
        body = body[: len(body) * 2 // 3]
    elif fault is Fault.CORRUPT_ZIP:
        body = _with_wrong_crc(body)
    elif fault in FALSE_ANSWERS and reply.status == 200:
        body = false_json(body, fault) if reply.content_type == JSON else false_csv(body, fault)
    return replace(reply, body=body, fault=fault)


def _with_wrong_crc(archive: bytes) -> bytes:
    """Return an archive of one member with a wrong CRC, both in the member's header and in the directory."""
    damaged = bytearray(archive)
    directory = archive.rfind(b"PK\x01\x02")
    for position in (14, directory + 16):
        if directory >= 0:
            damaged[position] ^= 0xFF
    return bytes(damaged)
