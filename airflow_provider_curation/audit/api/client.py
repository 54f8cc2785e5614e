"""HTTP: one session, time-outs, retries, and every fault as a named error."""

from __future__ import annotations

import email.utils
import gzip
import json
import logging
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from http.client import HTTPException
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import requests
import tenacity
import urllib3.exceptions

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.messages import looks_like_html, server_message
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.session import host_of
from airflow_provider_curation.audit.endpoint import ENTITLEMENT_PATH, VERSION_PATH
from airflow_provider_curation.audit.errors import Asked

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_COPY_BYTES = 256 * 1024
_ERROR_BYTES = 64 * 1024
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(\.[\w-]{1,64})*")
_MESSAGE_CHARACTERS = 300

#: How a connection ends during the handshake when a proxy or balancer goes away: nothing was refused.
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_BY_STATUS: Mapping[int, type[errors.RequestError]] = {
    400: errors.BadRequestError,
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.EndpointNotFoundError,
    408: errors.TimedOutError,
    429: errors.ThrottledError,
}


@dataclass(frozen=True)
class RetryPolicy:
    """How a request is tried again: 429, 5xx, broken connections and answers, and nothing else.

    :param attempts: tries in all.
    :param first_wait: seconds before the second try; doubled for each one after it, with jitter.
    :param longest_wait: seconds that a wait grows to.
    :param longest_retry_after: seconds that a server's ``Retry-After`` is followed for at the most.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_retry_after: float = 300.0

    def wait(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds to wait after a failed try."""
        grown = tenacity.wait_exponential(multiplier=self.first_wait, max=self.longest_wait)
        backoff = min(grown(state) + tenacity.wait_random(0, self.first_wait)(state), self.longest_wait)
        error = state.outcome.exception() if state.outcome else None
        asked_for = getattr(error, "retry_after", None)
        return backoff if asked_for is None else max(backoff, min(asked_for, self.longest_retry_after))


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
        self._secrets = tuple(secret for secret in secrets if secret)
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

    def read_zip(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None = None) -> _T:
        """Ask for CSV, keep the zip in a temporary file, and decode it; see :meth:`read_json`."""
        return self._retrying(partial(self._zip_once, query, decode, stop), stop)

    def entitled(self) -> bool | None:
        """Return whether the server is entitled to Curation; ``None`` if it does not say."""
        try:
            answer = self._object(ENTITLEMENT_PATH)
        except errors.RequestError as error:
            log.warning("The server does not say whether it is entitled to Curation: %s", error)
            return None
        entitled = answer.get("entitled")
        return entitled if isinstance(entitled, bool) else None

    def version(self) -> str | None:
        """Return the server's ``xray_version``; ``None`` if it does not say."""
        try:
            version = self._object(VERSION_PATH).get("xray_version")
        except errors.RequestError:
            return None
        return str(version) if version else None

    def _object(self, path: str) -> dict[str, Any]:
        asked = Asked(path)

        def decode(body: bytes) -> dict[str, Any]:
            if looks_like_html(body):
                raise errors.NotTheApiError(asked, "200 with a page of HTML", server_message=server_message(body))
            try:
                answer = json.loads(body)
            except ValueError as error:
                raise errors.CutAnswerError(asked, f"a body of {len(body)} bytes that is not whole JSON") from error
            if not isinstance(answer, dict):
                raise errors.UnexpectedAnswerError(asked, "JSON that is no object")
            return answer

        return self._retrying(partial(self._json_once, asked, {}, decode), None)

    def _retrying(self, once: Callable[[], _T], stop: threading.Event | None) -> _T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "retry_request", False)),
            stop=tenacity.stop_after_attempt(self._retry.attempts),
            wait=self._retry.wait,
            sleep=partial(_sleep, stop),
            before_sleep=self._tell,
            reraise=True,
        )
        return retrying(once)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, errors.ThrottledError):
            self.throttled = True
        wait = state.next_action.sleep if state.next_action else 0.0
        log.warning("Try %d of %d failed, next in %.1f s: %s", state.attempt_number, self._retry.attempts, wait, error)

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
                    _check_stop(stop)
            return self._decoded(decode, file)

    def _decoded(self, decode: Callable[[Any], _T], body: bytes | IO[bytes]) -> _T:
        try:
            return decode(body)
        except errors.RequestError as error:
            if error.server_message:
                raise self._cleaned(error) from error.__cause__
            raise

    def _cleaned(self, error: errors.RequestError) -> errors.RequestError:
        message = self._harmless(error.server_message)
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
        except requests.exceptions.SSLError as error:
            if any(isinstance(each, _BROKEN_OFF) for each in _causes(error)):
                raise errors.ConnectionFailedError(asked, f"no whole answer ({_reason(error)})") from None
            raise errors.TlsError(asked, f"no trusted TLS connection ({_reason(error)})") from None
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
            limits = f"(connect, read) = {self._timeout} seconds"
            raise errors.TimedOutError(asked, f"no answer within {limits} ({_reason(error)})") from None
        except (urllib3.exceptions.DecodeError, zlib.error) as error:
            raise errors.CutAnswerError(asked, f"a body that cannot be decompressed ({_reason(error)})") from None
        except (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError) as error:
            raise errors.CutAnswerError(asked, f"a body that ended early ({_reason(error)})") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, HTTPException) as error:
            raise errors.ConnectionFailedError(asked, f"no whole answer ({_reason(error)})") from None

    def _get(self, asked: Asked, params: dict[str, str]) -> requests.Response:
        try:
            return self._session.get(self._base_url + asked.path, params=params, stream=True, timeout=self._timeout)
        except requests.exceptions.RequestException:
            raise
        except OSError as error:
            # What requests raises for a CA bundle or a certificate that is not there.
            raise errors.TlsError(asked, f"no connection ({error})") from None

    def _status_error(self, asked: Asked, response: requests.Response) -> errors.RequestError:
        status = response.status_code
        try:
            body = response.raw.read(_ERROR_BYTES, decode_content=True)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError):
            body = b""
        message = self._harmless(server_message(body))
        if status == 400:
            return _bad_request(asked, message)
        if 300 <= status < 400:
            place = host_of(response.headers.get("Location", "")) or "an unnamed place"
            return errors.RedirectedError(asked, f"{status}, a redirect to {place}", status=status)
        kind = _BY_STATUS.get(status) or (errors.ServerFaultError if status >= 500 else errors.UnexpectedStatusError)
        came_back = f"{status} {response.reason or ''}".strip()
        retry_after = _retry_after(response.headers.get("Retry-After"))
        return kind(asked, came_back, status=status, server_message=message, retry_after=retry_after)

    def _harmless(self, message: str | None) -> str | None:
        """Take credentials and mail addresses out of a server's message, which may repeat what it was sent."""
        if not message:
            return None
        for secret in self._secrets:
            message = message.replace(secret, "***")
        # Cut with some room, so that no half of an address is left at the end of what is kept.
        return _MAIL.sub("***", message[: 2 * _MESSAGE_CHARACTERS])[:_MESSAGE_CHARACTERS]


