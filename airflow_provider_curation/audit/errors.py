"""One exception class a kind of fault, so that retry policies can be written on them.

Every message names what was asked, what came back and what to do. The client sends a request again if the error's
``retry_request`` is true. A task is worth another try if ``retry_task`` is true; any other error fails it at once,
whatever its ``retries``.

The tree::

    CurationAuditError
        InvalidArgumentError
            InvalidWindowError
        RequestError
            BadRequestError
                WindowTooWideError
                RowLimitError
            UnauthorizedError
            ForbiddenError
            EndpointNotFoundError
            UnexpectedStatusError
            ThrottledError
            ServerFaultError
            ConnectionFailedError
                TimedOutError
            TlsError
            CutAnswerError
            RedirectedError
            NotTheApiError
            UnexpectedAnswerError
            ContradictoryAnswerError
            AnswerTooLargeError
            IncompleteCsvError
            RowsShiftedError
        WorkerResourceError
        NotEntitledError
        IncompleteExportError
        ShrinkError
        ExpiredWindowError
        FutureWindowError
        UndefinedWindowError
        ObjectExistsError
        MissingExportsError
        PollFailedError
        WatcherSilentError
        ArchiveError
            ArchiveCredentialsError
            BucketNotFoundError
            ArchiveAccessDeniedError
            ArchiveRefusedError
            ArchiveUnavailableError
            ExportUnderWayError
            ObjectLockError
        SigningError
        TimestampError
        FindingsError
        ConversionError
        MissingPackageError
        StoppedError
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

_SENTENCES: Final = re.compile(r"(?<=[.?]) (?=[A-Z])")


@dataclass(frozen=True)
class Asked:
    """What an error says was asked: enough to ask it again by hand, and no credential."""

    path: str
    #: A ``Window``; its module imports this one.
    window: object = None
    page: str = ""
    method: str = "GET"

    def __str__(self) -> str:
        window = f" for {self.window}" if self.window else ""
        page = f" ({self.page})" if self.page else ""
        return f"{self.method} {self.path}{window}{page}"


class CurationAuditError(Exception):
    """Any fault that this provider names."""

    retry_request: ClassVar[bool] = False
    retry_task: ClassVar[bool] = False

    def explained(self) -> list[str]:
        """Return the message in short parts for separate log lines, in the order in which a reader needs them."""
        return [said for line in str(self).splitlines() for said in _SENTENCES.split(line)]


class InvalidArgumentError(CurationAuditError, ValueError):
    """An argument or a connection's field is invalid; the message names it."""


class InvalidWindowError(InvalidArgumentError):
    """The window is invalid: a time is naive or cannot be parsed, or the end is not after the start."""


class RequestError(CurationAuditError):
    """A request did not get the answer it asked for.

    :param asked: what was asked: method, path and, for audit events, the window and the page.
    :param came_back: what came back, in words; never a credential or a whole body.
    :param status: the HTTP status, if there was an answer.
    :param server_message: the server's own message, with credentials and mail addresses taken out.
    :param retry_after: seconds that the server asked to wait, if it did.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        asked: Asked,
        came_back: str,
        *,
        status: int | None = None,
        server_message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.asked = asked
        self.came_back = came_back
        self.status = status
        self.server_message = server_message
        self.retry_after = retry_after
        said = f": {server_message!r}" if server_message else ""
        super().__init__(f"{asked}: {came_back}{said}. {self.advice}".rstrip())

    def explained(self) -> list[str]:
        """Return three parts: what was asked, what was answered, and what to do."""
        if not hasattr(self, "asked"):
            # It came from a trigger, which stores only the message.
            return super().explained()
        said = f": {self.server_message!r}" if self.server_message else ""
        return [f"Asked: {self.asked}", f"Answered: {self.came_back}{said}", f"Do: {self.advice}"]


class BadRequestError(RequestError):
    """400: the server refused a parameter."""

    advice = "The request itself is refused, so a retry cannot help; the server's message says which part to change."


class WindowTooWideError(BadRequestError):
    """400: the time range is wider than the server answers."""

    advice = "Ask for a narrower window; the server answers at most 168 hours at a time."


class RowLimitError(BadRequestError):
    """400: more rows were requested than the server returns at once; ``limit`` is the number it named, if any."""

    advice = "Ask for fewer rows per page (the connection's page_size)."
    limit: int | None = None


class UnauthorizedError(RequestError):
    """401: the server does not accept the credentials."""

    advice = (
        "Check the connection's password (an access, identity or reference token that has not expired), or its login "
        "and password; API keys are no longer accepted."
    )


class ForbiddenError(RequestError):
    """403: the server accepts the credentials, but they lack the permission."""

    advice = "Give the connection's user or token the VIEW_POLICIES permission."


class EndpointNotFoundError(RequestError):
    """404: no such route."""

    advice = (
        "Check the connection's host (the platform's URL, such as https://acme.jfrog.io); Xray 3.82 or newer is needed."
    )


class UnexpectedStatusError(RequestError):
    """The endpoint is not known to answer with this status."""

    advice = "Check that the connection's host is the JFrog platform, and what is between it and the worker."


class ThrottledError(RequestError):
    """429: too many requests."""

    retry_request = retry_task = True
    advice = "Send fewer requests at once: lower the connection's concurrency, or put its tasks into an Airflow pool."


class ServerFaultError(RequestError):
    """5xx: the server or a gateway before it failed."""

    retry_request = retry_task = True
    advice = "Try again later; if it lasts, read the server's own logs."


class ConnectionFailedError(RequestError):
    """The server could not be reached, or the connection broke before an answer."""

    retry_request = retry_task = True
    advice = "Check the connection's host, port and proxies, and that the worker's network reaches them."


class TimedOutError(ConnectionFailedError):
    """The server did not connect or answer in time."""

    advice = "Try again, or give the connection a longer timeout ([connect, read] in seconds)."


class TlsError(RequestError):
    """The server's certificate was not accepted, or the server did not accept the client's."""

    advice = "Point the connection's verify at the CA bundle of the server, or its cert at the client's certificate."


class CutAnswerError(RequestError):
    """The answer ended before it was complete."""

    retry_request = retry_task = True
    advice = "Try again; if it lasts, look for a gateway that limits the size or time of answers."


class RedirectedError(RequestError):
    """The server redirected the request to another host, and credentials are never sent there."""

    retry_request = retry_task = True
    advice = "Set the connection's host to the platform's own URL; a login page can also redirect like this."


class NotTheApiError(RequestError):
    """A 200 with a web page instead of data, such as a login or proxy page."""

    retry_request = retry_task = True
    advice = "Something between the worker and the API answered; check the connection's host, proxies and credentials."


class UnexpectedAnswerError(RequestError):
    """The answer is well-formed, but not what the endpoint is known to return."""

    retry_task = True
    advice = (
        "Nothing of it was exported. If it lasts, report it with the server's version: the format may have changed."
    )


class ContradictoryAnswerError(RequestError):
    """Two parts of one answer contradict each other, such as a count of zero beside an event."""

    retry_request = retry_task = True
    advice = "Nothing of it was used. Try again; if it lasts, report it with the server's version."


class AnswerTooLargeError(RequestError):
    """The answer exceeds one of the connection's limits on bytes, nesting or objects; the message names the extra."""

    retry_task = True
    advice = "If the server really has this much to say, raise that extra; else find out what answers in its place."


