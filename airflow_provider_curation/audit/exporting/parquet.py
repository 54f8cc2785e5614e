"""JSON lines in, a Parquet file out: typed columns for every field that the API is known to have, and one for the rest.

The schema never differs between days, servers or windows:

- ``id`` is int64 and ``created_at`` a timestamp in UTC with microseconds; an event whose id does not fit is an error.
- ``policies`` is a list of structs; every other known field is a string.
- ``other`` is a JSON object of whatever has no column: unknown fields, and values of another kind than their column's,
  which is null then. A policy has an ``other`` of its own. What is there is the server's own bytes, so nothing is lost
  but white space, the order of fields, and whether a field was null or absent.

Row groups are sorted by id, compressed with zstd, and carry statistics and a page index, so that a filter on id, time
or action skips most of a file. The same lines give the same bytes with the same version of pyarrow.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import Asked, MissingPackageError, UnexpectedAnswerError

if TYPE_CHECKING:
    import pyarrow

#: Events a row group: enough for dictionaries and statistics to pay, few enough for memory to stay flat.
ROW_GROUP_EVENTS: Final = 16_384
#: Events that are made into columns at a time.
_BATCH_EVENTS: Final = 1_024
_ZSTD_LEVEL: Final = 3

#: Text columns, in the order in which a live server gives its fields; newer servers' fields follow.
TEXT_FIELDS: Final = (
    "action",
    "package_type",
    "package_name",
    "package_version",
    "package_url",
    "reason",
    "event_origin",
    "curated_repository_server_name",
    "curated_repository_name",
    "curated_project",
    "username",
    "user_mail",
    "origin_repository_server_name",
    "origin_repository_name",
    "origin_project",
    "public_repo_url",
    "public_repo_name",
    "ecosystem",
)
POLICY_TEXT_FIELDS: Final = ("policy_name", "condition_name", "condition_category", "result", "policy_reason")
_INT64: Final = range(-(2**63), 2**63)
#: Bytes of a time as servers write it, with its quotes: to the second, in UTC, with Z.
_PLAIN_TIME: Final = len(b'"2026-03-09T14:51:03Z"')


_FINER_DIGITS: Final = re.compile(rb"(\.\d{6})\d+")
_TEXT: Final = frozenset(TEXT_FIELDS)
_KNOWN: Final = _TEXT | {"id", "created_at", "ondemand", "policies"}
_POLICY_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(POLICY_TEXT_FIELDS, str),
    "policy_id": int,
    "dry_run": bool,
}

_Fields = dict[str, msgspec.Raw]
_decode_raw = msgspec.json.Decoder(_Fields).decode
_decode_policies = msgspec.json.Decoder(list[_Fields]).decode


def schema() -> pyarrow.Schema:
    """Return the columns of every file.

    :raises MissingPackageError: without the extra ``parquet``.
    """
    pa = _pyarrow()
    policy = [
        pa.field("policy_id", pa.int64()),
        *(pa.field(name, pa.string()) for name in POLICY_TEXT_FIELDS),
        pa.field("dry_run", pa.bool_()),
        pa.field("other", pa.string()),
    ]
    return pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
            *(pa.field(name, pa.string()) for name in TEXT_FIELDS),
            pa.field("ondemand", pa.bool_()),
            pa.field("policies", pa.list_(pa.struct(policy))),
            pa.field("other", pa.string()),
        ]
    )


def writer_name() -> str:
    """Return the library and its version, which the bytes of a file depend on."""
    return f"pyarrow {_pyarrow().__version__}"


def encode(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the bytes of JSON lines into those of a Parquet file, a row group at a time.

    :raises MissingPackageError: without the extra ``parquet``.
    :raises UnexpectedAnswerError: for a line that is not an event, or whose id or time does not fit its column; it
        names the line, counted from 1.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    columns = schema()
    outlet = _Outlet()
    sorted_by = [pq.SortingColumn(0)]
    pool = pa.system_memory_pool()
    with pq.ParquetWriter(
        outlet,
        columns,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_statistics=True,
        write_page_index=True,
        sorting_columns=sorted_by,
        store_schema=False,
        memory_pool=pool,
    ) as writer:
        waiting: list[pyarrow.RecordBatch] = []
        events = 0
        seen = 0
        for lines in _batches(chunks):
            try:
                waiting.append(batch(lines))
            except (msgspec.MsgspecError, UnexpectedAnswerError):
                raise _bad_line(lines, seen) from None
            seen += len(lines)
            events += len(lines)
            if events >= ROW_GROUP_EVENTS:
                writer.write_table(_sorted(pa.Table.from_batches(waiting, columns)), row_group_size=events)
                waiting, events = [], 0
                pool.release_unused()
                if packed := outlet.taken():
                    yield packed
        if waiting:
            writer.write_table(_sorted(pa.Table.from_batches(waiting, columns)), row_group_size=events)
    yield outlet.taken()


def _bad_line(lines: Sequence[bytes], before: int) -> UnexpectedAnswerError:
    """Return the error for the first line of a batch that cannot be made into a row."""
    for number, line in enumerate(lines, before + 1):
        try:
            row(line)
        except UnexpectedAnswerError as error:
            return UnexpectedAnswerError(error.asked, f"line {number:,}: {error.came_back}")
        except (msgspec.MsgspecError, RecursionError):
            return UnexpectedAnswerError(Asked(AUDIT_PATH), f"line {number:,}: not an event")
    return UnexpectedAnswerError(Asked(AUDIT_PATH), f"lines from {before + 1:,} on that are not events")


def batch(lines: Sequence[bytes]) -> pyarrow.RecordBatch:
    """Return events as columns, from their lines of JSON.

    :raises UnexpectedAnswerError: for an event whose id or time does not fit its column.
    """
    others = [_surprises(line) for line in lines]
    if None not in others:
        try:
            return _columns(lines, others)
        except _pyarrow().ArrowInvalid:
            # Some value is not of its column's kind.
            pass
    rows = [row(line) for line in lines]
    return _columns([msgspec.json.encode(each) for each in rows], [each["other"] for each in rows])


def _columns(lines: Sequence[bytes], others: Sequence[str | None]) -> pyarrow.RecordBatch:
    """Return events as columns; known fields must be of their columns' kinds.

    :param others: the column ``other``; an empty text is null.
    """
    columns = schema()
    place = columns.get_field_index("other")
    table = _read_json(lines, columns.remove(place))
    texts = [msgspec.json.encode({"other": text or None}) for text in others]
    other = _read_json(texts, _pyarrow().schema([columns.field(place)]))
    whole = table.append_column(columns.field(place), other.column(0))
    [batch] = whole.select(columns.names).cast(columns).to_batches()
    return batch


def _read_json(lines: Sequence[bytes], columns: pyarrow.Schema) -> pyarrow.Table:
    """Let Arrow read lines of JSON; to make arrays of Python's objects, it would import pandas: 75 MB."""
    pa = _pyarrow()
    import pyarrow.json as arrow_json

    body = b"\n".join(lines)
    return arrow_json.read_json(
        pa.BufferReader(body),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=arrow_json.ParseOptions(explicit_schema=columns, unexpected_field_behavior="ignore"),
        # Arrow's own allocator keeps 30 MB more of what was freed.
        memory_pool=pa.system_memory_pool(),
    )


