"""Checks whether the manifests of an archive are signed, as far as the key ring allows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.evidence.inspection import Inspected
from airflow_provider_curation.audit.evidence.manifest import manifest_subjects
from airflow_provider_curation.audit.evidence.signature import check_signature
from airflow_provider_curation.audit.evidence.statement import Purpose

#: How many unsigned manifests are remembered until a signed one is found.
_MOST_UNSIGNED = 1000


class Signatures:
    """The signatures of manifests; with a key ring, each is checked, otherwise only which manifests have one.

    :ivar signed: manifests that have a signature, whoever made it.
    :ivar checked: manifests whose signature counts.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._unsigned: list[Finding] = []
        self.signed = self.checked = 0

    def add(self, inspected: Inspected, proven_at: datetime | None) -> Iterator[Finding]:
        """Check the signature of a manifest, and yield what is wrong with it.

        :param proven_at: a time at which the manifest is proven to have existed.
        """
        stored, key, layout = inspected.manifest, inspected.key, self._check.layout
        assert stored is not None
        found = (key, stored.window, self._check.series_of(stored), stored.facts.get("compression"))
        self.signed += inspected.signed
        if not self._check.trust.ring:
            if not inspected.signed and len(self._unsigned) < _MOST_UNSIGNED:
                detail = "the manifest is not signed, but others are"
                self._unsigned.append(Finding(FindingKind.UNSIGNED, detail, *found))
            return
        subjects = manifest_subjects(layout.relative_key(key) or "", stored.facts["sha256"], stored.sha256)
        check = check_signature(inspected.signature, self._check.trust.ring, Purpose.MANIFEST, subjects, proven_at)
        if check.counts:
            self.checked += 1
        else:
            yield Finding(FindingKind.BAD_SIGNATURE, f"the manifest {check.detail}", *found)

    def conclude(self, seals: int, signed_seals: int) -> Iterator[Finding]:
        """Yield what the archive's signatures as a whole show.

        :param seals: seals that can be trusted.
        :param signed_seals: seals that have a signature, whoever made it.
        """
        if not self.signed and not signed_seals:
            return
        if not self._check.trust.ring:
            signed = f"{self.signed} manifests and {signed_seals} seals are signed"
            detail = f"{signed}, but no public key was given to check them with"
            yield Finding(FindingKind.SIGNATURES_UNCHECKED, detail)
            yield from self._unsigned
        if not seals and not self._check.seal:
            detail = (
                f"{self.signed} manifests are signed, but there is no trusted seal. If the archive had "
                "seals, they are gone: restore them. If it never had any, seal it (seal=True), or ignore no_seals"
            )
            yield Finding(FindingKind.NO_SEALS, detail)
