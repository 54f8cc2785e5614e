"""One request, answered or named: it returns what was asked for, or raises an error of :mod:`..errors`."""

from __future__ import annotations

import gzip
import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPException
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import requests
import urllib3.exceptions

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.faults import fault_of_exception, fault_of_status
from airflow_provider_curation.audit.api.messages import server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.redaction import Redactor
from airflow_provider_curation.audit.api.retry import RetryPolicy, check_stop, retrying
from airflow_provider_curation.audit.errors import Asked

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_COPY_BYTES = 256 * 1024
_ERROR_BYTES = 64 * 1024


class AuditClient:
    """Asks the endpoint, retries what may pass, and names what does not.

    :param session: carries credentials, TLS settings, proxies and headers; it is used by several threads.
    :param base_url: the platform's URL, without ``/xray``.
    :param timeout: seconds to connect, and seconds between two bytes of an answer.
    :param secrets: values that must not be repeated from a server's message.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        *,
        timeout: tuple[float, float] = (10.0, 120.0),
        retry: RetryPolicy | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._redactor = Redactor(secrets)
        #: The server answered 429 once: ask one page at a time from then on.
        self.throttled = False
        #: Requests sent, retries included.
        self.requests = 0

    def read_json(self, query: Query, decode: Callable[[bytes], _T], stop: threading.Event | None = None) -> _T:
        """Ask for JSON and decode the body; an answer that does not decode is asked for again.

        :param stop: ends waiting between tries when it is set.
        :raises RequestError: its subclasses name the fault.
        """
        return self._retrying(partial(self._json_once, query.asked, query.params(), decode), stop)

    def read_path(self, asked: Asked, decode: Callable[[bytes], _T]) -> _T:
        """Ask for the JSON of a path without parameters; see :meth:`read_json`."""
        return self._retrying(partial(self._json_once, asked, {}, decode), None)

    def read_zip(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None = None) -> _T:
        """Ask for CSV, keep the zip in a temporary file, and decode it; see :meth:`read_json`."""
        return self._retrying(partial(self._zip_once, query, decode, stop), stop)

    def _retrying(self, once: Callable[[], _T], stop: threading.Event | None) -> _T:
        return retrying(self._retry, once, self._on_retry, stop)

    def _on_retry(self, attempt: int, wait: float, error: BaseException | None) -> None:
        if isinstance(error, errors.ThrottledError):
            self.throttled = True
        log.warning("Try %d of %d failed, next in %.1f s: %s", attempt, self._retry.attempts, wait, error)

    def _json_once(self, asked: Asked, params: dict[str, str], decode: Callable[[bytes], _T]) -> _T:
        with self._answer(asked, params) as response:
            # The raw body: requests' own .content is several times slower.
            body: bytes = response.raw.read(decode_content=False)
            encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding == "gzip":
            body = _gunzip(asked, body)
        elif encoding != "identity":
            raise errors.UnexpectedAnswerError(asked, f"a body in the encoding {encoding!r}, which was not asked for")
        return self._decoded(decode, body)

    def _zip_once(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None) -> _T:
        with TemporaryFile() as file:
            with self._answer(query.asked, query.params()) as response:
                while chunk := response.raw.read(_COPY_BYTES, decode_content=True):
                    file.write(chunk)
                    check_stop(stop)
            return self._decoded(decode, file)

    def _decoded(self, decode: Callable[[Any], _T], body: bytes | IO[bytes]) -> _T:
        try:
            return decode(body)
        except errors.RequestError as error:
            if error.server_message:
                raise self._cleaned(error) from error.__cause__
            raise

    def _cleaned(self, error: errors.RequestError) -> errors.RequestError:
        message = self._redactor.clean(error.server_message)
        return type(error)(error.asked, error.came_back, status=error.status, server_message=message)

    @contextmanager
    def _answer(self, asked: Asked, params: dict[str, str]) -> Iterator[requests.Response]:
        """Send one request and give its answer if that is a 200."""
        self.requests += 1
        try:
            with closing(self._get(asked, params)) as response:
                if response.status_code != 200:
                    raise self._status_error(asked, response)
                yield response
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, HTTPException, zlib.error) as error:
            raise fault_of_exception(asked, error, self._timeout) or error from None

    def _get(self, asked: Asked, params: dict[str, str]) -> requests.Response:
        try:
            return self._session.get(self._base_url + asked.path, params=params, stream=True, timeout=self._timeout)
        except requests.exceptions.RequestException:
            raise
        except OSError as error:
            # What requests raises for a CA bundle or a certificate that is not there.
            raise errors.TlsError(asked, f"no connection ({error})") from None

    def _status_error(self, asked: Asked, response: requests.Response) -> errors.RequestError:
        try:
            body = response.raw.read(_ERROR_BYTES, decode_content=True)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError):
            body = b""
        return fault_of_status(asked, response, self._redactor.clean(server_message(body)))


def _gunzip(asked: Asked, body: bytes) -> bytes:
    try:
        if not body:
            raise EOFError("nothing of it came")
        return gzip.decompress(body)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise errors.CutAnswerError(asked, f"a gzip body that cannot be decompressed ({error})") from None
