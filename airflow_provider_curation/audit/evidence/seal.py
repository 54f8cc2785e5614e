"""Seals: each one closes a period of an archive, and names the period's manifests and the seal before it.

Keys in a seal are relative to the archive's root, so it can be verified offline and after the objects have moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.errors import InvalidArgumentError, ObjectExistsError
from airflow_provider_curation.audit.evidence.archive import MOST_SEAL_BYTES, Archive, TooLargeError
from airflow_provider_curation.audit.evidence.dsse import MOST_ENVELOPE_BYTES, Envelope, EnvelopeError, Signer
from airflow_provider_curation.audit.evidence.layout import MANIFEST_SUFFIX, SIGNATURE_SUFFIX, Layout
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.signature import sign
from airflow_provider_curation.audit.evidence.statement import Purpose, Statement, StatementError
from airflow_provider_curation.audit.evidence.strict_json import StrictJsonError, read_object
from airflow_provider_curation.audit.evidence.timestamp import STAMP_SUFFIX
from airflow_provider_curation.audit.window import Window, format_utc

SEAL_VERSION: Final = 1
#: A signature without a seal belongs to a sealing in progress; an older one was left by an interrupted sealing.
_MOST_SEALING: Final = timedelta(minutes=15)
_TEXTS: Final = ("key", "sha256", "object_sha256", "instance", "stream", "format", "start", "end")

#: Returns a time stamp on some bytes.
Stamp = Callable[[bytes], bytes]


class SealError(ValueError):
    """A file that is not a seal; the message says why, as the end of a sentence."""


class Sealed(NamedTuple):
    """What a seal states about a manifest; the key is relative to the archive's root."""

    key: str
    window: Window
    sha256: str
    object_sha256: str
    instance: str
    stream: str
    format: str
    events: int


@dataclass(frozen=True)
class Seal:
    """A seal that was read back.

    :param key: in the archive's store.
    :param sha256: of the file.
    :param sealed: what it states about each manifest.
    """

    key: str
    sha256: str
    facts: Mapping[str, Any]
    period: Window
    sealed: Sequence[Sealed]

    @classmethod
    def parse(cls, key: str, body: bytes) -> Seal:
        """Parse a seal.

        :raises SealError: if it is not one.
        """
        try:
            facts = read_object(body, MOST_SEAL_BYTES)
            if facts.get("seal_version") != SEAL_VERSION:
                raise SealError(f"its seal_version is not {SEAL_VERSION}")
            period = Window.parse(_text(facts, "start"), _text(facts, "end"))
            sealed = tuple(map(_sealed, _list(facts, "manifests")))
            previous = facts.get("previous")
            if previous is not None:
                if not isinstance(previous, dict):
                    raise SealError("its previous is not an object")
                _text(previous, "key"), _text(previous, "sha256")
        except StrictJsonError as error:
            raise SealError(str(error)) from None
        except SealError:
            raise
        except ValueError as error:
            raise SealError(str(error)) from None
        return cls(key, hashlib.sha256(body).hexdigest(), facts, period, sealed)

    @property
    def previous_sha256(self) -> str | None:
        """The SHA-256 of the seal before; ``None`` for the first one."""
        previous = self.facts.get("previous")
        return str(previous["sha256"]) if previous else None


def _sealed(facts: Any) -> Sealed:
    if not isinstance(facts, dict):
        raise SealError("one of its manifests is not an object")
    texts = {name: _text(facts, name) for name in _TEXTS}
    events = facts.get("events")
    if not isinstance(events, int) or isinstance(events, bool) or events < 0:
        raise SealError("the events of one of its manifests are not a count")
    window = Window.parse(texts.pop("start"), texts.pop("end"))
    return Sealed(window=window, events=events, **texts)


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str):
        raise SealError(f"its {name} is missing or not text")
    return value


def _list(facts: Mapping[str, Any], name: str) -> list[Any]:
    value = facts.get(name)
    if not isinstance(value, list):
        raise SealError(f"its {name} is missing or not a list")
    return value


def seal_key(layout: Layout, period: Window) -> str:
    """Return the key of a period's seal."""
    return f"{layout.seals}{period.start:%Y%m%dT%H%M%SZ}_{period.end:%Y%m%dT%H%M%SZ}{MANIFEST_SUFFIX}"


def seal_subjects(layout: Layout, key: str, sha256: str) -> dict[str, str]:
    """Return what a seal's signature covers: the seal, by its path below the root."""
    return {key.removeprefix(layout.prefix): sha256}


def entry(key: str, stored: StoredManifest) -> dict[str, Any]:
    """Return what a seal states about a manifest.

    :param key: of the manifest, relative to the archive's root.
    """
    names = ("start", "end", "instance", "stream", "format", "events", "size")
    return {
        "key": key,
        "sha256": stored.sha256,
        "object_sha256": stored.facts["sha256"],
        **{name: stored.facts[name] for name in names},
    }


