"""One value in Airflow's asset state store (Airflow 3.3 and later), which survives a killed triggerer."""

from __future__ import annotations

import asyncio
from typing import Any


class StoredValue:
    """A value of a watched asset.

    :param store: Airflow's store of the asset; Airflow 3.3.0 and 3.3.1 have no asynchronous methods.
    :param key: the value's name in it.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    async def get(self) -> Any:
        """Return the value; ``None`` if there is none."""
        if hasattr(self._store, "aget"):
            return await self._store.aget(self._key)
        return await asyncio.to_thread(self._store.get, self._key)

    async def set(self, value: dict[str, Any]) -> None:
        """Store JSON values."""
        if hasattr(self._store, "aset"):
            await self._store.aset(self._key, value)
        else:
            await asyncio.to_thread(self._store.set, self._key, value)
