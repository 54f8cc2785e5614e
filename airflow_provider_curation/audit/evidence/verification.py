"""Proves that nothing is missing from an archive, or says what is: from its manifests, and if asked its objects.

The listing is read page by page, and manifests some at a time: what stays in memory are findings, and the time that
each series covers.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

from airflow_provider_curation.audit.errors import InvalidArgumentError, ObjectExistsError
from airflow_provider_curation.audit.evidence.archive import Archive, Entry
from airflow_provider_curation.audit.evidence.coverage import Coverage
from airflow_provider_curation.audit.evidence.findings import MENDED_BY_EXPORT, Finding, Kind, Mend, Report, Series
from airflow_provider_curation.audit.evidence.manifest import (
    MANIFEST_SUFFIX,
    ManifestError,
    StoredManifest,
    signature_fault,
)
from airflow_provider_curation.audit.evidence.seal import (
    DIGEST_SUFFIX,
    Digest,
    Sealed,
    digest_key,
    entry,
    new_digest,
    read_chain,
)
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.audit.window import Window, format_utc

#: Reading objects: those whose ETag is not known to be the manifest's only, all of them, or a share of them as well.
Reading = Literal["suspects", "all"] | float
Count = Callable[[Window, bool], int]

_NAMED_WINDOW = re.compile(r"(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)(?!.*\d{8}T\d{6}Z)")
_NUMBERS = re.compile(r"\d+")
_EXPORTED = re.compile(r"\.(jsonl(\.gz|\.zip|\.zst)?|csv\.zip)$")
_RECENT: Final = 64
#: What mends is left some time to run before the server forgets the window's beginning.
_TO_MEND: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Check:
    """What to verify, and how far.

    :param prefix: of keys; the exports of a series below it must not overlap on purpose.
    :param period: time without an export in it is a gap; what has not ended yet is left out.
    :param expected: streams and formats that must be there, as ``("events", "jsonl")``, of ``instance``, or of each
        server if that is not given; more may be found.
    :param keys: that manifests and digests must be signed with; none checks no signature.
    :param reading: which objects to read for their SHA-256.
    :param count: asks the server how many events a window has, and whether of the dry-run stream; ``None`` does not.
    :param instance: that server, as manifests name it: exports of others are neither counted again nor mended.
        ``None`` takes the only one in the archive; of several none.
    :param remembered: from when on the server still has all events; what begins before cannot be counted or mended.
    :param ignored: kinds that are as they should be in this archive.
    :param seal: write a digest of the period if nothing was found.
    :param known_digests: SHA-256 of digests that must be in the chain: of a chain alone, the end could be cut off.
    :param workers: manifests and objects read at the same time, and windows counted.
    """

    prefix: str
    period: Window
    expected: Sequence[tuple[str, str]] = ()
    keys: Sequence[SecretKey] = ()
    reading: Reading = "suspects"
    count: Count | None = None
    instance: str | None = None
    remembered: datetime | None = None
    ignored: frozenset[Kind] = frozenset()
    seal: bool = False
    known_digests: frozenset[str] = frozenset()
    workers: int = 8


def verify(archive: Archive, check: Check, now: datetime | None = None) -> Report:
    """Verify a period of an archive.

    :raises InvalidArgumentError: for a period that cannot be sealed.
    :raises ObjectExistsError: if another verification sealed it meanwhile.
    """
    return _Verification(archive, check, now or datetime.now(timezone.utc)).run()


def pairs(entries: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Give manifests and their objects, ``None`` for one that is missing, from a listing in order of key.

    All that is listed between an object and its manifest begins with the object's key, so few are kept.
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


@dataclass
class _Seen:
    """What was seen of a series: the time it covers, how wide and how packed its exports are.

    Where filtered exports are no findings, beside exports of everything they cover nothing: they must hide no gap.
    """

    everything: Coverage = field(default_factory=Coverage)
    filtered: Coverage = field(default_factory=Coverage)
    only_filtered: bool = True
    widths: Counter[timedelta] = field(default_factory=Counter)
    compressions: Counter[str] = field(default_factory=Counter)

    @property
    def covered(self) -> Coverage:
        return self.filtered if self.only_filtered else self.everything


@dataclass
class _Same:
    """Exports of a series with the same filters: they must not overlap."""

    covered: Coverage = field(default_factory=Coverage)
    recent: deque[tuple[Window, str]] = field(default_factory=lambda: deque(maxlen=_RECENT))


@dataclass(frozen=True)
class _Inspected:
    """A manifest and its object, looked at."""

    key: str
    manifest: StoredManifest | None
    fault: tuple[Kind, str] | None = None
    unreadable: str | None = None
    bytes_read: int | None = None


class _Verification:
    def __init__(self, archive: Archive, check: Check, now: datetime) -> None:
        self._archive = archive
        self._check = check
        self._now = now
        self._findings: list[Finding] = []
        self._series: dict[Series, _Seen] = {}
        self._same: dict[tuple[Series, str], _Same] = {}
        # The series of keys that differ in numbers only: tells where an object without a manifest belongs.
        self._shapes: dict[str, Series | None] = {}
        self._broken: list[tuple[Kind, str, str]] = []
        self._sealed: dict[str, Sealed] = {}
        self._last_digest: Digest | None = None
        # The digest of the very period, if it is to be sealed again; and what that does not name.
        self._standing: Digest | None = None
        self._unsealed = 0
        self._entries: list[dict[str, Any]] = []
        self._recounts: dict[tuple[bool, Window], list[tuple[str, Series, int, str | None]]] = {}
        self._manifests = self._events = self._objects = self._bytes = self._recounted = 0

    def run(self) -> Report:
        check = self._check
        if check.seal and check.period.end > self._now:
            raise InvalidArgumentError(f"{check.period} cannot be sealed before it has ended.")
        self._read_digests()
        with ThreadPoolExecutor(check.workers, thread_name_prefix="curation-verify") as pool:
            for inspected in self._inspect_all(pool):
                self._take(inspected)
            self._place_broken()
            servers = self._servers()
            self._find_gaps(servers)
            server = check.instance or (servers[0] if len(servers) == 1 else None)
            if server is not None:
                self._recount(pool)
        for key in sorted(self._sealed):
            self._find(Kind.SEALED_MISSING, "the manifest was sealed in a digest, and is gone", key)
        findings = sorted(self._findings, key=_order)
        digest = self._seal() if check.seal and not findings else None
        return Report(
            prefix=check.prefix,
            period=check.period,
            findings=findings,
            manifests=self._manifests,
            events=self._events,
            objects_read=self._objects,
            bytes_read=self._bytes,
            recounted=self._recounted,
            server=server,
            other_servers=[other for other in servers if other != server],
            mends=self._mends(findings, server),
            digest=digest.key if digest else None,
            digest_sha256=digest.sha256 if digest else None,
        )

    def _find(
        self,
        kind: Kind,
        detail: str,
        key: str | None = None,
        window: Window | None = None,
        series: Series | None = None,
        compression: str | None = None,
    ) -> None:
        if kind not in self._check.ignored:
            self._findings.append(Finding(kind, detail, key, window, series, compression))

    # Manifests and objects

    def _inspect_all(self, pool: ThreadPoolExecutor) -> Iterator[_Inspected]:
        """Look at what is listed, some at a time, and give it in order."""
        under_way: deque[Future[_Inspected]] = deque()
        for manifest, found in pairs(self._archive.entries(self._check.prefix)):
            if manifest is None:
                assert found is not None
                if _EXPORTED.search(found.key) and self._concerns(named_window(found.key)):
                    self._broken.append((Kind.MANIFEST_MISSING, found.key, "the object has no manifest"))
                continue
            if not self._concerns(named_window(manifest.key)):
                continue
            under_way.append(pool.submit(self._inspect, manifest.key, found))
            if len(under_way) >= 4 * self._check.workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _concerns(self, window: Window | None) -> bool:
        """Say whether something of this window, if its key names one, is to be looked at."""
        period = self._check.period
        return window is None or (window.start < period.end and window.end > period.start)

    def _inspect(self, key: str, found: Entry | None) -> _Inspected:
        body = self._archive.read(key)
        if body is None:
            return _Inspected(key, None, unreadable="it was listed, but is gone")
        try:
            stored = StoredManifest.parse(body)
        except ManifestError as error:
            return _Inspected(key, None, unreadable=str(error))
        if not self._concerns(stored.window):
            return _Inspected(key, None)
        facts = stored.facts
        if found is None:
            return _Inspected(key, stored, (Kind.OBJECT_MISSING, "the manifest's object is gone"))
        if found.size != facts["size"]:
            return _Inspected(
                key, stored, (Kind.SIZE_DIFFERS, f"{found.size} bytes instead of the manifest's {facts['size']}")
            )
        if not self._is_to_be_read(found, stored):
            return _Inspected(key, stored)
        digest, size = hashlib.sha256(), 0
        for chunk in self._archive.chunks(found.key):
            digest.update(chunk)
            size += len(chunk)
        if digest.hexdigest() != facts["sha256"]:
            fault = (Kind.SHA256_DIFFERS, f"its SHA-256 is {digest.hexdigest()}, the manifest's {facts['sha256']}")
            return _Inspected(key, stored, fault, bytes_read=size)
        return _Inspected(key, stored, bytes_read=size)

    def _is_to_be_read(self, found: Entry, stored: StoredManifest) -> bool:
        reading = self._check.reading
        # Another ETag proves nothing, since a copy has one too, nor does none; the bytes do.
        if reading == "all" or found.etag is None or found.etag != stored.facts.get("etag"):
            return True
        return not isinstance(reading, str) and random.random() < reading

    def _take(self, inspected: _Inspected) -> None:
        """Count in what was seen of a manifest."""
        if inspected.bytes_read is not None:
            self._objects += 1
            self._bytes += inspected.bytes_read
        key = inspected.key
        if inspected.unreadable is not None:
            self._sealed.pop(key, None)
            self._broken.append((Kind.MANIFEST_UNREADABLE, key, inspected.unreadable))
            return
        stored = inspected.manifest
        if stored is None:
            return
        facts, window, series = stored.facts, stored.window, Series(*stored.series)
        compression = facts.get("compression")
        self._manifests += 1
        self._events += facts["events"]
        shape = _shape(key, series.instance)
        self._shapes[shape] = series if self._shapes.get(shape, series) == series else None
        self._check_sealed(key, stored, series)
        if self._check.keys and (fault := signature_fault(facts, self._check.keys)):
            self._find(Kind.BAD_SIGNATURE, f"the manifest {fault}", key, window, series, compression)
        if inspected.fault:
            self._find(*inspected.fault, _object_key(key), window, series, compression)
        if not facts["reconciled"]:
            why = facts.get("reconciled_why") or "the server's count did not confirm it"
            self._find(Kind.UNRECONCILED, why, key, window, series, compression)
        if facts["filters"]:
            self._find(Kind.FILTERED, f"events were left out: {facts['filters']}", key, window, series, compression)
        self._cover(key, stored, series)
        check = self._check
        if check.seal:
            self._entries.append(entry(_relative(check.prefix, key), stored))
        own = check.instance in (None, series.instance)
        if check.count and own and check.remembered and window.start >= check.remembered:
            asked = (facts["stream"] == "dry_run", window)
            self._recounts.setdefault(asked, []).append((key, series, facts["events_read"], compression))

    def _cover(self, key: str, stored: StoredManifest, series: Series) -> None:
        window = stored.window
        seen = self._series.setdefault(series, _Seen())
        filtered = bool(stored.facts["filters"]) and Kind.FILTERED in self._check.ignored
        seen.only_filtered = seen.only_filtered and filtered
        (seen.filtered if filtered else seen.everything).add(window)
        seen.widths[window.width] += 1
        seen.compressions[str(stored.facts.get("compression"))] += 1
        same = self._same.setdefault((series, str(stored.treatment[0])), _Same())
        for part in same.covered.add(window):
            others = [other for known, other in same.recent if known.start < part.end and known.end > part.start]
            named = ", ".join(others) or "an export seen before"
            self._find(Kind.OVERLAP, f"it is covered by {named} too", key, part, series)
        same.recent.append((window, key))

    def _place_broken(self) -> None:
        """Name what is broken, and count its time as covered where its key tells it, so that it is found once."""
        for kind, key, detail in self._broken:
            manifest_key = key if kind is Kind.MANIFEST_UNREADABLE else key + MANIFEST_SUFFIX
            window, series = named_window(key), self._series_of(manifest_key)
            if self._sealed.pop(manifest_key, None):
                detail += ", although one was sealed in a digest"
            if window and series:
                self._series[series].covered.add(window)
            self._find(kind, detail, key, window, series)

    def _series_of(self, manifest_key: str) -> Series | None:
        """Return the series whose keys look like this one, if there is one such."""
        shapes = {_shape(manifest_key, series.instance) for series in self._series}
        alike = {self._shapes[shape] for shape in shapes if shape in self._shapes}
        return alike.pop() if len(alike) == 1 else None

    def _servers(self) -> list[str]:
        """Return whose exports there are or should be, in order; a nameless one if nobody is known."""
        servers = {series.instance for series in self._series}
        if self._check.instance:
            servers.add(self._check.instance)
        return sorted(servers or {""})

    def _find_gaps(self, servers: Sequence[str]) -> None:
        period = self._check.period
        if period.start >= self._now:
            return
        period = Window(period.start, min(period.end, self._now))
        # Another server may well export less; its own verification knows what it must.
        for server in [self._check.instance] if self._check.instance else servers:
            for stream, form in self._check.expected:
                self._series.setdefault(Series(server, stream, form), _Seen())
        if not self._series:
            self._find(Kind.GAP, "there is no export at all", window=period)
        for series, seen in self._series.items():
            for gap in seen.covered.gaps(period):
                packed = seen.compressions.most_common(1)
                self._find(Kind.GAP, "no export covers it", None, gap, series, packed[0][0] if packed else None)

    # The server

    def _recount(self, pool: ThreadPoolExecutor) -> None:
        """Ask the server again for the counts of what it still remembers: events may have come after the export."""
        count = self._check.count
        if count is None:
            return
        asked = list(self._recounts)
        self._recounted = len(asked)
        for (dry_run, window), now in zip(asked, pool.map(lambda each: count(each[1], each[0]), asked), strict=True):
            for key, series, read, compression in self._recounts[dry_run, window]:
                if now > read:
                    detail = f"the server counts {now} events now, {read} were read by the export"
                    self._find(Kind.LATE_EVENTS, detail, key, window, series, compression)

    def _mends(self, findings: Sequence[Finding], server: str | None) -> list[Mend]:
        """Return the exports that mend what the server still remembers, each once."""
        remembered = self._check.remembered
        if remembered is None:
            return []
        mends: dict[Mend, None] = {}
        for finding in findings:
            window, series = finding.window, finding.series
            if finding.kind not in MENDED_BY_EXPORT or window is None or series is None or series.instance != server:
                continue
            for part in self._parts(finding, window, series):
                if part.start >= remembered + _TO_MEND:
                    mends[Mend(part, series.stream, series.format, finding.compression)] = None
        return list(mends)

    def _parts(self, finding: Finding, window: Window, series: Series) -> Iterator[Window]:
        """Give the windows in which a gap was to be exported; other findings have a window of their own."""
        remembered = self._check.remembered
        if finding.kind is not Kind.GAP:
            yield window
            return
        widths = self._series[series].widths.most_common(1)
        for part in window.split(widths[0][0]) if widths else [window]:
            earliest = remembered + 2 * _TO_MEND if remembered else part.start
            if part.start < earliest < part.end:
                # The rest of it can still be had.
                part = Window.parse(earliest, part.end)
            yield part

    # Digests

    def _read_digests(self) -> None:
        noted = set(self._check.known_digests)
        for digest, findings in read_chain(self._archive, self._check.prefix, self._check.keys):
            for finding in findings:
                self._find(finding.kind, finding.detail, finding.key, finding.window)
            if digest is None:
                continue
            self._last_digest = digest
            noted.discard(digest.sha256)
            for sealed in digest.sealed():
                if self._concerns(sealed.window):
                    self._sealed[_absolute(self._check.prefix, sealed.key)] = sealed
        last = self._last_digest
        if self._check.seal and last and last.key == digest_key(self._check.prefix, self._check.period):
            self._standing = last
        for sha256 in sorted(noted):
            self._find(Kind.DIGEST_BROKEN, f"the digest of SHA-256 {sha256}, which was noted, is not in the chain")

    def _check_sealed(self, key: str, stored: StoredManifest, series: Series) -> None:
        sealed = self._sealed.pop(key, None)
        # A rewrite is sound if it names the manifest it replaced, or is of the very object that was sealed.
        if sealed and (sealed.sha256 == stored.sha256 or sealed.object_sha256 == stored.facts["sha256"]):
            return
        if sealed is None or sealed.sha256 == stored.facts.get("replaces"):
            if self._standing:
                self._unsealed += 1
                detail = f"the period is sealed already, in {self._standing.key}, without this manifest"
                self._find(Kind.NOT_SEALED, detail, key, stored.window, series)
            return
        detail = "manifest and object are others than were sealed, and the manifest does not name that as replaced"
        self._find(Kind.SEALED_CHANGED, detail, key, stored.window, series)

    def _seal(self) -> Digest | None:
        """Write the digest of the period, and return it; one that stands already vouches for what it names only."""
        if self._standing:
            return None if self._unsealed else self._standing
        check, last = self._check, self._last_digest
        key = digest_key(check.prefix, check.period)
        signing = check.keys[0] if check.keys else None
        body = new_digest(check.prefix, check.period, self._entries, last, self._now, signing)
        if not self._archive.put_new(key, body):
            raise ObjectExistsError(
                f"{self._archive.uri(key)} was written by another verification meanwhile, and is kept. Verify again."
            )
        return Digest.parse(key, body)


def named_window(key: str) -> Window | None:
    """Return the window that a key names in the form of the default key, or ``None``."""
    found = _NAMED_WINDOW.search(key)
    if found is None:
        return None
    try:
        return Window(*map(_moment, found.groups()))
    except ValueError:
        return None


def _moment(text: str) -> datetime:
    # Of a long listing every key is read: several times as fast as strptime.
    numbers = (text[:4], text[4:6], text[6:8], text[9:11], text[11:13], text[13:15])
    year, month, day, hour, minute, second = map(int, numbers)
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)


def _shape(manifest_key: str, instance: str) -> str:
    """Return a key without its numbers, but for those of its server's name: servers may differ in nothing else."""
    parts = manifest_key.split(instance) if instance else [manifest_key]
    return instance.join(_NUMBERS.sub("0", part) for part in parts)


def _object_key(manifest_key: str) -> str:
    return manifest_key.removesuffix(MANIFEST_SUFFIX)


def _relative(prefix: str, key: str) -> str:
    return key.removeprefix(prefix)


def _absolute(prefix: str, key: str) -> str:
    return prefix + key


def _order(finding: Finding) -> tuple[str, str, str]:
    return format_utc(finding.window.start) if finding.window else "", finding.key or "", finding.kind.value
