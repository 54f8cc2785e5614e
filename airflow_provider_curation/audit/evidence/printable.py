"""Makes stored text safe to show: it cannot move a cursor, clear a screen or forge a log line."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: How many characters of one stored text are shown.
_MOST: Final = 1000
#: Categories of characters that control the display or are invisible: controls, formats (such as right-to-left marks),
#: halves of surrogate pairs, line and paragraph separators. Unassigned ones may do anything on a newer terminal.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NOT_ASCII_PRINTABLE: Final = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    r"""Return a stored text as one line without control characters, each shown as an escape such as ``\x1b``.

    Only the beginning of a very long text is returned.
    """
    shown = _NOT_ASCII_PRINTABLE.sub(_escaped, text[:_MOST])
    return shown if len(text) <= _MOST else f"{shown}… ({len(text):,} characters)"


def _escaped(found: re.Match[str]) -> str:
    character = found.group()
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape").decode("ascii")
