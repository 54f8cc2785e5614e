"""Compares the manifests that an archive's seals name with those that exist."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.chain import read_chain
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.listing import named_window
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.seal import (
    Seal,
    Sealed,
    entry,
    lost_seals,
    new_seal,
    seal_key,
    write_seal,
)


class SealedManifests:
    """The manifests of a period that seals name, and those that a new seal will name.

    What was sealed stays sealed: if several seals name a manifest, the first one counts.

    :ivar seals: seals that were read and can be trusted.
    :ivar signed: seals that have a signature, whoever made it.
    :ivar until: the end of the last of their periods; ``None`` without any.
    """

    def __init__(self, archive: Archive, check: Check) -> None:
        self._archive = archive
        self._check = check
        self._sealed: dict[str, Sealed] = {}
        self._proven: dict[str, datetime] = {}
        self._last: Seal | None = None
        # The existing seal of this exact period, if it is sealed again, and the number of manifests it does not name.
        self._standing: Seal | None = None
        self._unsealed = 0
        self._entries: list[dict[str, Any]] = []
        self._series: dict[Series, datetime] = {}
        self.seals = self.signed = 0
        self.until: datetime | None = None

    def read(self, now: datetime) -> Iterator[Finding]:
        """Read all seals, and yield what is wrong with them."""
        check = self._check
        noted = set(check.trust.known_seals)
        for link in read_chain(self._archive, check.layout, check.trust):
            yield from link.findings
            self.signed += link.signed
            if (seal := link.seal) is None:
                continue
            self._last = seal
            self.seals += 1
            self.until = max(self.until or seal.period.end, seal.period.end)
            noted.discard(seal.sha256)
            yield from self._add_seal(seal, link.proven_at)
        if check.seal and self._last and self._last.key == seal_key(check.layout, check.period):
            self._standing = self._last
        for sha256 in sorted(noted):
            detail = f"the seal of SHA-256 {sha256}, which was noted, is not in the chain"
            yield Finding(FindingKind.SEAL_BROKEN, detail)
        for key in lost_seals(self._archive, check.layout, now):
            # The signature that an interrupted sealing of this period left is replaced by the next one.
            if not (check.seal and key == seal_key(check.layout, check.period)):
                detail = (
                    "its signature is there, but the seal is gone: restore it. If its sealing was interrupted instead, "
                    "seal the same period again, or delete the signature"
                )
                yield Finding(FindingKind.SEAL_BROKEN, detail, key, named_window(key))

    def _add_seal(self, seal: Seal, proven_at: datetime | None) -> Iterator[Finding]:
        for sealed in seal.sealed:
            series = self._check.renamed(Series(sealed.instance, sealed.stream, sealed.format))
            self._series[series] = min(self._series.get(series, sealed.window.start), sealed.window.start)
            if not self._check.concerns(sealed.window):
                continue
            key = self._check.prefix + sealed.key
            first = self._sealed.setdefault(key, sealed)
            if first is sealed and proven_at is not None:
                self._proven[key] = proven_at
            if first.sha256 != sealed.sha256:
                detail = f"it names another manifest at {sealed.key} than an earlier seal, which counts"
                yield Finding(FindingKind.SEAL_BROKEN, detail, seal.key, sealed.window, series)

    def sha256(self, key: str) -> str | None:
        """Return the SHA-256 that a manifest had when it was sealed; ``None`` if it was not sealed."""
        sealed = self._sealed.get(key)
        return sealed and sealed.sha256

    def proven_at(self, key: str, sha256: str) -> datetime | None:
        """Return a time at which a manifest is proven to have existed; ``None`` if no trusted seal names it."""
        return self._proven.get(key) if self.sha256(key) == sha256 else None

    def series(self) -> Iterator[Series]:
        """Yield the series that were sealed before the end of the period."""
        yield from (series for series, start in self._series.items() if start < self._check.period.end)

    def add(self, key: str, stored: StoredManifest) -> Iterator[Finding]:
        """Compare a manifest with what was sealed, and yield what is wrong with it."""
        sealed, series = self._sealed.pop(key, None), self._check.series_of(stored)
        if sealed is None or sealed.sha256 == stored.sha256:
            if self._check.seal:
                self._entries.append(entry(key.removeprefix(self._check.prefix), stored))
            if sealed is None and self._standing:
                self._unsealed += 1
                detail = f"the period is sealed already, in {self._standing.key}, without this manifest"
                yield Finding(FindingKind.NOT_SEALED, detail, key, stored.window, series)
            return
        # A new seal leaves it out: a sealed manifest is not described again.
        self._unsealed += 1
        before, now = sealed.events, stored.facts["events"]
        if now < before:
            detail = f"{before - now} of the {before} events that were sealed are gone: the manifest names {now}"
        else:
            detail = f"{before} events were sealed, and the manifest names {now}"
        if sealed.object_sha256 == stored.facts["sha256"]:
            detail += ", of the very object that was sealed"
        elif sealed.sha256 == stored.facts.get("replaces"):
            detail += "; it says that it replaced the sealed one"
        else:
            detail += "; it does not say that it replaced the sealed one"
        found = (FindingKind.REPLACED_AFTER_SEALING, detail, key, stored.window, series)
        yield Finding(*found, compression=stored.facts.get("compression"), events=(before, now))

    def forget(self, key: str) -> bool:
        """Leave out a manifest that is already a finding, and return whether it was sealed."""
        return self._sealed.pop(key, None) is not None

    def missing(self) -> Iterator[Finding]:
        """Yield the sealed manifests that were not found."""
        for key, sealed in sorted(self._sealed.items()):
            series = self._check.renamed(Series(sealed.instance, sealed.stream, sealed.format))
            detail = f"the manifest was sealed with {sealed.events} events, and is gone"
            yield Finding(FindingKind.SEALED_MISSING, detail, key, sealed.window, series)

    def seal(self, now: datetime) -> Seal | None:
        """Write the period's seal, and return it; if there is one already, return it if it names everything.

        :raises InvalidArgumentError: if the period does not follow the last sealed one.
        :raises ObjectExistsError: if another verification has sealed it meanwhile.
        """
        if self._standing:
            return None if self._unsealed else self._standing
        check = self._check
        body = new_seal(check.layout, check.period, self._entries, self._last, now)
        return write_seal(self._archive, check.layout, check.period, body, now, check.signer, check.stamp)
