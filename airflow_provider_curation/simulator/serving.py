"""The application on sockets: WSGI, keep-alive, and the faults that only a connection can suffer."""

from __future__ import annotations

import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from threading import Lock
from typing import Any, Final

try:
    from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
except ImportError as missing:  # pragma: no cover - depends on the installation
    raise ImportError("the simulator needs werkzeug: pip install 'airflow-provider-curation[simulator]'") from missing

from airflow_provider_curation.simulator.app import CurationApp
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.replies import Reply, Request

log = logging.getLogger(__name__)

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_DRIP_SECONDS: Final = 1.0
_WITHOUT_ANSWER: Final = (Fault.RESET, Fault.HANG)


def serve(app: CurationApp, host: str, port: int) -> Server:
    """A server that listens already; an ``OSError`` says why it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Bound here, since the library's own way to report a port in use is to end the process.
    with socket.create_server((host, port), family=family, backlog=128) as listener:
        settings = app.settings
        pair = (settings.certificate, settings.private_key or None) if settings.certificate else None
        server = make_server(
            host, port, wsgi(app), True, request_handler=_Handler, ssl_context=pair, fd=listener.fileno()
        )
        return Server(server)


class Server:
    """A listening server and its open connections."""

    def __init__(self, server: BaseWSGIServer) -> None:
        self._server = server
        self._connections = server.open_connections = _Connections()  # type: ignore[attr-defined]
        self.port = int(server.port)

    def run(self) -> None:
        """Answer until ``shut``."""
        self._server.serve_forever(poll_interval=0.05)

    def shut(self) -> None:
        """Stop at once: idle and stalled connections are cut."""
        self._server.shutdown()
        self._connections.cut()


def wsgi(app: CurationApp) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """The application for any WSGI server; faults of the connection need ``werkzeug.socket`` to be seen as such."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reply = _handled(app, _request(environ))
        connection = environ.get("werkzeug.socket")
        if reply.fault in _WITHOUT_ANSWER:
            if reply.fault is Fault.HANG:
                app.stopping.wait(app.settings.hang)
            _reset(connection)
        headers = [("Content-Type", reply.content_type), *reply.headers]
        if not app.settings.chunked:
            headers.append(("Content-Length", str(len(reply.body))))
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        if reply.fault in (Fault.CUT_BODY, Fault.STALL):
            return _half(app, reply, connection)
        if reply.fault is Fault.DRIP:
            return _dripping(app, reply, connection)
        return [reply.body]

    return call


def _handled(app: CurationApp, request: Request) -> Reply:
    try:
        return app.handle(request)
    except Exception as error:  # such as a scheduled change that cannot be made: the client shall see why
        log.exception("the simulator failed at %s %s", request.method, request.path)
        return Reply(500, "text/plain; charset=utf-8", f"the simulator failed: {error!r}\n".encode())


def _request(environ: dict[str, Any]) -> Request:
    names = {
        key.removeprefix("HTTP_").replace("_", "-").title(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"] or "/",
        query_string=environ.get("QUERY_STRING", ""),
        headers=names,
        scheme=environ["wsgi.url_scheme"],
        port=environ["SERVER_PORT"],
    )


def _half(app: CurationApp, reply: Reply, connection: socket.socket | None) -> Iterator[bytes]:
    yield reply.body[: len(reply.body) // 2]
    if reply.fault is Fault.STALL:
        app.stopping.wait(app.settings.hang)
        _reset(connection)
    raise ConnectionAbortedError("the answer is cut here")


def _dripping(app: CurationApp, reply: Reply, connection: socket.socket | None) -> Iterator[bytes]:
    deadline = time.monotonic() + app.settings.hang
    for place in range(len(reply.body)):
        yield reply.body[place : place + 1]
        if app.stopping.wait(_DRIP_SECONDS) or time.monotonic() > deadline:
            break
    _reset(connection)


def _reset(connection: socket.socket | None) -> None:
    """Close the connection with a reset instead of an orderly end."""
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        # The descriptor itself: the socket's close() waits for its files, and shutting it down first would send a FIN.
        os.close(connection.detach())
    raise ConnectionAbortedError("the connection is reset here")


class _Connections:
    """The open connections, to be cut when the server stops."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._lock = Lock()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def discard(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def cut(self) -> None:
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    log.debug("a connection was closed already")


class _Handler(WSGIRequestHandler):
    """Requests of one connection; unlike its base it keeps the connection open between them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart, and must not wait for each other

    def setup(self) -> None:
        super().setup()
        self.server.open_connections.add(self.request)  # type: ignore[attr-defined]

    def finish(self) -> None:
        self.server.open_connections.discard(self.request)  # type: ignore[attr-defined]
        super().finish()

    def run_wsgi(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nobody reads the request's body, so nothing can follow it
        self.environ = self.make_environ()
        try:
            self._send(self.server.app(self.environ, self._start))
        except (ConnectionError, TimeoutError) as error:
            self.connection_dropped(error, self.environ)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
        code, _, phrase = status.partition(" ")
        self._chunked = not any(name == "Content-Length" for name, _ in headers)
        if self.request_version < "HTTP/1.1" and self._chunked:
            self._chunked, self.close_connection = False, True
        self.send_response(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        if self._chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        return self.wfile.write

    def _send(self, body: Iterable[bytes]) -> None:
        for part in body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
        if self._chunked and self.command != "HEAD":
            self.wfile.write(b"0\r\n\r\n")

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug(message, *args)
