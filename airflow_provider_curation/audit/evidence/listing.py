"""What a listing tells: which manifest belongs to which object, and which window a key names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from airflow_provider_curation.audit.evidence.archive import Entry
from airflow_provider_curation.audit.evidence.manifest import MANIFEST_SUFFIX
from airflow_provider_curation.audit.evidence.seal import DIGEST_SUFFIX
from airflow_provider_curation.audit.window import Window

_NAMED_WINDOW = re.compile(r"(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)(?!.*\d{8}T\d{6}Z)")
_NUMBERS = re.compile(r"\d+")
_EXPORTED = re.compile(r"\.(jsonl(\.gz|\.zip|\.zst)?|csv\.zip)$")


def pairs(entries: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yield manifests with their objects from a listing in order of key; ``None`` stands for a missing one.

    Everything that is listed between an object and its manifest begins with the object's key, so few are kept.
    """
    waiting: list[Entry] = []
    for listed in entries:
        if listed.key.endswith(DIGEST_SUFFIX):
            continue
        while waiting and not listed.key.startswith(waiting[-1].key):
            yield None, waiting.pop()
        if not listed.key.endswith(MANIFEST_SUFFIX):
            waiting.append(listed)
            continue
        own = listed.key.removesuffix(MANIFEST_SUFFIX)
        place = next((place for place, each in enumerate(waiting) if each.key == own), None)
        yield listed, None if place is None else waiting.pop(place)
    while waiting:
        yield None, waiting.pop()


def is_export(key: str) -> bool:
    """Return whether a key ends as an export's does."""
    return _EXPORTED.search(key) is not None


def named_window(key: str) -> Window | None:
    """Return the window that a key names in the form of the default key, or ``None``."""
    found = _NAMED_WINDOW.search(key)
    if found is None:
        return None
    try:
        return Window(*map(_moment, found.groups()))
    except ValueError:
        return None


def key_shape(manifest_key: str, instance: str) -> str:
    """Return a key without its numbers, except those in its server's name: servers may differ in nothing else."""
    parts = manifest_key.split(instance) if instance else [manifest_key]
    return instance.join(_NUMBERS.sub("0", part) for part in parts)


def _moment(text: str) -> datetime:
    # Every key of a long listing is read here: this is several times as fast as strptime.
    numbers = (text[:4], text[4:6], text[6:8], text[9:11], text[11:13], text[13:15])
    year, month, day, hour, minute, second = map(int, numbers)
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
