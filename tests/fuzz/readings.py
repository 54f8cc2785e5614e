"""What an answer says, read by the standard library alone and as strictly as it can be; ``None`` if it says nothing."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable
from typing import Any


def envelope_of(body: bytes) -> dict[str, Any] | None:
    """Read a JSON answer; of a member that is there twice, the last one counts."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def rows_of_json(body: bytes) -> Counter[str] | None:
    """Return the rows of a page in a form that can be counted."""
    envelope = envelope_of(body)
    if envelope is None or "data" not in envelope:
        return None
    rows = [] if envelope["data"] is None else envelope["data"]
    return counted(rows) if isinstance(rows, list) else None


def rows_of_zip(archive: bytes) -> Counter[str] | None:
    """Return the rows of a CSV answer."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            [name] = file.namelist()
            return rows_of_csv(file.read(name))
    except Exception:
        # Whatever the library says: it is not an archive that can be read.
        return None


def rows_of_csv(content: bytes) -> Counter[str]:
    """Return the rows of a CSV, each with its columns' names."""
    return counted(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def counted(rows: Iterable[Any]) -> Counter[str]:
    return Counter(json.dumps(_keyed(row), sort_keys=True) for row in rows)


def _keyed(row: Any) -> Any:
    # A row with more cells than the header has columns keeps them under None.
    return {str(name): value for name, value in row.items()} if isinstance(row, dict) else row
