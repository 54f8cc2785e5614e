"""Reads a listing: which manifest belongs to which object, and which window a key names."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Final

from airflow_provider_curation.audit.evidence.archive import Entry
from airflow_provider_curation.audit.evidence.layout import MANIFEST_SUFFIX, SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.window import Window

_NAMED_WINDOW = re.compile(r"(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)(?!.*\d{8}T\d{6}Z)")
_NUMBERS = re.compile(r"\d+")
_EXPORTED = re.compile(r"\.(jsonl(\.gz|\.zip|\.zst)?|csv(\.gz|\.zip)|parquet)$")
_OF_AN_ARCHIVE = re.compile(r"/_(manifests|seals)/")
_DATES = re.compile(r"\d{8}T\d{6}Z|\d{4}-\d{2}-\d{2}|(?<![^/=_.-])\d+(?![^/=_.-])")
#: How many signatures without a manifest are named.
_MOST_LEFT: Final = 10_000
#: How many shapes of keys are distinguished; one archive has only a few series.
_MOST_SHAPES: Final = 1000


def pairs(
    manifests: Iterable[Entry], objects: Iterable[Entry], layout: Layout
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yield manifests with their objects from two listings in order of key; ``None`` means that one is missing.

    The orders differ slightly, since a manifest's key ends in ``.json``: if an object's key is the beginning of another
    key, it can come earlier than its manifest. So a few objects wait for their manifest.
    """
    waiting: dict[str, Entry] = {}
    left = iter(objects)
    ahead = next(left, None)
    for manifest in manifests:
        own = layout.relative_key(manifest.key)
        if own is None:
            continue
        key = layout.object_key(own)
        while ahead is not None and ahead.key <= key:
            if ahead.key == key or ahead.key + MANIFEST_SUFFIX > key + MANIFEST_SUFFIX:
                waiting[ahead.key] = ahead
            else:
                yield None, ahead
            ahead = next(left, None)
        found = waiting.pop(key, None)
        for passed in [other for other in waiting if other + MANIFEST_SUFFIX < key + MANIFEST_SUFFIX]:
            yield None, waiting.pop(passed)
        yield manifest, found
    for each in waiting.values():
        yield None, each
    while ahead is not None:
        yield None, ahead
        ahead = next(left, None)


class ManifestListing:
    """The manifests of a listing, and which of them have a signature, which is listed after its manifest.

    :ivar left: keys of manifests of which only the signature exists; of many, the first ones.
    """

    def __init__(self, listed: Iterable[Entry]) -> None:
        self.left: list[str] = []
        self._listed = listed
        self._signed: set[str] = set()

    def __iter__(self) -> Iterator[Entry]:
        """Yield each manifest, once it is known whether it has a signature."""
        waiting: deque[Entry] = deque()
        for each in self._listed:
            while waiting and waiting[0].key + SIGNATURE_SUFFIX < each.key:
                yield waiting.popleft()
            if each.key.endswith(SIGNATURE_SUFFIX):
                manifest_key = each.key.removesuffix(SIGNATURE_SUFFIX)
                if any(other.key == manifest_key for other in waiting):
                    self._signed.add(each.key)
                elif len(self.left) < _MOST_LEFT:
                    self.left.append(manifest_key)
            else:
                waiting.append(each)
        yield from waiting

    def is_signed(self, manifest_key: str) -> bool:
        """Return whether the last yielded manifest has a signature; call it once for each manifest."""
        key = manifest_key + SIGNATURE_SUFFIX
        signed = key in self._signed
        self._signed.discard(key)
        return signed


def is_export(key: str) -> bool:
    """Return whether a key ends like an export's key."""
    return _EXPORTED.search(key) is not None


def other_root(key: str) -> str | None:
    """Return the root of the other archive that a key belongs to, below the listed one; ``None`` if there is none."""
    found = _OF_AN_ARCHIVE.search(key)
    return found and key[: found.start()]


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
    """Return a key without its numbers, except those in the server's name, which may be all that differs."""
    parts = manifest_key.split(instance) if instance else [manifest_key]
    return instance.join(_NUMBERS.sub("0", part) for part in parts)


class Elsewhere:
    """Manifests outside a period, one for each shape of keys: a series is expected once it has been exported."""

    def __init__(self) -> None:
        self._earliest: dict[str, tuple[datetime, Entry]] = {}

    def add(self, manifest: Entry, window: Window) -> None:
        """Add a manifest whose key names a window outside the period."""
        shape = _DATES.sub("0", manifest.key)
        known = self._earliest.get(shape)
        if (known is None and len(self._earliest) < _MOST_SHAPES) or (known is not None and window.start < known[0]):
            self._earliest[shape] = window.start, manifest

    def before(self, end: datetime) -> list[Entry]:
        """Return the earliest manifest of each shape, if its window begins before ``end``."""
        return [manifest for start, manifest in self._earliest.values() if start < end]


def _moment(text: str) -> datetime:
    # This runs for every key of a long listing, and is several times as fast as strptime.
    numbers = (text[:4], text[4:6], text[6:8], text[9:11], text[11:13], text[13:15])
    year, month, day, hour, minute, second = map(int, numbers)
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
