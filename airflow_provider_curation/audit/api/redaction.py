"""Removes secrets from a server's words before they reach a log or an exception; every path uses it.

A server may repeat what it was sent, in a different form: percent-encoded in a ``Location``, escaped in JSON or HTML,
as Base64 or hexadecimal digits, or in lower case. A text is therefore decoded character by character, keeping the
position of each decoded byte, and the result is searched for the known forms of each secret.
"""

from __future__ import annotations

import html
import json
import logging
import re
import weakref
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
#: Characters of a text that may be shown; more are searched, so that a secret across this limit is found whole.
SHOWN_CHARACTERS = 8192
_MESSAGE_CHARACTERS = 300
_LOG_CHARACTERS = 2000
_MAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40|\\u0040|&#64;|&commat;)[\w-]{1,64}(?:\.[\w-]{1,64})*", re.IGNORECASE)
_ESCAPE = re.compile(
    r"%(?:25)*(?P<percent>[0-9a-f]{2})"
    r"|\\+u(?P<unicode>[0-9a-f]{4})"
    r"|\\+x(?P<byte>[0-9a-f]{2})"
    r"|\\+(?P<escaped>.)"
    r"|&(?:amp;)*(?P<entity>\#x[0-9a-f]{1,6}|\#[0-9]{1,7}|[a-z]{2,8});"
    r"|(?P<space>\s+)",
    re.IGNORECASE | re.DOTALL,
)
_SPACE = re.compile(r"(?P<space>\s+)")
#: The most characters that an escaped character takes: four bytes of UTF-8 as ``%xx``.
_LONGEST_ESCAPE = 12
#: The Base64 of a secret inside other text is shifted; shorter pieces of it would match ordinary words.
_SHORTEST_SHIFTED = 6
_LIBRARIES = ("urllib3.connection", "urllib3.connectionpool", "urllib3.poolmanager", "urllib3.response")


class Redactor:
    """Removes secrets, mail addresses and control characters from a server's texts.

    :param secrets: the values to remove, in each of their usual encodings.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, None] = {}
        self._forms: tuple[bytes, ...] = ()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Also remove this value from now on."""
        if secret.strip() and secret not in self._secrets:
            self._secrets[secret] = None
            found = {form for form in _forms(secret) if form}
            self._forms = tuple(sorted({*self._forms, *found}, key=len, reverse=True))

    def add_authorization(self, value: str | bytes | None) -> None:
        """Also remove the credentials of an ``Authorization`` header, wherever they came from."""
        if not value:
            return
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        scheme, _, credentials = text.partition(" ")
        if not credentials or credentials in self._secrets:
            return
        self.add(credentials)
        if scheme.lower() == "basic":
            try:
                login_and_password = b64decode(credentials).decode(errors="replace")
            except ValueError:
                return
            self.add(login_and_password)
            self.add(login_and_password.partition(":")[2])

    @property
    def reach(self) -> int:
        """How many characters beyond those shown must be searched to find a secret at the limit."""
        return _LONGEST_ESCAPE * max(map(len, self._secrets), default=0)

    def clean(self, text: str | None, limit: int = _MESSAGE_CHARACTERS) -> str | None:
        """Return the text as it may be shown: on one line of at most ``limit`` characters; ``None`` if it is empty."""
        if not text:
            return None
        return self._without(text)[:limit].strip() or None

    def quoted(self, text: str | None) -> str:
        """Return the repr of a text, cleaned."""
        return repr(self.clean(text) or "")

    def _without(self, text: str) -> str:
        text = text[: SHOWN_CHARACTERS + self.reach]
        kept, end = [], 0
        for start, stop in self._spans(text):
            if start >= SHOWN_CHARACTERS:
                break
            kept += [text[end:start], MASK]
            end = stop
        kept.append(text[end:SHOWN_CHARACTERS])
        shown = " ".join("".join(kept).split())
        printable = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)
        return _MAIL.sub(MASK, printable)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the positions of secrets in ascending order, without overlaps."""
        spans = []
        for pattern in (_ESCAPE, _SPACE) if self._forms else ():
            content, starts, ends = _decoded(text, pattern)
            for form in self._forms:
                place = content.find(form)
                while place >= 0:
                    spans.append((starts[place], ends[place + len(form) - 1]))
                    place = content.find(form, place + 1)
        reached = 0
        for start, end in sorted(spans):
            if end > reached:
                yield max(start, reached), end
                reached = end


def _decoded(text: str, pattern: re.Pattern[str]) -> tuple[bytes, list[int], list[int]]:
    """Return a text's bytes in lower case, with escapes decoded, and the positions where each byte starts and ends."""
    content = bytearray()
    starts: list[int] = []
    ends: list[int] = []

    def put(decoded: bytes, start: int, end: int) -> None:
        content.extend(decoded)
        starts.extend([start] * len(decoded))
        ends.extend([end] * len(decoded))

    place = 0
    for match in pattern.finditer(text):
        for index in range(place, match.start()):
            put(_lower(text[index]), index, index + 1)
        put(_unescaped(match), match.start(), match.end())
        place = match.end()
    for index in range(place, len(text)):
        put(_lower(text[index]), index, index + 1)
    return bytes(content), starts, ends