def _surprises(line: bytes) -> str | None:
    """Return the unknown fields of an event as JSON, empty if it has none; ``None`` if it needs a careful look."""
    fields = _decode_raw(line)
    moment, policies = bytes(fields.get("created_at", b"")), fields.get("policies")
    if len(moment) != _PLAIN_TIME or moment[-2:] != b'Z"':
        return None
    if policies is not None and bytes(policies) != b"null":
        try:
            if any(not _POLICY_KINDS.keys() >= policy.keys() for policy in _decode_policies(policies)):
                return None
        except msgspec.ValidationError:
            return None
    unknown = fields.keys() - _KNOWN
    return (_json({name: raw for name, raw in fields.items() if name in unknown}) or "") if unknown else ""


def row(line: bytes) -> dict[str, Any]:
    """Return any event as a row: what has no column, or does not fit it, goes to ``other``.

    :raises UnexpectedAnswerError: for an event whose id or time does not fit its column.
    """
    fields = _decode_raw(line)
    number, written = _id(fields.pop("id", None)), fields.pop("created_at", None)
    row: dict[str, Any] = {"id": number, "created_at": _moment(number, written)}
    other: _Fields = {}
    if written is not None and len(bytes(written)) != _PLAIN_TIME:
        # Digits beyond microseconds and another offset would be lost.
        other["created_at"] = written
    for name, raw in fields.items():
        if name in _TEXT:
            _put(row, other, name, raw, str)
        elif name == "ondemand":
            _put(row, other, name, raw, bool)
        elif name == "policies":
            _put_policies(row, other, raw)
        else:
            other[name] = raw
    row["other"] = _json(other)
    return row


