"""A server of the standard library that answers the client with what a test chooses, and a client for it."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import BearerAuth, PlatformSession
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.window import Window

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
QUERY = Query(WINDOW, 2000, include_total=True)
PATH = "/xray/api/v1/curation/audit/packages"
EMPTY = b'{"data": null, "meta": {"total_count": 0}}'
TOKEN = "s3cr3t-token"
QUICK = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.002)

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives the next of the server's answers, the last one for ever; a redirect of a path comes first."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        self.server.connections.add(self.client_address[1])
        if redirect := self.server.redirects.get(self.path):
            status, location = redirect
            return self.give(status, b"{}", {"Location": location})
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    do_HEAD = do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def give(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Answers byte by byte what a test chooses, on a real socket; everything else is for the simulator."""

    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: list[Answer] = [ok(b"{}")]
        #: Where each path leads to, and with which status.
        self.redirects: dict[str, tuple[int, str]] = {}
        #: The path and the headers of each request.
        self.seen: list[tuple[str, dict[str, str]]] = []
        #: The ports that requests came from: one for each connection.
        self.connections: set[int] = set()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server_port}"
        #: Ends the answers that never end.
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: broken connections are what is tested."""


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    """Run a server, over HTTPS if there is a certificate."""
    server = Server(certificate)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def raw(answer: bytes) -> Answer:
    """Send these bytes, whatever they are, and close the connection."""

    def send(handler: Handler) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    return send


def ok(body: bytes = EMPTY, status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.give(
        status, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def fault(status: int, body: bytes = b"", **headers: str) -> Answer:
    return ok(body, status, **headers)


def cut_body(handler: Handler) -> None:
    handler.give(200, EMPTY[:10], {"Content-Length": str(len(EMPTY))})
    handler.close_connection = True


def cut_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\n" + EMPTY[:5] + b"\r\n")
    handler.close_connection = True


def cut_gzip(handler: Handler) -> None:
    handler.give(200, gzip.compress(EMPTY)[:-9], {"Content-Encoding": "gzip"})


def broken_gzip(handler: Handler) -> None:
    handler.give(200, b"\x1f\x8b\x08\x00" + bytes(20), {"Content-Encoding": "gzip"})


def no_gzip(handler: Handler) -> None:
    handler.give(200, EMPTY, {"Content-Encoding": "gzip"})


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silence(handler: Handler) -> None:
    handler.server.closing.wait(60)
    handler.close_connection = True


def stalled_body(handler: Handler) -> None:
    handler.give(200, EMPTY[:10], {"Content-Length": str(len(EMPTY))})
    handler.wfile.flush()
    handler.server.closing.wait(60)
    handler.close_connection = True


def chunked(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for place in range(0, len(EMPTY), 7):
        piece = EMPTY[place : place + 7]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def make_client(server: Server, **options: Any) -> AuditClient:
    session = PlatformSession(auth=BearerAuth(TOKEN), trust_env=False, headers={"User-Agent": "tests"})
    return AuditClient(session, server.url, **{"retry": QUICK, "timeout": (10.0, 10.0), "secrets": (TOKEN,), **options})


def patience(answer: Answer) -> tuple[float, float]:
    """Return time-outs: short ones for the answers that never end, and none that a slow machine could reach."""
    return (10.0, 0.3) if answer in (silence, stalled_body) else (10.0, 10.0)


def read(client: AuditClient, query: Query = QUERY, stop: threading.Event | None = None) -> Page:
    return client.read_json(query, partial(json_page, query), stop)


def read_bytes(client: AuditClient, stop: threading.Event | None = None) -> bytes:
    def decode(file: IO[bytes]) -> bytes:
        file.seek(0)
        return file.read()

    return client.read_zip(Query(WINDOW, 5, format="csv"), decode, stop)
