"""Proves that nothing is missing from an archive, or names what is: from its manifests, and if asked its objects.

The listing is read page by page, and manifests a few at a time: what stays in memory are findings, and the time that
each series covers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.coverage import ArchiveCoverage
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.inspection import Inspected, inspect
from airflow_provider_curation.audit.evidence.listing import is_export, named_window, pairs
from airflow_provider_curation.audit.evidence.manifest import signature_fault
from airflow_provider_curation.audit.evidence.mending import Recounts, mends
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.seal import digest_prefix
from airflow_provider_curation.audit.evidence.sealed import SealedManifests
from airflow_provider_curation.audit.window import Window, format_utc


def verify(archive: Archive, check: Check, now: datetime | None = None) -> Report:
    """Verify a period of an archive.

    :raises InvalidArgumentError: for a period that cannot be sealed.
    :raises ObjectExistsError: if another verification sealed it meanwhile.
    """
    return _Verification(archive, check, now or datetime.now(timezone.utc)).run()


class _Verification:
    """The steps of one verification, in order, and what they found so far."""

    def __init__(self, archive: Archive, check: Check, now: datetime) -> None:
        self._archive = archive
        self._check = check
        self._now = now
        self._findings: list[Finding] = []
        self._broken: list[tuple[FindingKind, str, str]] = []
        self._coverage = ArchiveCoverage()
        self._sealed = SealedManifests(archive, check)
        self._recounts = Recounts(check)
        self._manifests = self._events = self._objects = self._bytes = 0

    def run(self) -> Report:
        check = self._check
        if check.seal and check.period.end > self._now:
            raise InvalidArgumentError(f"{check.period} cannot be sealed before it has ended.")
        self._add(self._sealed.read())
        with ThreadPoolExecutor(check.workers, thread_name_prefix="curation-verify") as pool:
            for inspected in self._inspect_all(pool):
                self._take(inspected)
            self._place_broken()
            servers = self._servers()
            self._find_gaps(servers)
            server = check.instance or (servers[0] if len(servers) == 1 else None)
            recounted = 0
            if check.count is not None and server is not None:
                recounted = len(self._recounts)
                self._add(self._recounts.ask(pool, check.count))
        self._add(self._sealed.missing())
        findings = sorted(self._findings, key=_order)
        seal = self._sealed.seal(self._now) if check.seal and not findings else None
        return Report(
            prefix=check.prefix,
            period=check.period,
            findings=findings,
            manifests=self._manifests,
            events=self._events,
            objects_read=self._objects,
            bytes_read=self._bytes,
            recounted=recounted,
            server=server,
            other_servers=[other for other in servers if other != server],
            mends=mends(findings, server, check.remembered, self._coverage),
            seal=seal.key if seal else None,
            seal_sha256=seal.sha256 if seal else None,
        )

    def _add(self, findings: Iterable[Finding]) -> None:
        self._findings += (finding for finding in findings if finding.kind not in self._check.ignored)

    def _inspect_all(self, pool: ThreadPoolExecutor) -> Iterator[Inspected]:
        """Inspect what is listed, a few at a time, and yield it in order."""
        check = self._check
        under_way: deque[Future[Inspected]] = deque()
        layout = check.layout
        reserved = (layout.manifests, layout.quarantine, digest_prefix(check.prefix))
        objects = (each for each in self._archive.entries(check.prefix) if not each.key.startswith(reserved))
        for manifest, found in pairs(self._archive.entries(layout.manifests), objects, layout):
            if manifest is None:
                assert found is not None
                if is_export(found.key) and check.concerns(named_window(found.key)):
                    self._broken.append((FindingKind.MANIFEST_MISSING, found.key, "the object has no manifest"))
                continue
            if not check.concerns(named_window(manifest.key)):
                continue
            under_way.append(pool.submit(inspect, self._archive, check, manifest.key, found))
            if len(under_way) >= 4 * check.workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _take(self, inspected: Inspected) -> None:
        """Count in what was seen of a manifest, and add what is wrong with it."""
        if inspected.bytes_read is not None:
            self._objects += 1
            self._bytes += inspected.bytes_read
        if inspected.unreadable is not None:
            self._broken.append((FindingKind.MANIFEST_UNREADABLE, inspected.key, inspected.unreadable))
        elif inspected.manifest is not None:
            key, stored = inspected.key, inspected.manifest
            self._manifests += 1
            self._events += stored.facts["events"]
            self._add(self._sealed.add(key, stored))
            self._add(self._faults(inspected))
            filtered = bool(stored.facts["filters"]) and FindingKind.FILTERED in self._check.ignored
            series = Series(*stored.series)
            for part, others in self._coverage.add(key, stored, filtered):
                self._add([Finding(FindingKind.OVERLAP, f"it is covered by {others} too", key, part, series)])
            self._recounts.add(key, stored)

    def _faults(self, inspected: Inspected) -> Iterator[Finding]:
        """Yield what is wrong with a manifest and its object."""
        assert inspected.manifest is not None
        key, stored = inspected.key, inspected.manifest
        facts, compression, layout = stored.facts, stored.facts.get("compression"), self._check.layout

        def finding(kind: FindingKind, detail: str, at: str = key) -> Finding:
            return Finding(kind, detail, at, stored.window, Series(*stored.series), compression)

        if self._check.keys and (fault := signature_fault(facts, self._check.keys)):
            yield finding(FindingKind.BAD_SIGNATURE, f"the manifest {fault}")
        if inspected.fault:
            yield finding(*inspected.fault, at=layout.object_key(layout.relative_key(key) or ""))
        if not facts["reconciled"]:
            why = facts.get("reconciled_why") or "the server's count did not confirm it"
            yield finding(FindingKind.UNRECONCILED, why)
        if facts["filters"]:
            yield finding(FindingKind.FILTERED, f"events were left out: {facts['filters']}")

    def _place_broken(self) -> None:
        """Name what is broken, and count its time as covered where its key tells it, so that it is found once."""
        layout = self._check.layout
        for kind, key, detail in self._broken:
            own = key.removeprefix(layout.prefix)
            manifest_key = key if kind is FindingKind.MANIFEST_UNREADABLE else layout.manifest_key(own)
            window = named_window(key)
            series = self._coverage.add_broken(manifest_key, window)
            if self._sealed.forget(manifest_key):
                detail += ", although one was sealed"
            self._add([Finding(kind, detail, key, window, series)])

    def _servers(self) -> list[str]:
        """Return whose exports there are or should be, in order; a nameless one if nobody is known."""
        servers = self._coverage.instances()
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
                self._coverage.expect(Series(server, stream, form))
        if not len(self._coverage):
            self._add([Finding(FindingKind.GAP, "there is no export at all", window=period)])
        for series, seen in self._coverage:
            for gap in seen.covered.gaps(period):
                detail = "no export covers it"
                self._add([Finding(FindingKind.GAP, detail, None, gap, series, seen.usual_compression)])


def _order(finding: Finding) -> tuple[str, str, str]:
    return format_utc(finding.window.start) if finding.window else "", finding.key or "", finding.kind.value
