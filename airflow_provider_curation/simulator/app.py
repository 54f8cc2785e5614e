"""The server without sockets: takes a request, returns a reply, and logs every request."""

from __future__ import annotations

import base64
import binascii
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from threading import Event, Lock
from typing import Final
from urllib.parse import parse_qsl

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, ENTITLEMENT_PATH, VERSION_PATH
from airflow_provider_curation.simulator.answers import Answers
from airflow_provider_curation.simulator.events import stamp
from airflow_provider_curation.simulator.faults import BODY_FAULTS, Fault, FaultPlan
from airflow_provider_curation.simulator.query import BadQuery, parse
from airflow_provider_curation.simulator.replies import (
    CUT_SHORT,
    HTML,
    JSON,
    LOGIN_PAGE,
    Reply,
    Request,
    error_reply,
    fault_reply,
    html_reply,
    json_reply,
    spoiled,
)
from airflow_provider_curation.simulator.settings import SimulatorSettings
from airflow_provider_curation.simulator.store import Store

_LOG_LENGTH: Final = 100_000
_OLDEST_VERSION: Final = (3, 82)
_LOGIN_PATH: Final = "/ui/login/"


@dataclass(frozen=True)
class RequestRecord:
    """One request as the server saw it, recorded just before the first byte of the reply.

    :param number: counts the requests to this path from 1.
    :param status: 0 if no answer was sent.
    :param rows: events in the answer; rows, in the dry-run stream.
    :param bytes: length of the body as sent.
    :param headers: names only.
    :param in_flight: requests being answered when this one arrived, including itself.
    """

    number: int
    method: str
    path: str
    params: Mapping[str, str]
    status: int
    fault: Fault | None
    rows: int
    bytes: int
    headers: tuple[str, ...]
    user_agent: str
    in_flight: int