def _bad_request(asked: Asked, message: str | None) -> errors.BadRequestError:
    text = (message or "").lower()
    kind = errors.BadRequestError
    if "duration" in text and "hours" in text:
        kind = errors.WindowTooWideError
    elif re.search(r"(?<![a-z])rows?(?![a-z])", text):
        kind = errors.RowLimitError
    error = kind(asked, "400 Bad Request", status=400, server_message=message)
    if isinstance(error, errors.RowLimitError):
        undated = re.sub(r"\d{4}-\d\d-\d\d\S*", "", text)
        numbers = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", undated)]
        error.limit = min((number for number in numbers if number > 1), default=None)
    return error


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given in seconds or as a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _gunzip(asked: Asked, body: bytes) -> bytes:
    try:
        if not body:
            raise EOFError("nothing of it came")
        return gzip.decompress(body)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise errors.CutAnswerError(asked, f"a gzip body that cannot be decompressed ({error})") from None


def _reason(error: BaseException) -> str:
    """Return what went wrong without the URL and objects that requests puts into its texts."""
    causes = _causes(error)
    seen = [type(each).__name__ for each in causes]
    if isinstance(causes[-1], OSError) and causes[-1].strerror:
        seen[-1] += f" {causes[-1].strerror}"
    return ": ".join(seen)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and those within it, which requests and urllib3 keep in different places."""
    causes: list[BaseException] = []
    current: Any = error
    while isinstance(current, BaseException):
        causes.append(current)
        nested = getattr(current, "reason", None)
        if not isinstance(nested, BaseException):
            nested = next((arg for arg in current.args if isinstance(arg, BaseException)), current.__cause__)
        current = nested
    return causes


def _check_stop(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise errors.StoppedError("The task was asked to stop while an answer was read; nothing of it was kept.")


def _sleep(stop: threading.Event | None, seconds: float) -> None:
    if stop is None:
        time.sleep(seconds)
        return
    stop.wait(seconds)
    _check_stop(stop)
