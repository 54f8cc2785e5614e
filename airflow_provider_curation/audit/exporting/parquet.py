"""Turns JSON lines into a Parquet file: a typed column for every known field of the API, and one column for the rest.

The schema is the same for all days, servers and windows:

- ``id`` is int64 and ``created_at`` a timestamp in UTC with microseconds; an event whose id does not fit is an error.
- ``policies`` is a list of structs; every other known field is a string.
- ``other`` is a JSON object with everything that has no column: unknown fields, and values whose type does not match
  their column, which is then null. Each policy has its own ``other``. The values are the server's own bytes, so only
  white space, the order of fields, and the difference between null and absent fields are lost.

Row groups are sorted by id, compressed with zstd, and have statistics and a page index, so a filter on id, time or
action skips most of a file. The same lines give the same bytes with the same version of pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import Asked, MissingPackageError, UnexpectedAnswerError
from airflow_provider_curation.audit.exporting.outlet import TellingOutlet
from airflow_provider_curation.audit.exporting.parquet_rows import POLICY_TEXT_FIELDS, TEXT_FIELDS, row, surprises

if TYPE_CHECKING:
    import pyarrow

#: Events per row group: enough for dictionaries and statistics to pay off, few enough for memory to stay flat.
ROW_GROUP_EVENTS: Final = 16_384
#: Events that are turned into columns at a time.
_BATCH_EVENTS: Final = 1_024
_ZSTD_LEVEL: Final = 3


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
    """Return the name and version of the library, on which a file's bytes depend."""
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
    outlet = TellingOutlet()
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
    """Return the error for the first line of a batch that cannot be turned into a row."""
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
    others = [surprises(line) for line in lines]
    if None not in others:
        try:
            return _columns(lines, others)
        except _pyarrow().ArrowInvalid:
            # A value does not have its column's type.
            pass
    rows = [row(line) for line in lines]
    return _columns([msgspec.json.encode(each) for each in rows], [each["other"] for each in rows])


def _columns(lines: Sequence[bytes], others: Sequence[str | None]) -> pyarrow.RecordBatch:
    """Return events as columns; known fields must have their columns' types.

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
    """Let Arrow read lines of JSON; to build arrays from Python objects, it would import pandas, which takes 75 MB."""
    pa = _pyarrow()
    import pyarrow.json as arrow_json

    body = b"\n".join(lines)
    return arrow_json.read_json(
        pa.BufferReader(body),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=arrow_json.ParseOptions(explicit_schema=columns, unexpected_field_behavior="ignore"),
        # Arrow's own allocator keeps 30 MB more of freed memory.
        memory_pool=pa.system_memory_pool(),
    )


def _batches(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines, about a thousand at a time."""
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
    """Return a row group in order of id, which slices of time usually have already."""
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
