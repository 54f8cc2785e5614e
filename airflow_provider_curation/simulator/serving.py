"""The application on sockets: HTTP/1.1 with keep-alive, and the faults that only a connection can suffer."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock
from typing import Any, Final

from airflow_provider_curation.simulator.app import CurationApp
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.replies import Reply, Request

log = logging.getLogger(__name__)

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_DRIP_SECONDS: Final = 1.0


class Server(ThreadingTCPServer):
    """A server that listens from the start, and its open connections.

    :raises OSError: it cannot listen there.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, app: CurationApp, host: str, port: int) -> None:
        self.app = app
        self.scheme = "https" if app.settings.certificate else "http"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if app.settings.certificate:
            context.load_cert_chain(app.settings.certificate, app.settings.private_key or None)
        super().__init__((host, port), _Handler)
        self.port = int(self.server_address[1])
        if app.settings.certificate:
            # The connection's own thread shakes hands, so that a slow client delays no other.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def run(self) -> None:
        """Answer until ``shut``."""
        self.serve_forever(poll_interval=0.05)

    def shut(self) -> None:
        """Stop at once: idle and stalled connections are cut."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Requests of one connection, which stays open between them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart, and must not wait for each other
    server: Server

    def _handle(self) -> None:
        server, app = self.server, self.server.app
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nobody reads the request's body, so nothing can follow it
        request = Request.of(self.command, self.path, self.headers.items(), scheme=server.scheme, port=str(server.port))
        reply = self._reply(request)
        if reply.fault is Fault.HANG:
            app.stopping.wait(app.settings.hang)
        if reply.fault in (Fault.HANG, Fault.RESET):
            self._reset()
        chunked = app.settings.chunked and self.request_version >= "HTTP/1.1"
        head, body = reply.on_the_wire(self.command, chunked=chunked, close=self.close_connection)
        self.wfile.write(head)
        if reply.fault is Fault.DRIP:
            self._drip(body)
        self.wfile.write(body)
        if reply.fault is Fault.CUT_BODY:
            self.close_connection = True
        if reply.fault is Fault.STALL:
            app.stopping.wait(app.settings.hang)
            self._reset()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _reply(self, request: Request) -> Reply:
        try:
            return self.server.app.handle(request)
        except Exception as error:  # such as a scheduled change that cannot be made: the client must see why
            log.exception("the simulator failed at %s %s", request.method, request.path)
            return Reply(500, "text/plain; charset=utf-8", f"the simulator failed: {error!r}\n".encode())

    def _drip(self, body: bytes) -> None:
        app = self.server.app
        deadline = time.monotonic() + app.settings.hang
        for place in range(len(body)):
            self.wfile.write(body[place : place + 1])
            if app.stopping.wait(_DRIP_SECONDS) or time.monotonic() > deadline:
                break
        self._reset()

    def _reset(self) -> None:
        """Close the connection with a reset instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        # The descriptor itself: the socket's close() waits for its files, and shutting it down first would send a FIN.
        os.close(self.connection.detach())
        raise ConnectionAbortedError("the connection is reset here")

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
