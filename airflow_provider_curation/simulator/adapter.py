"""The server without sockets, for unit tests: a requests adapter that answers from the simulator's own core.

Everything of requests, urllib3 and ``http.client`` above the socket is real, so a test sees what a client of a real
server sees; only time does not pass.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from http.client import parse_headers
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.replies import Request

if TYPE_CHECKING:
    from airflow_provider_curation.simulator.app import CurationApp

#: Given a request and the bytes of its answer (status line, headers, body), returns the bytes to send instead.
Spoil = Callable[[Request, bytes], bytes]

_LATE: Final = (Fault.STALL, Fault.DRIP)


class SimulatorAdapter(HTTPAdapter):
    """Answers every request of a session that it is mounted on; mount it for ``http://``.

    A fault that makes a client wait (``hang``, ``stall``, ``drip``) ends in the client's time-out at once.

    :param spoil: alters answers on their way.
    """

    def __init__(self, app: CurationApp, spoil: Spoil = lambda request, answer: answer) -> None:
        self._app = app
        self._spoil = spoil
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        connection = type("Connection", (_Connection,), {"answer": staticmethod(self._answer)})
        pool = type("Pool", (_Pool,), {"ConnectionCls": connection})
        self.poolmanager.pool_classes_by_scheme = {"http": pool}

    def _answer(self, sent: bytes) -> io.BufferedIOBase:
        line, _, rest = sent.partition(b"\r\n")
        method, target, _ = line.decode("ascii").split(" ")
        request = Request.of(method, target, parse_headers(io.BytesIO(rest)).items())
        reply = self._app.handle(request)
        if reply.fault is Fault.RESET:
            raise ConnectionResetError("the connection is reset here")
        if reply.fault is Fault.HANG:
            raise TimeoutError("no answer for a long time")
        head, body = reply.on_the_wire(method, chunked=self._app.settings.chunked, close=True)
        if reply.fault is Fault.DRIP:
            body = body[: len(body) // 2]
        answer = self._spoil(request, head + body)
        return io.BufferedReader(_Silent(answer)) if reply.fault in _LATE else io.BytesIO(answer)


class _Silent(io.RawIOBase):
    """Bytes, and then nothing until the client's time-out."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._content.readinto(buffer)
        if not count:
            raise TimeoutError("nothing more for a long time")
        return count


class _Wire:
    """Stands for the socket of one request."""

    def __init__(self, answer: Callable[[bytes], io.BufferedIOBase]) -> None:
        self._answer = answer
        self._sent = bytearray()

    def sendall(self, data: bytes) -> None:
        self._sent += data

    def makefile(self, *arguments: Any, **options: Any) -> io.BufferedIOBase:
        return self._answer(bytes(self._sent))

    def settimeout(self, seconds: float | None) -> None:
        """Return at once: no time passes here."""

    def shutdown(self, how: int) -> None:
        """Return at once: nothing is open."""

    def close(self) -> None:
        """Return at once: nothing is open."""


class _Connection(HTTPConnection):
    answer: Callable[[bytes], io.BufferedIOBase]

    def connect(self) -> None:
        self.sock: Any = _Wire(self.answer)


class _Pool(HTTPConnectionPool):
    """Gives each request a connection of its own, so that nothing checks whether a socket is still open."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        return self._new_conn()

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()
