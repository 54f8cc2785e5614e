"""The progress of an export, in the task's log."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.exporting.window_export import WindowExport
from airflow_provider_curation.audit.window import format_utc

_SECONDS = 10.0


class ProgressLog:
    """Logs an export's progress every ten seconds while it runs, even while it waits for the server or S3."""

    def __init__(self, export: WindowExport, log: Any, seconds: float = _SECONDS) -> None:
        self._export = export
        self._log = log
        self._seconds = seconds
        self._done = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="curation-audit-progress", daemon=True)

    def __enter__(self) -> ProgressLog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            self._log.info("%s", self.line())

    def line(self) -> str:
        """Return one line: events so far, of how many, events per second, bytes, and the time left.

        While the server does not answer, the line says since when, why, and when the next request is sent.
        """
        export = self._export
        elapsed = max(time.monotonic() - self._started, 1e-3)
        read, total = export.reader.arrived, export.reader.total_before
        rate = read / elapsed
        parts = [f"{read:,} of {total:,} events" if total is not None else f"{read:,} events"]
        if outage := export.outage:
            parts.append(
                f"waiting for the server since {format_utc(outage.since)} ({outage.why}), next request at "
                f"{format_utc(outage.until)}"
            )
            return f"{export.window}: {', '.join(parts)}"
        parts.append(f"{rate:,.0f} events/s")
        parts.append(f"{export.object.bytes:,} bytes")
        if total is not None and rate:
            left = timedelta(seconds=round(max(total - read, 0) / rate))
            parts.append(f"about {format_duration(left)} left")
        return f"{export.window}: {', '.join(parts)}"
