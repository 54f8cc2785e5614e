"""Whether the manifests of an archive are signed, as far as a verification can tell with the keys that it has."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.evidence.manifest import StoredManifest, signature_fault

#: Unsigned manifests that are remembered until a signed one is seen.
_MOST_UNSIGNED = 1000


class Signatures:
    """The signatures of manifests: each is checked if there are keys, else the archive's as a whole is judged.

    :ivar signed: manifests that have a signature, whoever made it.
    :ivar checked: manifests whose signature counts.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._unsigned: list[Finding] = []
        self.signed = self.checked = 0

    def add(self, key: str, stored: StoredManifest) -> Iterator[Finding]:
        """Check the signature of a manifest, and yield what is wrong with it."""
        series, compression = self._check.series_of(stored), stored.facts.get("compression")
        has_signature = stored.facts.get("signature") is not None
        self.signed += has_signature
        if not self._check.keys:
            if not has_signature and len(self._unsigned) < _MOST_UNSIGNED:
                detail = "the manifest is not signed, but others are"
                self._unsigned.append(
                    Finding(FindingKind.UNSIGNED, detail, key, stored.window, series, str(compression))
                )
            return
        fault = signature_fault(stored.facts, self._check.keys)
        if fault is None:
            self.checked += 1
        else:
            detail = f"the manifest {fault}"
            yield Finding(FindingKind.BAD_SIGNATURE, detail, key, stored.window, series, compression)

    def conclude(self, seals: int) -> Iterator[Finding]:
        """Yield what the archive's signatures as a whole show.

        :param seals: seals that can be trusted.
        """
        if not self.signed:
            return
        if not self._check.keys:
            detail = f"{self.signed} manifests are signed, and no key was given to check them with"
            yield Finding(FindingKind.SIGNATURES_UNCHECKED, detail)
            yield from self._unsigned
        if not seals and not self._check.seal:
            detail = f"{self.signed} manifests are signed, and no seal that can be trusted is there: seals may be gone"
            yield Finding(FindingKind.NO_SEALS, detail)
