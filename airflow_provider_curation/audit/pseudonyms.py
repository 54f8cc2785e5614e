"""Replaces personal data in events with pseudonyms; everything around the values stays the server's own bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from airflow_provider_curation.audit.endpoint import PERSONAL_FIELDS
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.secret_key import SecretKey

TOKEN_PREFIX: Final = "p-"
_TOKEN_DIGITS: Final = 32
_CACHED: Final = 4096

# A string, and the colon after it if it is a member's name.
_STRING = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")([ \t]*:[ \t]*)?', re.DOTALL)


class Pseudonymizer:
    """Replaces values with tokens: the same value always has the same token, which leads nowhere without the key.

    :param fields: which of ``username`` and ``user_mail``.
    :raises InvalidArgumentError: for another field.
    """

    def __init__(self, fields: Sequence[str], key: SecretKey) -> None:
        self.fields = check_fields(fields)
        self.key = key
        self.token = lru_cache(maxsize=_CACHED)(self._token)
        names = b"|".join(name.encode() for name in self.fields)
        self._plain = re.compile(rb'"(?:' + names + rb')"[ \t]*:[ \t]*("[^"]*"|null)?')

    def _token(self, value: str) -> str:
        return TOKEN_PREFIX + self.key.hmac(value.encode("utf-8", "surrogatepass"))[:_TOKEN_DIGITS]

    def event(self, raw: bytes) -> bytes:
        """Return an event's JSON with the values of all members with these names replaced; empty ones stay empty."""
        spans = self._spans(raw) if b"\\" in raw else self._plain_spans(raw)
        pieces: list[bytes] = []
        done = 0
        for start, end, value in spans:
            pieces += raw[done:start], json.dumps(self.token(value)).encode()
            done = end
        return b"".join((*pieces, raw[done:])) if pieces else raw

    def _plain_spans(self, raw: bytes) -> Iterator[tuple[int, int, str]]:
        """Yield the values' places if nothing is escaped, so that names between quotes can be found as they are."""
        found = list(self._plain.finditer(raw))
        if any(match[1] is None for match in found):
            yield from self._spans(raw)
            return
        for match in found:
            if match[1] not in (b"null", b'""'):
                yield *match.span(1), match[1][1:-1].decode()

    def _spans(self, raw: bytes) -> Iterator[tuple[int, int, str]]:
        """Yield the values' places, string by string."""
        done = 0
        for match in _STRING.finditer(raw):
            if match[2] is None or match.start() < done or json.loads(match[1]) not in self.fields:
                continue
            value, done = _value_at(raw, match.end())
            if value not in (None, ""):
                yield match.end(), done, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def check_fields(fields: Sequence[str] | str) -> tuple[str, ...]:
    """Return the fields to pseudonymize, in the order of the endpoint's own list.

    :raises InvalidArgumentError: for a plain string, an empty list, or a field that is not personal data.
    """
    known = ", ".join(PERSONAL_FIELDS)
    if isinstance(fields, str) or not fields:
        raise InvalidArgumentError(f"pseudonymize={fields!r} is not a list of fields; give some of {known}.")
    if unknown := [name for name in fields if name not in PERSONAL_FIELDS]:
        raise InvalidArgumentError(f"pseudonymize={list(fields)!r}: {unknown[0]!r} is none of {known}.")
    return tuple(name for name in PERSONAL_FIELDS if name in fields)


def _value_at(raw: bytes, place: int) -> tuple[Any, int]:
    text = raw[place:].decode()
    value, end = json.JSONDecoder().raw_decode(text)
    return value, place + len(text[:end].encode())
