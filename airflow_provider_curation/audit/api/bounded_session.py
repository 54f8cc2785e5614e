"""A session that also bounds the answers that the client does not read: those of ``hook.run`` and of users."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from airflow_provider_curation.audit.api.body import body_chunks
from airflow_provider_curation.audit.api.faults import OUTSIDE, fault_of_exception
from airflow_provider_curation.audit.api.redaction import Redactor
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.errors import Asked, CurationAuditError
from airflow_provider_curation.audit.limits import Limits


class BoundedSession(PlatformSession):
    """A :class:`PlatformSession` whose answers are read within limits, unless they are streamed.

    :param limits: what one answer may cost; the body has at most ``max_json_bytes``, since memory holds it.
    :param secrets: values that an error must not show.
    :param options: see :class:`PlatformSession`.
    """

    def __init__(self, limits: Limits, *, secrets: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(answer_deadline=limits.answer_deadline, **options)
        self._limits = limits
        self._redactor = Redactor(secrets)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; without ``stream=True``, read its answer whole.

        :raises AnswerTooLargeError: for a body of more bytes than the limits allow.
        :raises RequestError: its other subclasses, for a body that is cut, damaged or too slow.
        """
        stream = options.pop("stream", self.stream)
        self._redactor.add_authorization(request.headers.get("Authorization"))
        response = super().send(request, stream=True, **options)
        if not stream:
            response._content = self._read(response, options.get("timeout"))
            response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def _read(self, response: requests.Response, timeout: Any) -> bytes:
        asked = Asked(urlsplit(response.url).path, method=response.request.method or "")
        if response.request.method == "HEAD":
            return b""
        try:
            return b"".join(body_chunks(asked, response, self._limits, self._redactor, "max_json_bytes"))
        except CurationAuditError as error:
            fault = error
        except OUTSIDE as error:
            given = timeout if isinstance(timeout, tuple) else (timeout, timeout)
            fault = fault_of_exception(asked, error, given, self._limits)
        response.close()
        # Raised here, the error has no context, whose texts hold addresses and headers.
        raise fault
