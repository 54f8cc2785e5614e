"""One request, answered or named: it returns what was asked for, or raises an error of :mod:`..errors`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPException
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import requests
import urllib3.exceptions

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.body import body_chunks
from airflow_provider_curation.audit.api.faults import (
    OUTSIDE,
    fault_of_decoding,
    fault_of_exception,
    fault_of_status,
    worker_fault,
)
from airflow_provider_curation.audit.api.gate import Gate
from airflow_provider_curation.audit.api.messages import server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.redaction import SHOWN_CHARACTERS, Redactor, clean_library_logs
from airflow_provider_curation.audit.api.retry import Outages, RetryPolicy, check_stop, retrying
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.mapped import collected

log = logging.getLogger(__name__)

_T = TypeVar("_T")
#: UTF-8 needs no more for a character.
_BYTES_A_CHARACTER = 4


class AuditClient:
    """Asks the endpoint, retries what may pass, and names what does not.

    :param session: carries credentials, TLS settings, proxies and headers; it is used by several threads.
    :param base_url: the platform's URL, without ``/xray``.
    :param timeout: seconds to connect, and seconds between two bytes of an answer.
    :param secrets: values that a server's message must not show; the credentials that are sent are known anyway.
    :param limits: what one answer may cost. The session sees to the deadline.
    :param concurrency: the most requests in flight. There are fewer after a 429, or while the server is slow.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        *,
        timeout: tuple[float, float] = (10.0, 120.0),
        retry: RetryPolicy | None = None,
        secrets: tuple[str, ...] = (),
        limits: Limits | None = None,
        concurrency: int = 4,
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self.limits = limits or Limits()
        self._redactor = Redactor(secrets)
        # What the session sends of itself, or of .netrc, is known before the first answer: urllib3 logs while it reads.
        with suppress(requests.exceptions.RequestException, ValueError):
            prepared = session.prepare_request(requests.Request("GET", self._base_url))
            self._redactor.add_authorization(prepared.headers.get("Authorization"))
        clean_library_logs(self._redactor)
        #: The most requests in flight, ever.
        self.most_concurrent = concurrency
        self._gate = Gate(concurrency)
        #: Requests sent, retries included.
        self.requests = 0
        #: Whether the server keeps the client waiting.
        self.outages = Outages()

    @property
    def concurrency(self) -> int:
        """The most requests in flight, right now."""
        return self._gate.limit

    def read_json(self, query: Query, decode: Callable[[memoryview], _T], stop: threading.Event | None = None) -> _T:
        """Ask for JSON and decode the body; an answer that does not decode is asked for again.

        :param stop: ends waiting between tries when it is set.
        :raises RequestError: its subclasses name the fault.
        """
        return self._retrying(partial(self._json_once, query.asked, query.params(), decode, stop), stop)

    def read_path(self, asked: Asked, decode: Callable[[bytes], _T]) -> _T:
        """Ask for the JSON of a path without parameters; see :meth:`read_json`."""
        return self._retrying(partial(self._json_once, asked, {}, lambda body: decode(bytes(body)), None), None)

    def read_zip(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None = None) -> _T:
        """Ask for CSV, keep the zip in a temporary file, and decode it; see :meth:`read_json`."""
        return self._retrying(partial(self._zip_once, query, decode, stop), stop)

    def _retrying(self, once: Callable[[], _T], stop: threading.Event | None) -> _T:
        with self._gate.request(stop):
            answer = retrying(self._retry, once, self._on_retry, stop)
        self.outages.answered()
        return answer

    def _on_retry(self, attempt: int, wait: float, error: BaseException | None) -> None:
        why = error.came_back if isinstance(error, errors.RequestError) else str(error)
        self.outages.failed(wait, why)
        log.warning("Try %d of %d failed, next in %.1f s: %s", attempt, self._retry.attempts, wait, error)

    def _json_once(
        self, asked: Asked, params: dict[str, str], decode: Callable[[memoryview], _T], stop: threading.Event | None
    ) -> _T:
        body = self._ask(asked, params, partial(self._json_body, asked), stop)
        return self._decoded(asked, decode, body)

    def _json_body(self, asked: Asked, response: requests.Response) -> memoryview:
        return collected(body_chunks(asked, response, self.limits, self._redactor, "max_json_bytes"))

    def _zip_once(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None) -> _T:
        asked = query.asked
        with _temporary_file(asked) as file:
            self._ask(asked, query.params(), partial(self._keep, asked, file, stop), stop)
            return self._decoded(asked, decode, file)

    def _keep(self, asked: Asked, file: IO[bytes], stop: threading.Event | None, response: requests.Response) -> None:
        for chunk in body_chunks(asked, response, self.limits, self._redactor):
            try:
                file.write(chunk)
            except OSError as error:
                raise worker_fault(asked, error) from None
            check_stop(stop)

    def _decoded(self, asked: Asked, decode: Callable[[Any], _T], body: memoryview | IO[bytes]) -> _T:
        try:
            return decode(body)
        except (errors.RequestError, *OUTSIDE) as error:
            fault = fault_of_decoding(asked, error, self._redactor)
        # Raised here, the error has no context, which might hold the body.
        raise fault

    def _ask(
        self,
        asked: Asked,
        params: dict[str, str],
        take: Callable[[requests.Response], _T],
        stop: threading.Event | None,
    ) -> _T:
        """Send one request and return what ``take`` makes of the answer if its status is 200."""
        with self._gate.attempt(stop) as attempt:
            self.requests += 1
            try:
                with closing(self._get(asked, params)) as response:
                    self._redactor.add_authorization(response.request.headers.get("Authorization"))
                    if response.status_code == 200:
                        answer = take(response)
                        attempt.size = response.raw.tell()
                        return answer
                    message = server_message(self._beginning(asked, response))
                    fault: errors.CurationAuditError = fault_of_status(asked, response, message, self._redactor)
            except errors.CurationAuditError:
                raise
            except OUTSIDE as error:
                fault = fault_of_exception(asked, error, self._timeout, self.limits)
            attempt.refused = isinstance(fault, errors.ThrottledError)
        # Raised here, the error has no context, whose texts hold addresses and headers.
        raise fault

    def _get(self, asked: Asked, params: dict[str, str]) -> requests.Response:
        return self._session.get(self._base_url + asked.path, params=params, stream=True, timeout=self._timeout)

    def _beginning(self, asked: Asked, response: requests.Response) -> bytes:
        """Return the beginning of an error's body: enough for its message, and for a secret that starts in there."""
        body = bytearray()
        most = _BYTES_A_CHARACTER * (SHOWN_CHARACTERS + self._redactor.reach)
        try:
            for chunk in body_chunks(asked, response, self.limits, self._redactor):
                body += chunk
                if len(body) >= most:
                    break
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, errors.RequestError):
            # The status says what happened; a body that is cut or cannot be read adds nothing.
            pass
        return bytes(body[:most])


def _temporary_file(asked: Asked) -> IO[bytes]:
    try:
        return TemporaryFile()
    except OSError as error:
        raise worker_fault(asked, error) from None
