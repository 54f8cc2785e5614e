"""A canary for an asset's watcher, which has no task that could fail."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_curation.audit.polling.heartbeat import HEARTBEAT_KEY, Heartbeat
from airflow_provider_curation.compat import AirflowSkipException


def check_watcher(asset_state_store: Any, silence: timedelta = timedelta(hours=1)) -> dict[str, Any]:
    """Check that the ``CurationBlockedEventsTrigger`` that watches an asset has had an answer from the server lately.

    Call it in a task that has the asset as its only inlet. The watcher writes its heartbeat once a minute.

    :param asset_state_store: the task's, from its context; ``None`` before Airflow 3.3, which has none.
    :param silence: how long the watcher may go without an answer from the server.
    :return: the heartbeat: ``polled``, ``found`` and ``failed`` are times in UTC or ``None``, ``error`` is the name of
        a class or ``None``.
    :raises AirflowSkipException: this Airflow keeps no heartbeat.
    :raises WatcherSilentError: the server has not answered the watcher for longer than that, or never.
    """
    if asset_state_store is None:
        raise AirflowSkipException("Before Airflow 3.3 a watcher can leave no heartbeat: let a sensor be the canary.")
    heartbeat = Heartbeat.of(asset_state_store.get(HEARTBEAT_KEY))
    heartbeat.check(datetime.now(timezone.utc), silence)
    return heartbeat.as_dict()