def _put(row: dict[str, Any], other: _Fields, name: str, raw: msgspec.Raw, kind: type) -> None:
    try:
        value = msgspec.json.decode(raw, type=kind | None)
    except msgspec.DecodeError:
        other[name] = raw
    else:
        if kind is int and value is not None and value not in _INT64:
            other[name] = raw
        else:
            row[name] = value


def _put_policies(row: dict[str, Any], other: _Fields, raw: msgspec.Raw) -> None:
    if bytes(raw) == b"null":
        return
    try:
        policies = _decode_policies(raw)
    except msgspec.ValidationError:
        other["policies"] = raw
        return
    row["policies"] = [_policy(policy) for policy in policies]


def _policy(fields: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    other: _Fields = {}
    for name, raw in fields.items():
        if name in _POLICY_KINDS:
            _put(policy, other, name, raw, _POLICY_KINDS[name])
        else:
            other[name] = raw
    policy["other"] = _json(other)
    return policy


def _json(other: Mapping[str, msgspec.Raw]) -> str | None:
    """Return fields as a JSON object, their values as the server wrote them."""
    return msgspec.json.encode(other).decode() if other else None


def _id(raw: msgspec.Raw | None) -> int:
    try:
        number = msgspec.json.decode(raw if raw is not None else b"null", type=int)
    except msgspec.ValidationError:
        number = None
    if number is None or number not in _INT64:
        shown = "none" if raw is None else repr(bytes(raw)[:40])
        raise UnexpectedAnswerError(
            Asked(AUDIT_PATH), f"an event whose id does not fit into 64 bits ({shown}), which Parquet cannot hold"
        )
    return int(number)


def _moment(number: int, raw: msgspec.Raw | None) -> datetime:
    try:
        # Digits beyond microseconds are cut off: rounded up, an event could leave its day.
        exact = _FINER_DIGITS.sub(rb"\1", bytes(raw if raw is not None else b"null"))
        moment = msgspec.json.decode(exact, type=datetime)
        if moment.tzinfo is None:
            raise ValueError("no offset")
        return moment.astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise UnexpectedAnswerError(
            Asked(AUDIT_PATH), f"an event (id {number}) whose created_at is not a time that Parquet can hold"
        ) from error


def _batches(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give the lines, some thousand at a time."""
    lines: list[bytes] = []
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        lines += whole
        while len(lines) >= _BATCH_EVENTS:
            yield lines[:_BATCH_EVENTS]
            del lines[:_BATCH_EVENTS]
    if rest:
        lines.append(rest)
    if lines:
        yield lines


def _sorted(table: pyarrow.Table) -> pyarrow.Table:
    """Return a row group in order of id; slices of time usually are."""
    ids = table.column("id").to_pylist()
    return table if all(one <= next_ for one, next_ in pairwise(ids)) else table.sort_by("id")


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise MissingPackageError(
            "Parquet needs the package pyarrow: install airflow-provider-curation[parquet] on the workers."
        ) from None
    return pyarrow


class _Outlet(io.RawIOBase):
    """The unseekable file that a Parquet file is written to; what was written can be taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
