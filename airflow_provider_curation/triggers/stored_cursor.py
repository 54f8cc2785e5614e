"""Keeps a watcher's cursor in Airflow's asset state store, so that it survives a killed triggerer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Sequence
from typing import Any

from airflow_provider_curation.triggers.asset_store import StoredValue

_JITTER = 0.1
#: Seconds until an event that was handed to the triggerer is in Airflow's database.
_PERSIST_SECONDS = 3.0
#: Seconds between two saves of a cursor while nothing is found.
_SAVE_EVERY = 60.0


class StoredCursor:
    """A watcher's cursor in Airflow's asset state store, or in memory if there is none (before Airflow 3.3).

    :param store: Airflow's store of the asset, if there is one.
    :param searched: JSON values that identify the search.
    """

    def __init__(self, store: Any, searched: Sequence[Any], log: Any) -> None:
        key = "curation_blocked_events:" + hashlib.sha256(json.dumps(searched).encode()).hexdigest()[:32]
        self._value = None if store is None else StoredValue(store, key)
        self._log = log
        self._kept: dict[str, Any] | None = None
        self._urgent = False
        self._saved_at = time.monotonic()

    @property
    def persist_seconds(self) -> float:
        """How long after an event its cursor may be saved."""
        return _PERSIST_SECONDS if self._value is not None else 0.0

    async def load(self) -> dict[str, Any] | None:
        """Return the cursor that an earlier triggerer saved."""
        if self._value is None:
            self._remember_only("this Airflow, or this way of running a trigger, has no asset state store")
        pause = 1.0
        while self._value is not None:
            try:
                stored = await self._value.get()
            except ValueError as error:
                self._remember_only(str(error))
            except Exception as error:
                # Starting without it would repeat, or skip, what the last triggerer did.
                self._log.warning("The stored cursor cannot be read (%s); trying again in %.0f s.", error, pause)
                await asyncio.sleep(jittered(pause))
                pause = min(2 * pause, 60.0)
            else:
                return stored if isinstance(stored, dict) else None
        return None

    def keep(self, state: dict[str, Any] | None, delivered: bool = False) -> None:
        """Remember the cursor to save: soon if events were delivered, otherwise once a minute."""
        self._kept = state
        self._urgent = self._urgent or delivered

    async def save(self) -> None:
        """Save the remembered cursor, if it is time."""
        if self._value is None or self._kept is None:
            return
        if not self._urgent and time.monotonic() - self._saved_at < _SAVE_EVERY:
            return
        try:
            # The triggerer handles one message a round, and writes events to the database at the end of a round. Once
            # this read is answered, the last event's round has begun; it is over when the next message is handled.
            await self._value.get()
            await self._value.set(self._kept)
        except Exception as error:
            self._log.warning("The cursor could not be saved (%s); trying again after the next poll.", error)
            return
        self._kept, self._urgent, self._saved_at = None, False, time.monotonic()

    def _remember_only(self, why: str) -> None:
        self._value = None
        self._log.warning(
            "The cursor is kept in memory only (%s): when the triggerer restarts, the search starts over. It repeats "
            "events that are newer than lookback, and misses older ones.",
            why,
        )


def jittered(seconds: float) -> float:
    """Return a duration that differs by up to a tenth, so that watchers do not all poll at once."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
