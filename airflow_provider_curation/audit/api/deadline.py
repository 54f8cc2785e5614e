"""A deadline for a whole answer: a server that sends a byte now and then never exceeds a read time-out."""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager


class DeadlineError(TimeoutError):
    """The answer was not complete in time."""


class DeadlineAdapter(HTTPAdapter):
    """Ends each answer, headers and body, after a number of seconds.

    :param seconds: from the request to the last byte of its answer.
    :param connections: the most connections to keep open.
    """

    def __init__(self, seconds: float, connections: int) -> None:
        self._pools = {
            "http": _pool_class(HTTPConnectionPool, HTTPConnection, seconds),
            "https": _pool_class(HTTPSConnectionPool, HTTPSConnection, seconds),
        }
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        manager = cast("PoolManager", super().proxy_manager_for(proxy, **options))
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool_class(pool: type[Any], connection: type[Any], seconds: float) -> type[Any]:
    bounded = type(connection.__name__, (_WithDeadline, connection), {"answer_seconds": seconds})
    return type(pool.__name__, (pool,), {"ConnectionCls": bounded})


class _WithDeadline:
    """Gives each response of a connection its deadline."""

    answer_seconds: float
    _deadline = float("inf")

    def putrequest(self, *arguments: Any, **options: Any) -> Any:
        self._deadline = time.monotonic() + self.answer_seconds
        return super().putrequest(*arguments, **options)  # type: ignore[misc]

    def response_class(self, sock: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:
        response = HTTPResponse(sock, *arguments, **options)
        # No byte of the answer has been read yet, so replacing the buffer loses nothing.
        raw = response.fp.detach()
        response.fp = io.BufferedReader(_DeadlineReader(raw, sock, self._deadline))
        return response


class _DeadlineReader(io.RawIOBase):
    """Reads a socket; the read times out at the deadline, or earlier if the socket's own time-out is shorter."""

    def __init__(self, raw: Any, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self._patience = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError
        by_deadline = self._patience is None or left < self._patience
        self._sock.settimeout(left if by_deadline else self._patience)
        try:
            read: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if by_deadline:
                raise DeadlineError from None
            raise
        return read

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
