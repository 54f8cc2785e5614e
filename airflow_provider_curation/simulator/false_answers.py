"""Answers that look healthy but are wrong: faults that only a client that checks everything notices."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, Final

from airflow_provider_curation.simulator.answers import zipped
from airflow_provider_curation.simulator.faults import Fault

_NOT_UTF8: Final = b"\xff"


def false_json(body: bytes, fault: Fault) -> bytes:
    """Return a JSON answer as the fault falsifies it; an answer with nothing to falsify stays as it is."""
    if fault is Fault.INVALID_UTF8:
        return _with_bad_byte(body)
    envelope = json.loads(body)
    _falsify_envelope(envelope, fault)
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def false_csv(archive: bytes, fault: Fault) -> bytes:
    """Return a zip with one CSV as the fault falsifies it."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        [member] = file.namelist()
        content = file.read(member)
    if fault is Fault.INVALID_UTF8:
        content = _with_bad_byte(content)
    else:
        header, *records = _records(content)
        _falsify_rows(records, fault)
        content = b"".join((header, *records))
    return zipped(member, [content])


def _falsify_envelope(envelope: dict[str, Any], fault: Fault) -> None:
    meta = envelope["meta"]
    if fault is Fault.EMPTY_PAGE:
        envelope["data"] = None
        meta |= {"result_count": 0, "next_offset": None}
    elif fault in (Fault.ZERO_TOTAL, Fault.WRONG_TOTAL):
        if "total_count" in meta:
            meta["total_count"] = 0 if fault is Fault.ZERO_TOTAL else meta["total_count"] + 1
    else:
        _falsify_rows(envelope["data"] or [], fault)


def _falsify_rows(rows: list[Any], fault: Fault) -> None:
    """Change the rows of a page or of a CSV, which has no total."""
    middle = len(rows) // 2
    if fault is Fault.EMPTY_PAGE:
        rows.clear()
    elif rows and fault is Fault.DOUBLED_ROW:
        rows.insert(middle, rows[middle])
    elif rows and fault is Fault.LOST_ROW:
        del rows[middle]


def _records(content: bytes) -> list[bytes]:
    """Split a CSV into records with their line breaks; a record may contain line breaks between quotes."""
    records = []
    held = b""
    for line in io.BytesIO(content):
        held += line
        if held.count(b'"') % 2 == 0:
            records.append(held)
            held = b""
    return [*records, held] if held else records


def _with_bad_byte(content: bytes) -> bytes:
    """Put a byte that is not UTF-8 before the last at sign, in a text that no client needs to understand."""
    place = content.rfind(b"@")
    return content if place < 0 else content[:place] + _NOT_UTF8 + content[place:]
