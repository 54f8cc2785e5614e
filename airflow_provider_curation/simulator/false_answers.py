"""Answers that look healthy and are not: the faults that only a client that checks everything notices."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, Final

from airflow_provider_curation.simulator.faults import Fault

_ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_NOT_UTF8: Final = b"\xff"


def false_json(body: bytes, fault: Fault) -> bytes:
    """Return a JSON answer as the fault falsifies it; an answer that has nothing to falsify stays as it is."""
    if fault is Fault.INVALID_UTF8:
        return _with_bad_byte(body)
    envelope = json.loads(body)
    _JSON[fault](envelope)
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def false_csv(archive: bytes, fault: Fault) -> bytes:
    """Return a zip with one CSV as the fault falsifies it."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        [member] = file.namelist()
        content = file.read(member)
    if fault is Fault.INVALID_UTF8:
        content = _with_bad_byte(content)
    else:
        records = _records(content)
        _CSV[fault](records)
        content = b"".join(records)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(member, _ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _empty(envelope: dict[str, Any]) -> None:
    envelope["data"] = None
    envelope["meta"] |= {"result_count": 0, "next_offset": None}


def _total(change: Callable[[int], int]) -> Callable[[dict[str, Any]], None]:
    def apply(envelope: dict[str, Any]) -> None:
        if "total_count" in envelope["meta"]:
            envelope["meta"]["total_count"] = change(envelope["meta"]["total_count"])

    return apply


def _double(rows: list[Any] | None) -> None:
    if rows:
        rows.insert(len(rows) // 2, rows[len(rows) // 2])


def _drop(rows: list[Any] | None) -> None:
    if rows:
        del rows[len(rows) // 2]


_JSON: Final[dict[Fault, Callable[[dict[str, Any]], None]]] = {
    Fault.EMPTY_PAGE: _empty,
    Fault.ZERO_TOTAL: _total(lambda total: 0),
    Fault.WRONG_TOTAL: _total(lambda total: total + 1),
    Fault.DOUBLED_ROW: lambda envelope: _double(envelope["data"]),
    Fault.LOST_ROW: lambda envelope: _drop(envelope["data"]),
}


def _keep_header(records: list[bytes]) -> None:
    del records[1:]


def _of_rows(change: Callable[[list[Any]], None]) -> Callable[[list[bytes]], None]:
    def apply(records: list[bytes]) -> None:
        rows = records[1:]
        change(rows)
        records[1:] = rows

    return apply


#: A CSV answer has no total.
_CSV: Final[dict[Fault, Callable[[list[bytes]], None]]] = {
    Fault.EMPTY_PAGE: _keep_header,
    Fault.ZERO_TOTAL: lambda records: None,
    Fault.WRONG_TOTAL: lambda records: None,
    Fault.DOUBLED_ROW: _of_rows(_double),
    Fault.LOST_ROW: _of_rows(_drop),
}


def _records(content: bytes) -> list[bytes]:
    """Cut a CSV into records with their line breaks; a record may hold line breaks between quotes."""
    records = []
    held = b""
    for line in io.BytesIO(content):
        held += line
        if held.count(b'"') % 2 == 0:
            records.append(held)
            held = b""
    return [*records, held] if held else records


def _with_bad_byte(content: bytes) -> bytes:
    """Put a byte that is not UTF-8 before the last at sign, which no client needs to understand."""
    place = content.rfind(b"@")
    return content if place < 0 else content[:place] + _NOT_UTF8 + content[place:]
