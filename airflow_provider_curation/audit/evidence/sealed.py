"""What the seals of an archive name, compared with the manifests that are there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_provider_curation.audit.errors import ObjectExistsError
from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind, Series
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.seal import Digest, Sealed, digest_key, entry, new_digest, read_chain


class SealedManifests:
    """The manifests of a period that seals name, and those that a new seal will."""

    def __init__(self, archive: Archive, check: Check) -> None:
        self._archive = archive
        self._check = check
        self._sealed: dict[str, Sealed] = {}
        self._last: Digest | None = None
        # The seal of the very period, if it is to be sealed again, and the number of manifests that it does not name.
        self._standing: Digest | None = None
        self._unsealed = 0
        self._entries: list[dict[str, Any]] = []

    def read(self) -> Iterator[Finding]:
        """Read all seals, and yield what is wrong with them."""
        check = self._check
        noted = set(check.known_digests)
        for seal, findings in read_chain(self._archive, check.prefix, check.keys):
            yield from findings
            if seal is None:
                continue
            self._last = seal
            noted.discard(seal.sha256)
            for sealed in seal.sealed():
                if check.concerns(sealed.window):
                    self._sealed[check.prefix + sealed.key] = sealed
        if check.seal and self._last and self._last.key == digest_key(check.prefix, check.period):
            self._standing = self._last
        for sha256 in sorted(noted):
            yield Finding(
                FindingKind.SEAL_BROKEN, f"the seal of SHA-256 {sha256}, which was noted, is not in the chain"
            )

    def add(self, key: str, stored: StoredManifest) -> Iterator[Finding]:
        """Compare a manifest with what was sealed, and yield what is wrong with it."""
        if self._check.seal:
            self._entries.append(entry(key.removeprefix(self._check.prefix), stored))
        sealed, series = self._sealed.pop(key, None), Series(*stored.series)
        # A rewrite is sound if it names the manifest it replaced, or is of the very object that was sealed.
        if sealed and (sealed.sha256 == stored.sha256 or sealed.object_sha256 == stored.facts["sha256"]):
            return
        if sealed is None or sealed.sha256 == stored.facts.get("replaces"):
            if self._standing:
                self._unsealed += 1
                detail = f"the period is sealed already, in {self._standing.key}, without this manifest"
                yield Finding(FindingKind.NOT_SEALED, detail, key, stored.window, series)
            return
        detail = "manifest and object differ from what was sealed, and the manifest does not name that as replaced"
        yield Finding(FindingKind.SEALED_CHANGED, detail, key, stored.window, series)

    def forget(self, key: str) -> bool:
        """Leave a manifest out that is a finding already, and return whether it was sealed."""
        return self._sealed.pop(key, None) is not None

    def missing(self) -> Iterator[Finding]:
        """Yield the sealed manifests that were not found."""
        for key in sorted(self._sealed):
            yield Finding(FindingKind.SEALED_MISSING, "the manifest was sealed, and is gone", key)

    def seal(self, now: datetime) -> Digest | None:
        """Write the seal of the period, and return it; one that is there already is returned if it names everything.

        :raises InvalidArgumentError: if the period does not follow the one that was sealed last.
        :raises ObjectExistsError: if another verification sealed it meanwhile.
        """
        if self._standing:
            return None if self._unsealed else self._standing
        check = self._check
        key = digest_key(check.prefix, check.period)
        signing = check.keys[0] if check.keys else None
        body = new_digest(check.prefix, check.period, self._entries, self._last, now, signing)
        if not self._archive.put_new(key, body):
            raise ObjectExistsError(
                f"{self._archive.uri(key)} was written by another verification meanwhile, and is kept. Verify again."
            )
        return Digest.parse(key, body)
