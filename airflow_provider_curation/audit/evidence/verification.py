"""Proves that nothing is missing from an archive, or names what is, from its manifests and, if necessary, its objects.

The listing is read page by page, and manifests a few at a time. Only the findings, and the time that each series
covers, stay in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.archive import Archive, Entry
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.coverage import ArchiveCoverage
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.evidence.inspection import Inspected, inspect, read_manifest
from airflow_provider_curation.audit.evidence.listing import (
    Elsewhere,
    ManifestListing,
    is_export,
    named_window,
    other_root,
    pairs,
)
from airflow_provider_curation.audit.evidence.repair import Recounts, repairs
from airflow_provider_curation.audit.evidence.report import Report, Totals
from airflow_provider_curation.audit.evidence.sealed import SealedManifests
from airflow_provider_curation.audit.evidence.trust import Signatures
from airflow_provider_curation.audit.window import format_utc


def verify(archive: Archive, check: Check, now: datetime | None = None) -> Report:
    """Verify a period of an archive.

    :param now: the verifier's clock, in UTC.
    :raises InvalidArgumentError: for a period that has not ended or cannot be sealed, or a folder inside an archive.
    :raises ObjectExistsError: if another verification has sealed it meanwhile.
    """
    return _Verification(archive, check, now or datetime.now(timezone.utc)).run()


class _Verification:
    """The steps of one verification, in order, and what they have found so far."""

    def __init__(self, archive: Archive, check: Check, now: datetime) -> None:
        self._archive = archive
        self._check = check
        self._now = now
        self._findings: list[Finding] = []
        self._ignored: list[Finding] = []
        self._pending: list[Finding] = []
        self._broken: list[tuple[FindingKind, str, str]] = []
        self._elsewhere = Elsewhere()
        self._coverage = ArchiveCoverage(check)
        self._sealed = SealedManifests(archive, check)
        self._signatures = Signatures(check)
        self._recounts = Recounts(check)
        self._totals = Totals()

    def run(self) -> Report:
        check = self._check
        self._refuse_what_cannot_be_verified()
        self._add(self._sealed.read(self._now))
        with ThreadPoolExecutor(check.workers, thread_name_prefix="curation-verify") as pool:
            for inspected in self._inspect_all(pool):
                self._take(inspected)
            self._place_broken()
            self._expect(pool)
            self._find_gaps()
            servers = self._servers()
            server = check.instance or (servers[0] if len(servers) == 1 else None)
            if check.count is not None and server is not None:
                self._totals.recounted = len(self._recounts)
                self._add(self._recounts.ask(pool, check.count))
        self._add(self._sealed.missing())
        self._add(self._signatures.conclude(self._sealed.seals, self._sealed.signed))
        findings = sorted(self._findings, key=_order)
        seal = self._sealed.seal(self._now) if check.seal and not findings and not self._pending else None
        return Report(
            prefix=check.prefix,
            period=check.period,
            clock=self._now,
            findings=findings,
            totals=self._totals,
            ignored=self._ignored,
            pending=self._pending,
            server=server,
            other_servers=[other for other in servers if other != server],
            repairs=repairs(findings, server, check.remembered, self._coverage),
            seals=self._sealed.seals,
            sealed_until=self._sealed.until,
            signed=self._signatures.signed,
            signatures_checked=self._signatures.checked,
            keys=[key.public_key.id for key in check.trust.ring.keys],
            seal=seal.key if seal else None,
            seal_sha256=seal.sha256 if seal else None,
        )

    def _refuse_what_cannot_be_verified(self) -> None:
        period, layout = self._check.period, self._check.layout
        if period.end > self._now:
            raise InvalidArgumentError(
                f"{period} cannot be verified or sealed before it has ended: it is {format_utc(self._now)} by this "
                "machine's clock. Give an end that has passed."
            )
        parts = layout.root.split("/") if layout.root else []
        for depth in range(len(parts)):
            root = "/".join(parts[:depth])
            above = type(layout)(root)
            inner = f"{above.manifests}{'/'.join(parts[depth:])}/"
            if next(iter(self._archive.entries(inner)), None) is not None:
                raise InvalidArgumentError(
                    f"{self._archive.uri(layout.prefix)} is a folder of the archive whose root is "
                    f"{self._archive.uri(above.prefix)}: verify that one, since it has the manifests and seals."
                )

    def _add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            (self._ignored if finding.kind in self._check.ignored else self._findings).append(finding)

    def _inspect_all(self, pool: ThreadPoolExecutor) -> Iterator[Inspected]:
        """Inspect the listed manifests, a few at a time, and yield the results in order."""
        check, layout = self._check, self._check.layout
        under_way: deque[Future[Inspected]] = deque()
        listed = ManifestListing(self._archive.entries(layout.manifests))
        for manifest, found in pairs(listed, self._objects(), layout):
            if manifest is None:
                assert found is not None
                if is_export(found.key) and self._must_have_manifest(found.key):
                    self._broken.append((FindingKind.MANIFEST_MISSING, found.key, "the object has no manifest"))
                continue
            window, signed = named_window(manifest.key), listed.is_signed(manifest.key)
            if window is not None and not check.concerns(window):
                self._elsewhere.add(manifest, window)
                continue
            sealed = self._sealed.sha256(manifest.key)
            under_way.append(pool.submit(inspect, self._archive, check, manifest, found, sealed, signed))
            if len(under_way) >= 4 * check.workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
        self._add_left(listed.left)

    def _must_have_manifest(self, key: str) -> bool:
        """Return whether the export of a key is finished by now, and is to be looked at."""
        window = named_window(key)
        under_way = window is not None and window.end > self._now - self._check.export_time
        return self._check.concerns(window) and not under_way

    def _add_left(self, manifest_keys: Iterable[str]) -> None:
        """Find what has nothing but a signature: exports write the object before it, so that somebody deleted both.

        Of those with an object, the object is the finding; of sealed ones, the seal tells.
        """
        layout, known = self._check.layout, {key for _, key, _ in self._broken}
        for manifest_key in manifest_keys:
            key = layout.object_key(layout.relative_key(manifest_key) or "")
            if key in known or self._sealed.sha256(manifest_key) or not self._must_have_manifest(key):
                continue
            detail = "the export's signature is there, but neither its manifest nor its object"
            self._broken.append((FindingKind.MANIFEST_MISSING, key, detail))

    def _objects(self) -> Iterator[Entry]:
        """Yield the archive's data objects, and find other archives among them."""
        layout = self._check.layout
        reserved = (layout.manifests, layout.seals, layout.quarantine, layout.reports)
        others: set[str] = set()
        for each in self._archive.entries(self._check.prefix):
            if each.key.startswith(reserved):
                continue
            root = other_root(each.key)
            if root is None:
                yield each
            elif root not in others and len(others) < _MOST_OTHERS:
                others.add(root)
                detail = "another archive's manifests or seals lie below this one's root; verify each by its own root"
                self._add([Finding(FindingKind.OTHER_ARCHIVE, detail, f"{root}/")])

    def _take(self, inspected: Inspected) -> None:
        """Count an inspected manifest, and add what is wrong with it."""
        self._totals.add_reading(inspected)
        key, stored = inspected.key, inspected.manifest
        if stored is None:
            self._broken.append((FindingKind.MANIFEST_UNREADABLE, key, inspected.unreadable or "it cannot be read"))
        elif not self._check.concerns(stored.window):
            if stored.window.start < self._check.period.end:
                self._coverage.expect(self._check.series_of(stored), stored)
        else:
            self._totals.add_manifest(stored, self._check.series_of(stored))
            self._add(self._signatures.add(inspected, self._sealed.proven_at(key, stored.sha256)))
            self._add(self._sealed.add(key, stored))
            self._add(self._faults(inspected))
            self._add(self._coverage.add(key, stored))
            self._recounts.add(key, stored)

    def _faults(self, inspected: Inspected) -> Iterator[Finding]:
        """Yield what is wrong with an object, and what its manifest itself declares."""
        assert inspected.manifest is not None
        key, stored, layout = inspected.key, inspected.manifest, self._check.layout
        facts, compression, series = stored.facts, stored.facts.get("compression"), self._check.series_of(stored)

        def finding(kind: FindingKind, detail: str, at: str = key) -> Finding:
            return Finding(kind, detail, at, stored.window, series, compression)

        if inspected.fault:
            yield finding(*inspected.fault, at=layout.object_key(layout.relative_key(key) or ""))
        if not facts["reconciled"]:
            why = facts.get("reconciled_why") or "the server's count did not confirm it"
            yield finding(FindingKind.UNRECONCILED, str(why))
        if facts["filters"]:
            yield finding(FindingKind.FILTERED, f"events were left out: {facts['filters']}")

    def _place_broken(self) -> None:
        """Add broken exports, and count the window in their keys as covered, so that each is reported only once."""
        layout = self._check.layout
        for kind, key, detail in self._broken:
            own = key.removeprefix(layout.prefix)
            manifest_key = key if kind is FindingKind.MANIFEST_UNREADABLE else layout.manifest_key(own)
            window = named_window(key)
            series = self._coverage.add_broken(manifest_key, window)
            if self._sealed.forget(manifest_key):
                detail += ", although one was sealed"
            self._add([Finding(kind, detail, key, window, series)])

    def _expect(self, pool: ThreadPoolExecutor) -> None:
        """Expect the series that were exported or sealed before the period's end, and those that the check names."""
        earlier = self._elsewhere.before(self._check.period.end)
        for stored in pool.map(lambda listed: read_manifest(self._archive, listed), earlier):
            if not isinstance(stored, str):
                self._coverage.expect(self._check.series_of(stored), stored)
        for series in self._sealed.series():
            self._coverage.expect(series)
        # Other servers may export less; a verification with their own connection knows what is expected.
        instance = self._check.instance
        self._coverage.expect_unfiltered([instance] if instance else self._servers())

    def _servers(self) -> list[str]:
        """Return the servers that have exports or should have, in order; one with an empty name if none is known."""
        servers = self._coverage.instances()
        if self._check.instance:
            servers.add(self._check.instance)
        return sorted(servers or {""})

    def _find_gaps(self) -> None:
        period = self._check.period
        if not self._totals.manifests:
            detail = "there is no export that can be read of this period"
            self._findings.append(Finding(FindingKind.NO_EXPORTS, detail, window=period))
        for gap, pending in self._coverage.gaps(self._now):
            if pending:
                self._pending.append(gap)
            else:
                self._add([gap])


#: How many other archives below the root are named.
_MOST_OTHERS = 100


def _order(finding: Finding) -> tuple[bool, str, str, str]:
    """Sort by time, with lost sealed events first."""
    start = format_utc(finding.window.start) if finding.window else ""
    return not finding.lost_events, start, finding.key or "", finding.kind.value
