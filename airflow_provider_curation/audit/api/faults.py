"""Turns a status or an exception into one of the errors of :mod:`..errors`."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import requests
import urllib3.exceptions

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.deadline import DeadlineError
from airflow_provider_curation.audit.api.messages import server_message
from airflow_provider_curation.audit.api.redaction import SHOWN_CHARACTERS, Redactor
from airflow_provider_curation.audit.api.session import host_of
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.limits import Limits

#: How a handshake ends when a proxy or load balancer goes away: no certificate was refused.
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
#: What requests, urllib3, the standard library and decoders raise for faults outside this process. Not every
#: ``Exception``: Airflow raises its own anywhere in the code to stop a task.
OUTSIDE = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    MemoryError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
#: Bytes of a web page that are searched for its title.
_WEB_PAGE_BYTES = 16 * 1024
#: Longer than any number of seconds or date.
_RETRY_AFTER_CHARACTERS = 100
_BY_STATUS: Mapping[int, type[errors.RequestError]] = {
    400: errors.BadRequestError,
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.EndpointNotFoundError,
    408: errors.TimedOutError,
    429: errors.ThrottledError,
}


def fault_of_exception(
    asked: Asked, error: Exception, timeout: tuple[float, float], limits: Limits
) -> errors.CurationAuditError:
    """Return the error for an exception that was raised by sending a request or reading its answer.

    :param timeout: seconds to connect, and to read.
    """
    causes = _causes(error)
    reason = _reason(causes)
    if isinstance(error, MemoryError):
        return worker_fault(asked, error)
    if any(isinstance(each, DeadlineError) for each in causes):
        return errors.TimedOutError(asked, f"an answer that took {limits.exceeded('answer_deadline')}, in seconds")
    if isinstance(error, requests.exceptions.SSLError):
        if any(isinstance(each, _BROKEN_OFF) for each in causes):
            return errors.ConnectionFailedError(asked, f"no complete answer ({reason})")
        return errors.TlsError(asked, f"no trusted TLS connection ({reason})")
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return errors.TimedOutError(asked, f"no answer within (connect, read) = {timeout} seconds ({reason})")
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError):
        return errors.CutAnswerError(asked, f"a body that ended early ({reason})")
    if isinstance(error, OSError) and not isinstance(error, requests.exceptions.RequestException):
        # requests raises it for a missing CA bundle or certificate; it names the path.
        return errors.TlsError(asked, f"no connection ({error})")
    return errors.ConnectionFailedError(asked, f"no complete answer ({reason})")


def fault_of_decoding(asked: Asked, error: Exception, redactor: Redactor) -> errors.CurationAuditError:
    """Return the error for an exception that decoding a complete answer raised, without the server's words."""
    if isinstance(error, errors.RequestError):
        return _cleaned(error, redactor)
    if isinstance(error, errors.CurationAuditError):
        return error
    if isinstance(error, OSError | MemoryError):
        return worker_fault(asked, error)
    return errors.UnexpectedAnswerError(asked, f"an answer that cannot be read ({type(error).__name__})")


def fault_of_web_page(asked: Asked, body: bytes) -> errors.NotTheApiError:
    """Return the error for a page of HTML with status 200, such as a login or proxy page.

    :param body: the page, or its beginning.
    """
    message = server_message(body[:_WEB_PAGE_BYTES])
    return errors.NotTheApiError(asked, "200 with a page of HTML", server_message=message)


def worker_fault(asked: Asked, error: OSError | MemoryError) -> errors.WorkerResourceError:
    """Return the error for a full disk, or another problem of the worker itself."""
    return errors.WorkerResourceError(
        f"{asked}: the worker could not keep the answer ({str(error) or 'out of memory'}). Free space in its "
        "TMPDIR, or give it more memory or the connection a smaller concurrency."
    )


def _cleaned(error: errors.RequestError, redactor: Redactor) -> errors.RequestError:
    clean = type(error)(
        error.asked,
        redactor.clean(error.came_back) or "",
        status=error.status,
        server_message=redactor.clean(error.server_message),
        retry_after=error.retry_after,
    )
    # A subclass may have more attributes, such as the number of rows that a server allows.
    clean.__dict__ = {**error.__dict__, **clean.__dict__}
    return clean


def fault_of_status(
    asked: Asked, response: requests.Response, message: str | None, redactor: Redactor
) -> errors.RequestError:
    """Return the error for an answer whose status is not 200.

    :param message: the server's own message.
    """
    status = response.status_code
    message = redactor.clean(message)
    if status == 400:
        return _bad_request(asked, message)
    if 300 <= status < 400:
        host = host_of(response.headers.get("Location", "")[:SHOWN_CHARACTERS])
        place = redactor.quoted(host) if host else "an unnamed place"
        return errors.RedirectedError(asked, f"{status}, a redirect to {place}", status=status)
    kind = _BY_STATUS.get(status) or (errors.ServerFaultError if status >= 500 else errors.UnexpectedStatusError)
    reason = response.reason or ""
    if reason and reason != http.client.responses.get(status):
        reason = redactor.quoted(reason)
    wait = retry_after(response.headers.get("Retry-After"))
    return kind(asked, f"{status} {reason}".strip(), status=status, server_message=message, retry_after=wait)


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
    if not value or len(value) > _RETRY_AFTER_CHARACTERS:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, LookupError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _reason(causes: list[BaseException]) -> str:
    """Return what went wrong, without the URL and objects that requests puts into its messages."""
    seen = [type(each).__name__ for each in causes]
    if isinstance(causes[-1], OSError) and causes[-1].strerror:
        seen[-1] += f" {causes[-1].strerror}"
    return ": ".join(seen)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, which requests and urllib3 keep in different places."""
    causes: list[BaseException] = []
    current: Any = error
    while isinstance(current, BaseException):
        causes.append(current)
        nested = getattr(current, "reason", None)
        if not isinstance(nested, BaseException):
            nested = next((arg for arg in current.args if isinstance(arg, BaseException)), current.__cause__)
        if nested is None and isinstance(current, urllib3.exceptions.HTTPError):
            # Older versions of urllib3 raise errors without a cause while they handle another one.
            nested = current.__context__
        current = nested
    return causes
