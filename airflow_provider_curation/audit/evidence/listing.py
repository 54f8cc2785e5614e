"""What a listing tells: which manifest belongs to which object, and which window a key names."""

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
#: Signatures without a manifest that are named.
_MOST_LEFT: Final = 10_000
#: Shapes of keys that are told apart; more do not come from one archive's few series.
_MOST_SHAPES: Final = 1000


def pairs(
    manifests: Iterable[Entry], objects: Iterable[Entry], layout: Layout
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Yield manifests with their objects from two listings in order of key; ``None`` stands for a missing one.

    The two orders differ a little, since a manifest's key ends in ``.json``: an object whose key begins with another
    one's may come earlier than its manifest does. So few objects wait for their manifest.
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
    """The manifests of a listing, and which of them have a signature, though that is listed behind its manifest.

    :ivar left: manifests of which only the signature is there, by key; of many, the first ones.
    """

    def __init__(self, listed: Iterable[Entry]) -> None:
        self.left: list[str] = []
        self._listed = listed
        self._signed: set[str] = set()

    def __iter__(self) -> Iterator[Entry]:
        """Yield each manifest once it is known whether it is signed."""
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
        """Return whether the last manifest that was yielded has a signature; each is asked for once."""
        key = manifest_key + SIGNATURE_SUFFIX
        signed = key in self._signed
        self._signed.discard(key)
        return signed


def is_export(key: str) -> bool:
    """Return whether a key ends as an export's does."""
    return _EXPORTED.search(key) is not None


def other_root(key: str) -> str | None:
    """Return the root of another archive that a key belongs to, below the one that is listed; ``None`` of none."""
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
    """Return a key without its numbers, except those in its server's name: servers may differ in nothing else."""
    parts = manifest_key.split(instance) if instance else [manifest_key]
    return instance.join(_NUMBERS.sub("0", part) for part in parts)


class Elsewhere:
    """Manifests outside of a period, one for each shape of keys: what was exported once is expected from then on."""

    def __init__(self) -> None:
        self._earliest: dict[str, tuple[datetime, Entry]] = {}

    def add(self, manifest: Entry, window: Window) -> None:
        """Add a manifest whose key names a window outside of the period."""
        shape = _DATES.sub("0", manifest.key)
        known = self._earliest.get(shape)
        if (known is None and len(self._earliest) < _MOST_SHAPES) or (known is not None and window.start < known[0]):
            self._earliest[shape] = window.start, manifest

    def before(self, end: datetime) -> list[Entry]:
        """Return the earliest manifest of each shape, if its window begins before a moment."""
        return [manifest for start, manifest in self._earliest.values() if start < end]


def _moment(text: str) -> datetime:
    # Every key of a long listing is read here: this is several times as fast as strptime.
    numbers = (text[:4], text[4:6], text[6:8], text[9:11], text[11:13], text[13:15])
    year, month, day, hour, minute, second = map(int, numbers)
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
