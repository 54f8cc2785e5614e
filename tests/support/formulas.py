"""What a spreadsheet takes for the start of a formula."""

from __future__ import annotations

#: Signs that start a formula, in full width too, and what a spreadsheet skips before one.
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