class CurationApp:
    """Answers requests from the store's events, with the faults of the plan."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.store = Store(settings)
        self.answers = Answers(settings, self.store)
        self.faults = FaultPlan(settings.seed, settings.fault_rate, settings.fault_kinds, settings.fault_schedule)
        self.stopping = Event()
        self._records: deque[RequestRecord] = deque(maxlen=_LOG_LENGTH)
        self._numbers: Counter[str] = Counter()
        self._pages = 0
        self._in_flight = 0
        self._lock = Lock()

    @property
    def records(self) -> list[RequestRecord]:
        """Return the latest requests, in the order of their answers."""
        with self._lock:
            return list(self._records)

    def forget_records(self) -> None:
        """Empty the log; the numbering continues."""
        with self._lock:
            self._records.clear()

    def handle(self, request: Request) -> Reply:
        """Return the reply to a request, and log it; takes as long as the settings say."""
        with self._lock:
            self._in_flight += 1
            in_flight = self._in_flight
        try:
            return self._handle(request, in_flight)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _handle(self, request: Request, in_flight: int) -> Reply:
        path = self._path(request.path)
        params = dict(parse_qsl(request.query_string, keep_blank_values=True))
        number = self._count(path)
        fault = self._fault(path, number, params)
        load = in_flight / self.settings.capacity if self.settings.capacity and path == AUDIT_PATH else 0.0
        refused = load > 1 and self.settings.over_capacity == "refuse"
        if refused:
            fault = Fault.THROTTLED_SECONDS
        reply = self._reply(request, path, params, number, fault)
        if self.settings.gzip and reply.status == 200 and path == AUDIT_PATH and reply.content_type == JSON:
            reply = self._compressed(reply, request)
        delay = self.settings.latency * max(load, 1.0) ** 2 if path.startswith("/xray/") and not refused else 0.0
        delay += self.settings.latency_per_row * reply.rows + self.settings.latency_per_skipped_row * reply.skipped
        if delay:
            self.stopping.wait(delay)
        record = RequestRecord(
            number=number,
            method=request.method,
            path=path,
            params=params,
            status=0 if reply.fault in (Fault.RESET, Fault.HANG) else reply.status,
            fault=fault,
            rows=reply.rows,
            bytes=len(reply.body) // 2 if reply.fault in CUT_SHORT else len(reply.body),
            headers=tuple(sorted(request.headers)),
            user_agent=request.headers.get("User-Agent", ""),
            in_flight=in_flight,
        )
        with self._lock:
            self._records.append(record)
        return reply

    def _compressed(self, reply: Reply, request: Request) -> Reply:
        if not reply.body or "gzip" not in request.headers.get("Accept-Encoding", ""):
            return reply
        headers = (*reply.headers, ("Content-Encoding", "gzip"))
        return replace(reply, body=self.answers.compressed(reply.body), headers=headers)

    # What comes before an answer

    def _path(self, path: str) -> str:
        """Return a path without the context path."""
        context = self.settings.context_path
        if context and (path == context or path.startswith(context + "/")):
            path = path[len(context) :] or "/"
        return path

    def _count(self, path: str) -> int:
        with self._lock:
            self._numbers[path] += 1
            number = self._numbers[path]
            due = self.settings.changes.get(number, ()) if path == AUDIT_PATH else ()
            # Inside the lock: the next request must see the change.
            for change in due if isinstance(due, Sequence) else (due,):
                self.store.apply(change)
        return number

    def _fault(self, path: str, number: int, params: Mapping[str, str]) -> Fault | None:
        if path == AUDIT_PATH:
            return self.faults.choose(path, number, params.get("format") == "csv")
        if self.settings.faults_everywhere and path in (ENTITLEMENT_PATH, VERSION_PATH):
            return self.faults.choose(path, number, csv=False)
        return None

    def _reply(self, request: Request, path: str, params: Mapping[str, str], number: int, fault: Fault | None) -> Reply:
        if fault is not None and fault not in BODY_FAULTS:
            return fault_reply(fault, request, self.settings)
        if path == _LOGIN_PATH:
            return Reply(200, HTML, LOGIN_PAGE)
        if path == "/":
            return Reply(200, HTML, self._front_page().encode())
        if request.method not in ("GET", "HEAD"):
            return self._error(405, "method not allowed")
        if self.settings.content_type_refused and request.headers.get("Content-Type"):
            return html_reply(HTTPStatus.BAD_REQUEST)
        denied = self._denied(request, path)
        if denied is not None:
            return denied
        reply = self._answer(path, params, number)
        return reply if fault is None else spoiled(reply, fault)

    def _denied(self, request: Request, path: str) -> Reply | None:
        settings = self.settings
        if not (settings.tokens or settings.users or settings.forbidden_tokens):
            return None
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and credentials in settings.forbidden_tokens:
            return self._error(403, "Forbidden: VIEW_POLICIES is required") if path == AUDIT_PATH else None
        if scheme.lower() == "bearer" and credentials in settings.tokens:
            return None
        if scheme.lower() == "basic":
            user, _, password = _decoded(credentials).partition(":")
            if user in settings.users and settings.users[user] == password:
                return None
        return self._error(401, "Bad credentials")

    # Answers

    def _answer(self, path: str, params: Mapping[str, str], number: int) -> Reply:
        settings = self.settings
        if path == AUDIT_PATH and _version(settings.version) >= _OLDEST_VERSION:
            return self._audit(params, number)
        if path == ENTITLEMENT_PATH and settings.tells_entitlement:
            return json_reply(200, {"feature_id": "curation", "entitled": settings.entitled})
        if path == VERSION_PATH:
            return json_reply(200, {"xray_version": settings.version, "xray_revision": "0123abc"})
        return Reply(404, "text/plain; charset=utf-8", b"404 page not found\n")

    def _audit(self, params: Mapping[str, str], number: int) -> Reply:
        settings = self.settings
        try:
            query = parse(params, settings)
        except BadQuery as bad:
            return self._error(400, str(bad))
        if query.csv:
            answer = self.answers.archive(query)
            disposition = ("Content-Disposition", 'attachment; filename="audit_packages.zip"')
            return Reply(200, "application/zip", answer.body, answer.rows, answer.skipped, (disposition,))
        with self._lock:
            self._pages += 1
            shorter = settings.short_page_every > 0 and self._pages % settings.short_page_every == 0
        ignore_offset = settings.repeat_from is not None and number >= settings.repeat_from
        answer = self.answers.page(query, ignore_offset, shorter)
        return Reply(200, JSON, answer.body, answer.rows, answer.skipped)

    def _error(self, status: int, message: str) -> Reply:
        return error_reply(status, message, self.settings.error_body)

    def _front_page(self) -> str:
        data = self.store.dataset
        paths = "".join(f"<li><code>GET {path}</code></li>\n" for path in (AUDIT_PATH, ENTITLEMENT_PATH, VERSION_PATH))
        period = f"from {stamp(data.start)} to {stamp(data.end)} (seed {self.settings.seed})"
        return (
            "<!DOCTYPE html><html lang=en><title>Curation simulator</title><h1>Curation simulator</h1>\n"
            f"<p>{data.count:,} audit events {period}.</p>\n<ul>\n{paths}</ul>\n</html>\n"
        )


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
