"""The progress line of an export."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow_provider_curation.audit.api.retry import Outage
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.transfers.progress import ProgressLog

DAY = Window.parse("2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z")


def line(outage: Outage | None) -> str:
    reader = SimpleNamespace(arrived=1000, total_before=4000)
    export: Any = SimpleNamespace(window=DAY, reader=reader, object=SimpleNamespace(bytes=1234), outage=outage)
    progress = ProgressLog(export, logging.getLogger(__name__))
    progress._started = time.monotonic() - 50
    return progress.line()


def test_says_how_far_it_is_and_how_long_it_takes() -> None:
    assert line(None) == (
        "[2026-11-05T00:00:00Z, 2026-11-06T00:00:00Z): "
        "1,000 of 4,000 events, 20 events/s, 1,234 bytes, about 2 minutes 30 seconds left"
    )


def test_says_that_it_waits_for_the_server_since_when_and_until_when() -> None:
    since = datetime(2026, 11, 6, 0, 5, 1, tzinfo=timezone.utc)
    until = datetime(2026, 11, 6, 0, 6, 2, tzinfo=timezone.utc)
    assert line(Outage(since, until, "503 Service Unavailable")) == (
        "[2026-11-05T00:00:00Z, 2026-11-06T00:00:00Z): 1,000 of 4,000 events, "
        "waiting for the server since 2026-11-06T00:05:01Z (503 Service Unavailable), "
        "next request at 2026-11-06T00:06:02Z"
    )