class IncompleteCsvError(RequestError):
    """The CSV lacks events of its time range, as its member's name says."""

    advice = "Ask for a narrower window."


class RowsShiftedError(RequestError):
    """Rows shifted between two pages; following the offset would lose or repeat events."""

    retry_task = True
    advice = "The events changed while they were read; read them again once they have settled."


class WorkerResourceError(CurationAuditError):
    """The worker ran out of memory or temporary disk space while it held an answer."""

    retry_task = True


class NotEntitledError(CurationAuditError):
    """The server counts no events because it is not entitled to Curation."""


class IncompleteExportError(CurationAuditError):
    """The number of events read differs from the server's count, and reading again did not help."""

    retry_task = True


class ShrinkError(CurationAuditError):
    """The export would replace an object that has more events, or that is something else."""


class ExpiredWindowError(CurationAuditError):
    """The window starts before the events that the server still has."""


class FutureWindowError(CurationAuditError):
    """The window ends too far ahead to wait for."""


class UndefinedWindowError(CurationAuditError):
    """The run has no data interval, and no start and end were given."""


class ObjectExistsError(CurationAuditError):
    """An object already exists at the key, and ``replace=False`` keeps it."""


class MissingExportsError(CurationAuditError):
    """Exports of a range are missing; the message names them."""


class PollFailedError(CurationAuditError):
    """Polling for events failed for a reason other than the server."""

    retry_task = True


class WatcherSilentError(CurationAuditError):
    """An asset's watcher has had no answer from the server for too long, or has never been seen."""

    retry_task = True


class ArchiveError(CurationAuditError):
    """A request to S3 failed; the message names the call, the bucket and the key."""


class ArchiveCredentialsError(ArchiveError):
    """There are no credentials for S3, or S3 does not accept them."""


class BucketNotFoundError(ArchiveError):
    """There is no bucket with this name."""


class ArchiveAccessDeniedError(ArchiveError):
    """The credentials lack a permission; the message names it."""


class ArchiveRefusedError(ArchiveError):
    """S3 refuses the request itself, such as one for encryption that the store does not support."""


class ArchiveUnavailableError(ArchiveError):
    """S3 cannot be reached, fails, or asks for fewer requests."""

    retry_task = True


class ExportUnderWayError(ArchiveError):
    """Another export of the same window is running, or has written to the same key meanwhile."""

    retry_task = True


class ObjectLockError(ArchiveError):
    """Object Lock was requested, but the bucket does not support it."""


class SigningError(CurationAuditError):
    """The signing key is kept elsewhere, such as in AWS KMS, and did not return a signature."""

    retry_task = True


class TimestampError(CurationAuditError):
    """A time-stamp authority did not return a stamp."""

    retry_task = True


class FindingsError(CurationAuditError):
    """A verification found that something is missing from an archive, or is not what its manifests say."""


class ConversionError(CurationAuditError):
    """An archived export could not be converted: it is not what its manifest states, or a line is not an event."""


class MissingPackageError(CurationAuditError):
    """A required package is not installed; install the extra that the message names."""


class StoppedError(CurationAuditError):
    """The task was asked to stop; what it had started was undone."""

    retry_task = True
