"""Names a fault: a status or an exception becomes one of the errors of :mod:`..errors`."""

from __future__ import annotations

import email.utils
import re
import ssl
import zlib
from collections.abc import Mapping
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any

import requests
import urllib3.exceptions

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.session import host_of
from airflow_provider_curation.audit.errors import Asked

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


def fault_of_exception(asked: Asked, error: Exception, timeout: tuple[float, float]) -> errors.RequestError | None:
    """Return the error for an exception that requests or urllib3 raised; ``None`` for an exception of another kind."""
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        if any(isinstance(each, _BROKEN_OFF) for each in _causes(error)):
            return errors.ConnectionFailedError(asked, f"no whole answer ({reason})")
        return errors.TlsError(asked, f"no trusted TLS connection ({reason})")
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return errors.TimedOutError(asked, f"no answer within (connect, read) = {timeout} seconds ({reason})")
    if isinstance(error, urllib3.exceptions.DecodeError | zlib.error):
        return errors.CutAnswerError(asked, f"a body that cannot be decompressed ({reason})")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError):
        return errors.CutAnswerError(asked, f"a body that ended early ({reason})")
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | HTTPException):
        return errors.ConnectionFailedError(asked, f"no whole answer ({reason})")
    return None


def fault_of_status(asked: Asked, response: requests.Response, message: str | None) -> errors.RequestError:
    """Return the error for an answer whose status is not 200.

    :param message: the server's own message, already clean.
    """
    status = response.status_code
    if status == 400:
        return _bad_request(asked, message)
    if 300 <= status < 400:
        place = host_of(response.headers.get("Location", "")) or "an unnamed place"
        return errors.RedirectedError(asked, f"{status}, a redirect to {place}", status=status)
    kind = _BY_STATUS.get(status) or (errors.ServerFaultError if status >= 500 else errors.UnexpectedStatusError)
    came_back = f"{status} {response.reason or ''}".strip()
    wait = retry_after(response.headers.get("Retry-After"))
    return kind(asked, came_back, status=status, server_message=message, retry_after=wait)


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


def retry_after(value: str | None) -> float | None:
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
