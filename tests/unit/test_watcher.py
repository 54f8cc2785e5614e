"""The canary of an asset's watcher, with a task's store of the asset."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_curation.audit.errors import WatcherSilentError
from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.watcher import check_watcher


class Store(dict[str, Any]):
    """An asset state store."""


def heartbeat(age: timedelta) -> dict[str, Any]:
    polled = format_utc(datetime.now(timezone.utc) - age)
    return {"polled": polled, "found": None, "failed": None, "error": None}


def test_a_watcher_that_lives_passes() -> None:
    beat = heartbeat(timedelta(minutes=59))
    assert check_watcher(Store(curation_watcher_heartbeat=beat)) == beat


@pytest.mark.parametrize("store", [Store(), Store(curation_watcher_heartbeat=heartbeat(timedelta(minutes=61)))])
def test_a_watcher_that_is_silent_fails_the_task(store: Store) -> None:
    with pytest.raises(WatcherSilentError):
        check_watcher(store)


def test_an_airflow_without_a_store_skips_it() -> None:
    with pytest.raises(AirflowSkipException, match=r"Before Airflow 3\.3"):
        check_watcher(None)
