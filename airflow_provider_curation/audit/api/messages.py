"""Finds the message for people in a server's answer: in error bodies of either shape, and in HTML pages.

The result may still contain secrets: see :mod:`..redaction`.
"""

from __future__ import annotations

import msgspec

#: Bytes of a body that are searched for its kind and for a page's title.
_HEAD_BYTES = 8 * 1024
#: Bytes of the largest body that is decoded for its message; error bodies are much smaller.
_MESSAGE_BYTES = 256 * 1024


def looks_like_html(body: bytes) -> bool:
    return body[:_HEAD_BYTES].lstrip()[:1] == b"<"


def server_message(body: bytes, *, verbatim: bool = True) -> str | None:
    """Return the message of an error body in either of its shapes, or the title of an HTML page.

    :param verbatim: if there is no message, return the beginning of the body; with status 200, it may be events.
    """
    if looks_like_html(body):
        return _title(body[:_HEAD_BYTES])
    beginning = " ".join(body[:_MESSAGE_BYTES].decode(errors="replace").split()) or None if verbatim else None
    if len(body) > _MESSAGE_BYTES:
        return beginning
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return beginning
    if not isinstance(decoded, dict):
        return None
    if isinstance(decoded.get("error"), str):
        return str(decoded["error"])
    errors = decoded.get("errors")
    if isinstance(errors, list):
        said = [each.get("message") for each in errors if isinstance(each, dict)]
        return "; ".join(str(message) for message in said if message) or None
    return None


def _title(head: bytes) -> str | None:
    """Return the title of a page; the few searches take linear time."""
    lower = head.lower()
    opening = lower.find(b"<title")
    start = lower.find(b">", opening)
    end = lower.find(b"</title", start)
    if -1 in (opening, start, end):
        return None
    return " ".join(head[start + 1 : end].decode(errors="replace").split()) or None
