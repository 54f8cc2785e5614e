"""What a batch shows of its events."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_curation.audit.errors import UnexpectedAnswerError
from airflow_provider_curation.audit.polling.batch import PendingBatch
from airflow_provider_curation.audit.polling.search import Search


def test_an_event_with_a_number_that_python_cannot_hold_is_named() -> None:
    pending = PendingBatch(Search(start=datetime(2026, 11, 1, tzinfo=timezone.utc)))

    with pytest.raises(UnexpectedAnswerError, match="event 7 with a value that Python cannot hold"):
        pending.add(7, "2026-11-01T00:00:00", b'{"id":7,"unknown":1e400}')
