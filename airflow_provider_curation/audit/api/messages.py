"""What a server's answer says to people: error bodies in either shape, and pages of HTML."""

from __future__ import annotations

import re

import msgspec


def looks_like_html(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def server_message(body: bytes, *, verbatim: bool = True) -> str | None:
    """Return the message of an error body in either of its shapes, or the title of an HTML page.

    :param verbatim: else the beginning of the body itself, which in an answer with status 200 may be events.
    """
    if looks_like_html(body):
        title = re.search(rb"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
        return " ".join(title.group(1).decode(errors="replace").split())[:200] if title else None
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return " ".join(body[:200].decode(errors="replace").split()) or None if verbatim else None
    if not isinstance(decoded, dict):
        return None
    if isinstance(decoded.get("error"), str):
        return str(decoded["error"])
    errors = decoded.get("errors")
    if isinstance(errors, list):
        said = [each.get("message") for each in errors if isinstance(each, dict)]
        return "; ".join(str(message) for message in said if message) or None
    return None
