"""A watcher's trigger in a process that can be killed, with files in the place of Airflow's database."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from airflow_provider_curation.triggers import curation_audit
from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger


class FileStore:
    """An asset state store that outlives the process; a value is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.json"

    async def aget(self, key: str, default: Any = None) -> Any:
        if not self._path.exists():
            return default
        return json.loads(self._path.read_text()).get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({key: value}))
        os.replace(beside, self._path)


def watch(folder: str, connection: str) -> None:
    """Run the trigger until the process is killed; an event is in ``events.jsonl`` before the next is asked for."""
    os.environ["AIRFLOW_CONN_CURATION_DEFAULT"] = connection
    # An event is stored here the moment it is given.
    curation_audit._PERSIST_SECONDS = 0.0
    asyncio.run(_watch(Path(folder)))


async def _watch(folder: Path) -> None:
    trigger = CurationBlockedEventsTrigger(lookback=3600, poll_interval=0.03, sample_size=10_000)
    trigger.asset_state_store = FileStore(folder)
    with open(folder / "events.jsonl", "ab", buffering=0) as file:
        async for event in trigger.run():
            file.write(json.dumps(event.payload).encode() + b"\n")