def new_seal(
    layout: Layout, period: Window, entries: Sequence[dict[str, Any]], previous: Seal | None, now: datetime
) -> bytes:
    """Return a seal's bytes.

    :param previous: the seal before; ``None`` for the first one.
    :raises InvalidArgumentError: if the period does not follow the one that was sealed last.
    """
    if previous is not None and period.start < previous.period.end:
        raise InvalidArgumentError(
            f"{period} cannot be sealed: {previous.key} already seals up to {format_utc(previous.period.end)}, and "
            "each seal chains to the one before."
        )
    facts: dict[str, Any] = {
        "seal_version": SEAL_VERSION,
        "root": layout.root,
        "start": format_utc(period.start),
        "end": format_utc(period.end),
        "sealed_at": format_utc(now),
        "provider_version": __version__,
        "manifests": sorted(entries, key=lambda each: str(each["key"])),
        "events": sum(each["events"] for each in entries),
        "previous": None,
    }
    if previous is not None:
        facts["previous"] = {"key": previous.key.removeprefix(layout.prefix), "sha256": previous.sha256}
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"


def write_seal(
    archive: Archive,
    layout: Layout,
    period: Window,
    body: bytes,
    now: datetime,
    signer: Signer | None = None,
    stamp: Stamp | None = None,
) -> Seal:
    """Write a seal: its signature first, its time stamp last.

    Both are obtained before anything is written. If two verifications seal at the same time, the one that writes the
    signature continues, so the signature always belongs to the seal beside it.

    :raises ObjectExistsError: if another verification seals the period.
    """
    key = seal_key(layout, period)
    seal = Seal.parse(key, body)
    signature = sign(Purpose.SEAL, seal_subjects(layout, key, seal.sha256), signer, now) if signer else None
    stamped, stamped_key = (body, key) if signature is None else (signature, key + SIGNATURE_SUFFIX)
    token = stamp(stamped) if stamp else None
    if signature is not None and not archive.put_new(key + SIGNATURE_SUFFIX, signature):
        _take_over(archive, key, signature, now)
    if not archive.put_new(key, body):
        raise ObjectExistsError(
            f"Another verification has written {archive.uri(key)} meanwhile, and it is kept. Verify again."
        )
    if token is not None:
        archive.put(stamped_key + STAMP_SUFFIX, token)
    return seal


def _take_over(archive: Archive, key: str, signature: bytes, now: datetime) -> None:
    """Replace the signature of a sealing that was interrupted before it wrote its seal."""
    sealed = archive.read(key, MOST_SEAL_BYTES) is not None
    if sealed or _may_be_under_way(archive, key, now):
        raise ObjectExistsError(
            f"Another verification is sealing {archive.uri(key)}, and its signature is kept. Verify again in "
            f"{_MOST_SEALING.total_seconds() / 60:.0f} minutes."
        )
    archive.put(key + SIGNATURE_SUFFIX, signature)


def lost_seals(archive: Archive, layout: Layout, now: datetime) -> Iterator[str]:
    """Yield the keys of seals of which only the signature is there, unless their sealing may be under way."""
    keys, listed = list_seals(archive, layout)
    for name in sorted(listed.difference(keys)):
        key = name.removesuffix(SIGNATURE_SUFFIX)
        if key != name and key not in listed and not _may_be_under_way(archive, key, now):
            yield key


def _may_be_under_way(archive: Archive, key: str, now: datetime) -> bool:
    """Return whether a seal's signature is so young that its seal may follow."""
    try:
        left = archive.read(key + SIGNATURE_SUFFIX, MOST_ENVELOPE_BYTES)
    except TooLargeError:
        return False
    return left is not None and now - _signed_at(left, now - 2 * _MOST_SEALING) < _MOST_SEALING


def _signed_at(signature: bytes, otherwise: datetime) -> datetime:
    try:
        return Statement.parse(Envelope.parse(signature).payload).signed_at
    except (EnvelopeError, StatementError):
        return otherwise


def list_seals(archive: Archive, layout: Layout) -> tuple[list[str], frozenset[str]]:
    """Return the keys of an archive's seals in order of time, and the keys of all files in their folder."""
    keys = [listed.key for listed in archive.entries(layout.seals)]
    return [key for key in keys if key.endswith(MANIFEST_SUFFIX)], frozenset(keys)


def read_seal(archive: Archive, key: str) -> Seal:
    """Return a stored seal.

    :raises SealError: if it is gone or cannot be read; it raises nothing else because of the content.
    """
    try:
        body = archive.read(key, MOST_SEAL_BYTES)
    except TooLargeError as error:
        raise SealError(str(error)) from None
    if body is None:
        raise SealError("it was listed, but is gone")
    return Seal.parse(key, body)
