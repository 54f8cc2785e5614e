"""Makes CSV cells safe in a spreadsheet, which would run a stranger's text as a formula."""

from __future__ import annotations

import re

# The start of a cell, or of what a spreadsheet reads as one if it splits at semicolons or tabs and ignores our quotes;
# followed by a formula, perhaps behind spaces, quotes or invisible characters.
_FORMULA = re.compile(
    "(^|[;\t\r\n])"
    r"(?=(?:(?![\t\r\n])[\s\"\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff])*"
    "[-=+@\uff1d\uff0b\uff0d\uff20])"
)


def neutral(text: str) -> str:
    """Return a cell's text with a ``'`` before everything that a spreadsheet could read as a formula.

    That is a formula's sign at the start of the cell, or after a semicolon, tab or line break inside it, even behind
    spaces, quotes or invisible characters; and a tab or line break at the start.
    """
    safe = _FORMULA.sub(r"\1'", text)
    return "'" + safe if safe.startswith(("\t", "\r", "\n")) else safe
