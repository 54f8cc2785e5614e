"""Reads the archive's JSON files so strictly that every other JSON parser reads the same.

Parsers differ in which of two members with the same name they keep, and in how they read numbers outside 64 bits. An
auditor's tool could then read something other than what was verified, so such a file is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

#: Levels of objects and arrays; manifests and seals have four.
MOST_LEVELS: Final = 16
_LARGEST_INTEGER: Final = 2**63 - 1
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(rb"[^\[\]{}]+")


class StrictJsonError(ValueError):
    """A file that is not one JSON object, or that parsers could read differently."""


def read_object(body: bytes, most_bytes: int) -> dict[str, Any]:
    """Read a file that contains one JSON object in UTF-8.

    :raises StrictJsonError: if it has more than ``most_bytes`` bytes, is not UTF-8, has two members of the same name, a
        number that is not finite or not within 64 bits, half a surrogate pair, or too many levels.
    """
    if len(body) > most_bytes:
        raise StrictJsonError(f"it has {len(body):,} bytes, more than the {most_bytes:,} that such a file may have")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"it is not UTF-8 (byte {error.start})") from None
    # Checked before parsing, since deep nesting can exhaust a parser's stack.
    if _levels(body) > MOST_LEVELS:
        raise StrictJsonError(f"it has more than {MOST_LEVELS} levels of objects and arrays")
    try:
        read = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_refuse,
        )
    except StrictJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictJsonError(f"it is not JSON ({error})") from None
    if not isinstance(read, dict):
        raise StrictJsonError("its JSON is not an object")
    # UTF-8 has no surrogates; only an escape can produce one.
    if b"\\u" in body:
        _check_texts(read)
    return read


def _levels(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _NOT_BRACKETS.sub(b"", _STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise StrictJsonError(f"it has two members named {name[:100]!r}")
        made[name] = value
    return made


def _integer(text: str) -> int:
    # The length first, because Python raises an error of its own for very long numbers.
    if len(text) > 20 or abs(int(text)) > _LARGEST_INTEGER:
        raise StrictJsonError(f"it has a number outside 64 bits ({text[:20]})")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJsonError(f"it has a number that is not finite ({text[:20]})")
    return number


def _refuse(text: str) -> Any:
    raise StrictJsonError(f"it has a number that is not finite ({text})")


def _check_texts(read: Any) -> None:
    if isinstance(read, str):
        try:
            read.encode("utf-8")
        except UnicodeEncodeError:
            raise StrictJsonError("it has half a surrogate pair, which is not a character") from None
    elif isinstance(read, dict):
        for name, value in read.items():
            _check_texts(name)
            _check_texts(value)
    elif isinstance(read, list):
        for value in read:
            _check_texts(value)
