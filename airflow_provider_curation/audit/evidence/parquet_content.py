"""Compares a Parquet file's events with what its manifest claims."""

from __future__ import annotations

from contextlib import ExitStack

from airflow_provider_curation.audit.evidence.seen_events import IDS_AT_ONCE, UNKNOWN, SeenEvents
from airflow_provider_curation.audit.evidence.unpacking import ContentError, Source, parquet_library, spooled
from airflow_provider_curation.audit.window import format_utc


def read_parquet(source: Source, seen: SeenEvents) -> None:
    """Read all events of a Parquet file.

    :raises ContentError: if it is not one.
    :raises MissingPackageError: without the package to read it.
    """
    pa, pq = parquet_library()
    with ExitStack() as opened:
        # The columns are found from the end of the file.
        spool = spooled(source, opened)
        try:
            file = pq.ParquetFile(spool)
            for number in range(file.num_row_groups):
                # Each row group is sorted by id.
                seen.begin_part()
                columns = file.read_row_group(number, columns=["id", "created_at", "action"])
                for batch in columns.to_batches(IDS_AT_ONCE):
                    for event_id, moment, action in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        seen.add(event_id, format_utc(moment), UNKNOWN if action is None else action)
        except (pa.ArrowException, KeyError, TypeError) as error:
            raise ContentError(f"it cannot be read as Parquet ({type(error).__name__})") from None
