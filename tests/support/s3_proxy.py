"""An S3 API in front of another one, which fails or halts at the request of a given number."""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "expect", "date", "server"}
_RESET = struct.pack("ii", 1, 0)


class Failure(str, Enum):
    """How a request fails."""

    INTERNAL = "500"
    SLOW_DOWN = "503"
    DENIED = "403"
    RESET = "reset"
    #: The request is carried out, and its answer is lost.
    ANSWER_LOST = "answer-lost"


class S3Proxy:
    """Forwards S3 requests; a context manager.

    :param fails: the failure of the request of that number, from 1.
    :param before: called with each request's number and name before it is forwarded; it drops the request by ``True``.
    :param after: called after it was carried out, before it is answered.
    """

    def __init__(
        self,
        target: str,
        *,
        fails: dict[int, Failure] | None = None,
        before: Callable[[int, str], Any] | None = None,
        after: Callable[[int, str], Any] | None = None,
    ) -> None:
        self.fails = fails or {}
        self.before = before
        self.after = after
        #: How every request fails while this is set.
        self.outage: Failure | None = None
        #: What was asked so far, such as ``PUT object`` or ``POST uploads``.
        self.requests: list[str] = []
        self._target = urlsplit(target)
        self._lock = Condition()
        self._under_way = 0
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, address: None  # type: ignore[assignment, method-assign]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> S3Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        # What S3 has received is carried out, whether somebody waits for the answer or not.
        with self._lock:
            assert self._lock.wait_for(lambda: not self._under_way, 30)

    def begin(self, name: str) -> int:
        with self._lock:
            self.requests.append(name)
            self._under_way += 1
            return len(self.requests)

    def finish(self) -> None:
        with self._lock:
            self._under_way -= 1
            self._lock.notify_all()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(str(self._target.hostname), self._target.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


def _name(method: str, path: str) -> str:
    """What a request is, in S3's words as far as they are in the address."""
    parts = urlsplit(path)
    words = [word for word in ("uploads", "uploadId", "partNumber", "list-type") if word in parts.query]
    of = "manifest" if "/_manifests/" in parts.path else "object" if parts.path.count("/") > 1 else "bucket"
    return " ".join((method, of, *words))


class _Handler(BaseHTTPRequestHandler):
    proxy: S3Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        number = self.proxy.begin(_name(self.command, self.path))
        try:
            self._carry_out(number, body)
        except ConnectionError:
            self.close_connection = True  # nobody waits for the answer any more
        finally:
            self.proxy.finish()

    def _carry_out(self, number: int, body: bytes) -> None:
        if self.proxy.before is not None:
            dropped = self.proxy.before(number, self.proxy.requests[number - 1])
        else:
            dropped = False
        failure = self.proxy.outage or self.proxy.fails.get(number)
        if dropped or failure is Failure.RESET:
            return self._reset()
        if failure in (Failure.INTERNAL, Failure.SLOW_DOWN, Failure.DENIED):
            return self._refuse(failure)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        status, given, answer = self.proxy.forward(self.command, self.path, headers, body)
        if self.proxy.after is not None:
            self.proxy.after(number, self.proxy.requests[number - 1])
        if failure is Failure.ANSWER_LOST:
            return self._reset()
        self.send_response(status)
        length = len(answer)
        for name, value in given:
            if self.command == "HEAD" and name.lower() == "content-length":
                length = int(value)
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _refuse(self, failure: Failure) -> None:
        codes = {Failure.INTERNAL: "InternalError", Failure.SLOW_DOWN: "SlowDown", Failure.DENIED: "AccessDenied"}
        body = f"<Error><Code>{codes[failure]}</Code><Message>made up</Message></Error>".encode()
        self.send_response(int(failure.value))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
