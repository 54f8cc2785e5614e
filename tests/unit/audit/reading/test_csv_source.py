"""CSV answers are fetched in parallel, and checked one after the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import StoppedError
from airflow_provider_curation.audit.pages.csv_page import CsvPage, csv_page
from airflow_provider_curation.audit.reading import csv_source as module
from airflow_provider_curation.audit.reading.csv_source import CsvSource
from tests.support.listed import DAY, Client, day_of


def test_one_answer_is_checked_at_a_time_and_none_after_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = threading.Semaphore(1)
    begun, go_on = threading.Event(), threading.Event()
    checked: list[int] = []

    def watched(*arguments: Any) -> CsvPage:
        assert busy.acquire(blocking=False), "another answer is being checked"
        try:
            begun.set()
            assert go_on.wait(20)
            checked.append(1)
            return csv_page(*arguments)
        finally:
            busy.release()

    monkeypatch.setattr(module, "csv_page", watched)
    source, stop = CsvSource(Client(day_of(20))), threading.Event()  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as pool:
        pages = [pool.submit(source.page, DAY, 0, 20, stop) for _ in range(4)]
        assert begun.wait(20)
        stop.set()
        go_on.set()
        ends = [page.exception(timeout=20) for page in pages]
    # The one under way ends; those that waited behind it are not begun.
    assert [error for error in ends if error is not None and not isinstance(error, StoppedError)] == []
    assert len(checked) == ends.count(None) == 1
