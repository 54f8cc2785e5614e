"""What a server's answer says to people: error bodies in either shape, and pages of HTML.

The result is not clean yet: see :mod:`..redaction`.
"""

from __future__ import annotations

import msgspec

#: Bytes of a body in which its kind and a page's title are looked for.
_HEAD_BYTES = 8 * 1024
#: Bytes of the largest body that is decoded for its message: what says no more than a sentence is small.
_MESSAGE_BYTES = 256 * 1024


def looks_like_html(body: bytes) -> bool:
    return body[:_HEAD_BYTES].lstrip()[:1] == b"<"


def server_message(body: bytes, *, verbatim: bool = True) -> str | None:
    """Return the message of an error body in either of its shapes, or the title of an HTML page.

    :param verbatim: else the beginning of the body itself, which in an answer with status 200 may be events.
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
    """Return the title of a page: four searches, so the time is linear."""
    lower = head.lower()
    opening = lower.find(b"<title")
    start = lower.find(b">", opening)
    end = lower.find(b"</title", start)
    if -1 in (opening, start, end):
        return None
    return " ".join(head[start + 1 : end].decode(errors="replace").split()) or None
