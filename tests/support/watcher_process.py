"""A watcher's trigger in a process that can be killed, with files in the place of Airflow's database."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from airflow_provider_curation.triggers import stored_cursor
from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger


class FileStore:
    """An asset state store that outlives the process; a value is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.json"

    async def aget(self, key: str, default: Any = None) -> Any:
        return self._values().get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        _write_whole(self._path, {**self._values(), key: value})

    def _values(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}


class EventLog:
    """The events that a watcher gave, in their order, a file each; as in a database, one is there whole or not at all.

    Lines appended to one file would not do: a kill in the middle of a ``write`` leaves a part of the line.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, payload: dict[str, Any]) -> None:
        _write_whole(self._folder / f"event-{len(self._paths()):06}.json", payload)

    def payloads(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self._paths()]

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("event-*.json"))


def _write_whole(path: Path, value: Any) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value))
    os.replace(beside, path)


def watch(folder: str, connection: str) -> None:
    """Run the trigger until the process is killed; an event is in the log before the next is asked for."""
    os.environ["AIRFLOW_CONN_CURATION_DEFAULT"] = connection
    # An event is stored here the moment it is given.
    stored_cursor._PERSIST_SECONDS = 0.0
    asyncio.run(_watch(Path(folder)))


async def _watch(folder: Path) -> None:
    trigger = CurationBlockedEventsTrigger(lookback=3600, poll_interval=0.03, sample_size=10_000)
    trigger.asset_state_store = FileStore(folder)  # type: ignore[assignment]
    log = EventLog(folder)
    async for event in trigger.run():
        log.append(event.payload)
