"""Asks the server about itself: whether it is entitled to Curation, and its version."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.faults import fault_of_web_page
from airflow_provider_curation.audit.api.messages import looks_like_html
from airflow_provider_curation.audit.endpoint import ENTITLEMENT_PATH, VERSION_PATH
from airflow_provider_curation.audit.errors import Asked

#: These answers are one short line; decoding a large one could take many times its size in memory.
_MOST_BYTES = 64 * 1024
_VERSION_CHARACTERS = 40

log = logging.getLogger(__name__)


def is_entitled(client: AuditClient) -> bool | None:
    """Return whether the server is entitled to Curation; ``None`` if it does not say."""
    try:
        answer = _read_object(client, ENTITLEMENT_PATH)
    except errors.RequestError as error:
        log.warning("The server does not say whether it is entitled to Curation: %s", error)
        return None
    entitled = answer.get("entitled")
    return entitled if isinstance(entitled, bool) else None


def server_version(client: AuditClient) -> str | None:
    """Return the server's ``xray_version``; ``None`` if it does not say."""
    try:
        version = _read_object(client, VERSION_PATH).get("xray_version")
    except errors.RequestError:
        return None
    return version[:_VERSION_CHARACTERS] if isinstance(version, str) and version else None


def _read_object(client: AuditClient, path: str) -> dict[str, Any]:
    asked = Asked(path)
    return client.read_path(asked, partial(_object, asked))


def _object(asked: Asked, body: bytes) -> dict[str, Any]:
    if looks_like_html(body):
        raise fault_of_web_page(asked, body)
    if len(body) > _MOST_BYTES:
        raise errors.UnexpectedAnswerError(asked, f"{len(body)} bytes, where {_MOST_BYTES} would already be too many")
    try:
        answer = json.loads(body)
    except RecursionError:
        raise errors.UnexpectedAnswerError(asked, "JSON that is nested too deeply") from None
    except ValueError:
        raise errors.CutAnswerError(asked, f"a body of {len(body)} bytes that is not complete JSON") from None
    if not isinstance(answer, dict):
        raise errors.UnexpectedAnswerError(asked, "JSON that is not an object")
    return answer
