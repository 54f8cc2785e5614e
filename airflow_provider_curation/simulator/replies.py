"""What goes over the wire: requests and replies, errors, and what faults make of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from airflow_provider_curation.simulator.false_answers import false_csv, false_json
from airflow_provider_curation.simulator.faults import FALSE_ANSWERS, Fault
from airflow_provider_curation.simulator.settings import ErrorBody, SimulatorSettings

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
LOGIN_PAGE: Final = b"<!DOCTYPE html><html><body><form>Please log in</form></body></html>"
_PAGES: Final = {
    Fault.BAD_GATEWAY: HTTPStatus.BAD_GATEWAY,
    Fault.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Fault.GATEWAY_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True)
class Request:
    """What the application needs to know of a request."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    port: str = "80"


@dataclass(frozen=True)
class Reply:
    """What to send; ``fault`` names what the connection itself has to suffer."""

    status: int
    content_type: str
    body: bytes
    rows: int = 0
    skipped: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    fault: Fault | None = None


def json_reply(status: int, value: Any) -> Reply:
    """A value as compact JSON."""
    return Reply(status, JSON, json.dumps(value, separators=(",", ":")).encode())


def html_reply(status: HTTPStatus) -> Reply:
    """The page that a gateway shows for a status."""
    text = f"{status.value} {status.phrase}"
    body = f"<html>\n<head><title>{text}</title></head>\n<body><center><h1>{text}</h1></center></body>\n</html>\n"
    return Reply(status.value, HTML, body.encode())


def error_reply(status: int, message: str, shape: ErrorBody) -> Reply:
    """An error as JSON."""
    if shape is ErrorBody.ERROR:
        return json_reply(status, {"error": message})
    return json_reply(status, {"errors": [{"status": status, "message": message}]})


def fault_reply(fault: Fault, request: Request, settings: SimulatorSettings) -> Reply:
    """What a fault puts in the place of an answer."""
    seconds = settings.retry_after
    if fault is Fault.THROTTLED:
        return error_reply(429, "Too many requests", settings.error_body)
    if fault in (Fault.THROTTLED_SECONDS, Fault.THROTTLED_DATE):
        # Rounded up, as a date has whole seconds only.
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
    """The reply with its body damaged, or marked for the connection to damage it."""
    body = reply.body
    if fault in (Fault.TRUNCATED_JSON, Fault.TRUNCATED_ZIP):
        body = body[: len(body) * 2 // 3]
    elif fault is Fault.CORRUPT_ZIP:
        body = _with_wrong_crc(body)
    elif fault in FALSE_ANSWERS and reply.status == 200:
        body = false_json(body, fault) if reply.content_type == JSON else false_csv(body, fault)
    return replace(reply, body=body, fault=fault)


def _with_wrong_crc(archive: bytes) -> bytes:
    """The archive of one member with another CRC, in the member's own header and in the directory."""
    damaged = bytearray(archive)
    directory = archive.rfind(b"PK\x01\x02")
    for position in (14, directory + 16):
        if directory >= 0:
            damaged[position] ^= 0xFF
    return bytes(damaged)
