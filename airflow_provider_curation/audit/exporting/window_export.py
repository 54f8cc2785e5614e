"""Turns a window's events into one object's bytes, and collects the facts for its manifest."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.retry import Outage
from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.audit.errors import IncompleteExportError, StoppedError
from airflow_provider_curation.audit.exporting.byte_meter import ByteMeter
from airflow_provider_curation.audit.exporting.chunk_reader import ChunkReader
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.csv_page import CsvPage
from airflow_provider_curation.audit.pages.page import Tally
from airflow_provider_curation.audit.reading.csv_source import CsvSource
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.reading.source import PageSource
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window, format_utc

log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 256 * 1024
_TRIES: Final = 3


class WindowExport:
    """One try at exporting a window: its bytes, which can be read once, and then the facts about them.

    To compare it with an earlier export, read :meth:`open` to its end first, even if it yields no bytes. Then
    ``reader.total_before`` and ``total_after`` are the server's counts, and ``facts()`` has them with ``ids_digest``.

    :param stop: when set, reading ends with :class:`StoppedError`.
    :param check: called once the window was read and reconciled, before the last bytes are yielded; if it raises, the
        object is not completed.
    :param retention: how long the server remembers events; reading a window that begins before that raises.
    :raises MissingPackageError: for zstd or Parquet without its package, before any request.
    """

    def __init__(
        self,
        client: AuditClient,
        window: Window,
        file_format: FileFormat,
        *,
        dry_run: bool = False,
        wanted: EventFilter | None = None,
        treatment: Treatment | None = None,
        page_size: int = JSON_ROWS,
        stop: threading.Event | None = None,
        check: Callable[[WindowExport], None] | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self.window = window
        self.file_format = file_format
        self.wanted = wanted or EventFilter()
        self.treatment = treatment or Treatment()
        self.content = ByteMeter()
        self.object = ByteMeter()
        self._stop = stop or threading.Event()
        self._check = check
        self._outages = client.outages
        self._source: PageSource
        if file_format.name == "csv":
            self._source = CsvSource(client, dry_run=dry_run, wanted=wanted, treatment=treatment)
        else:
            self._source = JsonSource(client, dry_run=dry_run, wanted=wanted, treatment=treatment, rows=page_size)
        self.reader = WindowReader(self._source, window, self._stop, retention)
        self._encode = file_format.encoder()

    @property
    def tally(self) -> Tally:
        """The events read and kept so far."""
        return self.reader.tally

    @property
    def outage(self) -> Outage | None:
        """The outage of the server that the export is waiting for; ``None`` if it answers."""
        return self._outages.current

    def open(self) -> ChunkReader:
        """Return an unseekable file of the object's bytes.

        It reaches its end only if the window was read completely and reconciled. Otherwise reading raises (see
        :meth:`WindowReader.pages`), so that an upload never completes.
        """
        return ChunkReader(self._guarded(self.object.through(self._encode(self.content.through(self._content())))))

    def facts(self) -> dict[str, Any]:
        """Return the manifest's facts about the window and the bytes, by name; complete once everything is read."""
        tally, reader = self.tally, self.reader
        return {
            "start": format_utc(self.window.start),
            "end": format_utc(self.window.end),
            "format": self.file_format.name,
            "compression": self.file_format.compression,
            "writer": self.file_format.writer,
            "events_read": tally.read,
            "events": tally.kept,
            "rows": tally.rows,
            "actions": dict(sorted(tally.actions.items())),
            "package_types": dict(sorted(tally.package_types.items())),
            "policies": dict(sorted(tally.policies.items())),
            "first_id": tally.first.id if tally.first else None,
            "first_created_at": tally.first.created_at if tally.first else None,
            "last_id": tally.last.id if tally.last else None,
            "last_created_at": tally.last.created_at if tally.last else None,
            "ids_digest": str(tally.ids),
            "total_before": reader.total_before,
            "total_after": reader.total_after,
            "reconciled": reader.reconciled,
            "reconciled_why": reader.reconciled_why,
            "size": self.object.bytes,
            "sha256": self.object.sha256,
            "content_size": self.content.bytes,
            "content_sha256": self.content.sha256,
        }

    def _content(self) -> Iterator[bytes]:
        header_due = isinstance(self._source, CsvSource)
        for page in self.reader.pages():
            if header_due and isinstance(page, CsvPage) and page.count:
                # From an answer with rows, since only their header is certain to have its line break.
                yield page.header
                header_due = False
            yield from page.chunks(_CHUNK_BYTES)
        if header_due and isinstance(self._source, CsvSource):
            yield self._source.read_header(self.window)
        if self._check is not None:
            self._check(self)

    def _guarded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._check_stop()
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError(f"The export of {self.window} was stopped; nothing of it was kept.")


def export_until_whole(
    begin: Callable[[], WindowExport], keep: Callable[[WindowExport], None], *, forgetting: bool = False
) -> WindowExport:
    """Export a window, and start over if its events changed while they were read.

    :param begin: starts a new try.
    :param keep: reads a try's bytes and stores them; it leaves nothing behind if reading raises.
    :param forgetting: the server is forgetting the window, and what is left of it should be exported.
    :raises IncompleteExportError: if no try added up to the server's count, or if the server counts fewer events than
        in an earlier try, unless ``forgetting``.
    """
    earlier: int | None = None
    for number in range(1, _TRIES + 1):
        export = begin()
        # If events disappear during a try, the next one must not succeed without them.
        export.reader.counts.earlier = None if forgetting else earlier
        try:
            keep(export)
            break
        except IncompleteExportError as error:
            if number == _TRIES:
                raise
            log.warning("Try %d of %d did not add up; starting over: %s", number, _TRIES, error)
            counts = (earlier, export.reader.total_before, export.reader.total_after)
            earlier = max((count for count in counts if count is not None), default=None)
    return export