def _unescaped(match: re.Match[str]) -> bytes:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "space":
        return b" "
    if kind in ("percent", "byte"):
        return bytes([int(value, 16)]).lower()
    if kind == "unicode":
        return _lower(chr(int(value, 16)))
    if kind == "entity":
        return b"".join(map(_lower, html.unescape(f"&{value};")))
    return _lower(value)


def _lower(character: str) -> bytes:
    return character.casefold().encode("utf-8", "surrogatepass")


def _forms(secret: str) -> Iterator[bytes]:
    """Yield each usual encoding of a secret, with its escapes decoded and undecoded."""
    for text in _encodings(secret):
        for each in (text, text.strip()):
            yield _decoded(each, _ESCAPE)[0]
            yield _decoded(each, _SPACE)[0]


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="", errors="surrogatepass")
    yield quote_plus(secret, errors="surrogatepass")
    yield secret.replace(" ", "+")
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    data = secret.strip().encode("utf-8", "surrogatepass")
    yield repr(data)[2:-1]
    # UTF-8 read as Latin-1, as http.client reads headers, and Latin-1 read as UTF-8.
    yield data.decode("latin-1")
    yield secret.encode("latin-1", "replace").decode("utf-8", "replace")
    yield secret.encode("ascii", "replace").decode()
    for each in {data, secret.strip().encode("latin-1", "replace")}:
        yield each.hex()
        for encode in (b64encode, urlsafe_b64encode):
            for shift in range(3):
                # The characters at both ends also depend on the bytes around the secret.
                encoded = encode(bytes(shift) + each).decode()
                piece = encoded[(0, 2, 3)[shift] : (shift + len(each)) * 8 // 6]
                if shift == 0 or len(piece) >= _SHORTEST_SHIFTED:
                    yield piece


_known: weakref.WeakSet[Redactor] = weakref.WeakSet()


class _LibraryLogs(logging.Filter):
    """Cleans urllib3's log lines, which quote the server about redirects and unreadable headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            message += f" ({record.exc_info[0].__name__})"
        for redactor in tuple(_known):
            message = redactor.clean(message, _LOG_CHARACTERS) or ""
        record.msg, record.args, record.exc_info, record.exc_text = message, (), None, None
        return True


_library_logs = _LibraryLogs()


def clean_library_logs(redactor: Redactor) -> None:
    """Clean the log lines of urllib3 for as long as the redactor lives."""
    _known.add(redactor)
    for name in _LIBRARIES:
        # A logger's filter sees only what is logged on that logger itself. Adding it twice has no effect.
        logging.getLogger(name).addFilter(_library_logs)
