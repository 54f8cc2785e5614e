"""Digests: a period of an archive, sealed. Each names the manifests of its period and chains to the digest before.

Keys in a digest are relative to its prefix, so that it can be verified offline and after the objects have moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.findings import Finding, FindingKind
from airflow_provider_curation.audit.evidence.manifest import StoredManifest, sign, signature_fault
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.audit.window import Window, format_utc

DIGEST_VERSION: Final = 1
DIGEST_SUFFIX: Final = ".digest.json"
_FOLDER: Final = "_digests/"


def digest_prefix(prefix: str) -> str:
    """Return where the digests of a prefix lie."""
    folder = prefix.rstrip("/")
    return f"{folder}/{_FOLDER}" if folder else _FOLDER


def digest_key(prefix: str, period: Window) -> str:
    return f"{digest_prefix(prefix)}{period.start:%Y%m%dT%H%M%SZ}_{period.end:%Y%m%dT%H%M%SZ}{DIGEST_SUFFIX}"


class Sealed(NamedTuple):
    """What a digest says of a manifest; the key is relative to the digest's prefix."""

    key: str
    window: Window
    sha256: str
    object_sha256: str
    instance: str
    stream: str
    format: str
    events: int


@dataclass(frozen=True)
class Digest:
    """A digest as it was read back."""

    key: str
    sha256: str
    facts: dict[str, Any]

    @classmethod
    def parse(cls, key: str, body: bytes) -> Digest:
        """Read a digest.

        :raises ValueError: if it is none.
        """
        facts = json.loads(body)
        if not isinstance(facts, dict) or facts.get("digest_version") != DIGEST_VERSION:
            raise ValueError("no digest of a version that is known")
        made = cls(key, hashlib.sha256(body).hexdigest(), facts)
        _ = made.period, list(made.sealed())
        return made

    @property
    def period(self) -> Window:
        return Window.parse(self.facts["start"], self.facts["end"])

    def sealed(self) -> Iterator[Sealed]:
        """Give what it says of each manifest."""
        for each in self.facts["manifests"]:
            window = Window.parse(each["start"], each["end"])
            names = ("sha256", "object_sha256", "instance", "stream", "format")
            texts = {name: str(each[name]) for name in names}
            yield Sealed(str(each["key"]), window, **texts, events=int(each["events"]))


def entry(key: str, stored: StoredManifest) -> dict[str, Any]:
    """Return what a digest says of a manifest.

    :param key: of the manifest, relative to the digest's prefix.
    """
    names = ("start", "end", "instance", "stream", "format", "events", "size")
    return {
        "key": key,
        "sha256": stored.sha256,
        "object_sha256": stored.facts["sha256"],
        **{name: stored.facts[name] for name in names},
    }


def new_digest(
    prefix: str,
    period: Window,
    entries: Sequence[dict[str, Any]],
    previous: Digest | None,
    now: datetime,
    key: SecretKey | None = None,
) -> bytes:
    """Return a digest's bytes.

    :raises InvalidArgumentError: if the period does not follow the one that was sealed last.
    """
    if previous is not None and period.start < previous.period.end:
        raise InvalidArgumentError(
            f"{period} cannot be sealed: {previous.key} seals up to {format_utc(previous.period.end)} already, and "
            "each digest chains to the one before."
        )
    facts: dict[str, Any] = {
        "digest_version": DIGEST_VERSION,
        "prefix": prefix,
        "start": format_utc(period.start),
        "end": format_utc(period.end),
        "sealed_at": format_utc(now),
        "provider_version": __version__,
        "manifests": sorted(entries, key=lambda each: str(each["key"])),
        "events": sum(each["events"] for each in entries),
        "previous": None,
        "signature": None,
    }
    if previous is not None:
        name = previous.key.removeprefix(digest_prefix(prefix))
        facts["previous"] = {"name": name, "sha256": previous.sha256}
    if key is not None:
        facts["signature"] = sign(facts, key)
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"


def read_chain(
    archive: Archive, prefix: str, keys: Sequence[SecretKey]
) -> Iterator[tuple[Digest | None, list[Finding]]]:
    """Give a prefix's digests in order, one at a time (``None``: not to be trusted), with what is wrong with it."""
    before: Digest | None = None
    intact = True
    for listed in archive.entries(digest_prefix(prefix)):
        if not listed.key.endswith(DIGEST_SUFFIX):
            continue
        try:
            digest = Digest.parse(listed.key, archive.read(listed.key) or b"")
        except (ValueError, KeyError, TypeError) as error:
            intact = False
            yield None, [Finding(FindingKind.SEAL_BROKEN, f"it cannot be read ({type(error).__name__})", listed.key)]
            continue
        forged = signature_fault(digest.facts, keys) if keys else None
        faults = [forged] if forged else []
        named = (digest.facts.get("previous") or {}).get("sha256")
        # After one that cannot be read, the link to it cannot be checked, and is its fault alone.
        if intact and named != (before.sha256 if before else None):
            faults.append("does not chain to the digest before it, which is missing or another one")
        before, intact = digest, True
        findings = [Finding(FindingKind.SEAL_BROKEN, fault, digest.key, digest.period) for fault in faults]
        # What a digest seals counts only if its signature does.
        yield None if forged else digest, findings
