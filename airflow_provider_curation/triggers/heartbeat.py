"""A watcher's sign of life in Airflow's asset state store, for a canary to read."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from airflow_provider_curation.audit.polling.heartbeat import HEARTBEAT_KEY, Heartbeat
from airflow_provider_curation.audit.polling.outcome import Outcome
from airflow_provider_curation.triggers.asset_store import StoredValue

#: Seconds between two heartbeats while nothing changes.
_BEAT_EVERY = 60.0


class StoredHeartbeat:
    """Writes a watcher's heartbeat: at once when polls begin to fail or succeed again, else once a minute.

    :param store: Airflow's store of the asset; ``None`` before Airflow 3.3, where nothing is written.
    """

    def __init__(self, store: Any, log: Any) -> None:
        self._value = None if store is None else StoredValue(store, HEARTBEAT_KEY)
        self._log = log
        self._last = Heartbeat()
        self._failed = False
        self._beaten_at = -_BEAT_EVERY

    async def beat(self, outcome: Outcome, now: datetime) -> None:
        """Note how a poll ended."""
        changed = self._failed != (outcome.error is not None) or outcome.batch is not None
        self._failed = outcome.error is not None
        self._last = self._last.after(outcome, now)
        if self._value is None or not (changed or time.monotonic() - self._beaten_at >= _BEAT_EVERY):
            return
        try:
            await self._value.set(self._last.as_dict())
        except ValueError:
            # Several assets share the trigger, so Airflow cannot tell whose store is meant; the cursor warns of it.
            self._value = None
        except Exception as error:
            self._log.warning("The heartbeat could not be saved (%s); trying again after the next poll.", error)
        else:
            self._beaten_at = time.monotonic()
