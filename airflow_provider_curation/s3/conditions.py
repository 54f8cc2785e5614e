"""Conditional requests: write or delete only if S3 still holds what was seen there, where the store supports it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from airflow_provider_curation.audit.errors import ExportUnderWayError
from airflow_provider_curation.s3.codes import NOT_FOUND, error_code

log = logging.getLogger(__name__)

#: The condition is not met: something else has written to the key. If the object to match is gone, S3 answers 404.
UNMET: Final = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_UNSUPPORTED: Final = ("NotImplemented", "501")
#: The end of an error's message.
NEXT_TRY: Final = "Nothing of this export was kept; the next try exports the window again."


class Conditions:
    """Sends requests with a condition until the store says that it does not support them.

    A store that ignores conditions is not noticed this way; :doc:`guarantees` names those that are known.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._without: set[str] = set()

    def send(self, call: Callable[..., Any], operation: str, condition: dict[str, str], **arguments: Any) -> Any:
        """Send a request under a condition.

        :param operation: the name of the call, such as ``PutObject``.
        :param condition: ``{"IfNoneMatch": "*"}`` or ``{"IfMatch": etag}``.
        :raises botocore.exceptions.ClientError: with a code in :data:`UNMET` if the condition is not met.
        """
        from botocore.exceptions import ClientError

        if operation in self._without:
            return call(**arguments)
        try:
            return call(**arguments, **condition)
        except ClientError as error:
            if error_code(error) not in _UNSUPPORTED:
                raise
        result = call(**arguments)
        self._without.add(operation)
        log.warning(
            "The store behind %s does not support conditional %s requests. They are sent without conditions from now. "
            "Do not run two exports of one window at the same time.",
            self._uri,
            operation,
        )
        return result

    def distrust(self, operation: str) -> None:
        """Send no more conditions with an operation: the store refuses conditions that are met."""
        self._without.add(operation)
        log.warning(
            "The store behind %s refuses a conditional %s although its condition is met, as Ceph's gateway does in a "
            "bucket with versions. From now on it is sent without conditions.",
            self._uri,
            operation,
        )


def if_unchanged(etag: str | None) -> dict[str, str]:
    """Return the condition that a key still holds what was seen: an ETag without quotes, or nothing (``None``)."""
    # Ceph compares the header with an ETag without quotes; S3 accepts both forms.
    return {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}


def etag_of(answer: dict[str, Any]) -> str | None:
    """Return an answer's ETag without quotes; ``None`` without one, as some stores complete uploads."""
    return str(answer.get("ETag") or "").strip('"') or None


@contextmanager
def naming_conflicts(uri: str) -> Iterator[None]:
    """Name a condition that is not met, or an upload that somebody else has aborted.

    :param uri: of the export's object.
    :raises ExportUnderWayError: for either.
    """
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error_code(error) not in (*UNMET, *NOT_FOUND):
            raise
        raise ExportUnderWayError(
            f"{uri} was written by something else while this export ran ({error.operation_name}: "
            f"{error_code(error)}). {NEXT_TRY}"
        ) from error
