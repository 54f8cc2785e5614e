"""The public keys that a verifier trusts, and when each of them counts.

A key ring is a PEM file, a JSON file, or a folder of both. In a folder, each ``*.pub`` and ``*.pem`` file has one
public key, and ``keys.json`` has their dates. A JSON file on its own has the same form, with ``public_key`` in place of
``file``::

    {"keys": [{"file": "2026.pub", "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"},
              {"file": "2025.pub", "revoked_from": "2025-11-03T08:00:00Z"}]}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.keys import PublicKey
from airflow_provider_curation.audit.evidence.strict_json import StrictJsonError, read_object
from airflow_provider_curation.audit.window import to_utc

_MOST_BYTES: Final = 1 << 20
_LIST: Final = "keys.json"
_DATES: Final = ("valid_from", "valid_until", "revoked_from")
_SUFFIXES: Final = (".pub", ".pem")


@dataclass(frozen=True)
class TrustedKey:
    """A public key, and when its signatures count; all times are in UTC.

    :param name: the file or connection that it came from.
    :param valid_from: signatures with an earlier date do not count; ``None`` sets no limit.
    :param valid_until: signatures with this date or a later one do not count, because the key was replaced.
    :param revoked_from: since when others may have the key, so that dates in its signatures prove nothing; only
        signatures that are proven to be older count.
    """

    public_key: PublicKey
    name: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked_from: datetime | None = None

    def __post_init__(self) -> None:
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise InvalidArgumentError(f"{self.name}: valid_from is not before valid_until, so the key never counts.")

    def counts(self, moment: datetime) -> bool:
        """Return whether a signature made at this time, in UTC, counts."""
        return (
            (self.valid_from is None or moment >= self.valid_from)
            and (self.valid_until is None or moment < self.valid_until)
            and (self.revoked_from is None or moment < self.revoked_from)
        )


@dataclass(frozen=True)
class KeyRing:
    """Trusted keys, each once; an empty ring trusts nothing.

    :raises InvalidArgumentError: if the same key is given twice with different dates.
    """

    keys: tuple[TrustedKey, ...] = ()
    _by_id: Mapping[str, TrustedKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id: dict[str, TrustedKey] = {}
        for key in self.keys:
            known = by_id.setdefault(key.public_key.id, key)
            if any(getattr(known, name) != getattr(key, name) for name in _DATES):
                raise InvalidArgumentError(
                    f"{known.name} and {key.name} are the same key with different dates; keep one."
                )
        object.__setattr__(self, "keys", tuple(by_id.values()))
        object.__setattr__(self, "_by_id", by_id)

    def __bool__(self) -> bool:
        return bool(self.keys)

    def get(self, key_id: str) -> TrustedKey | None:
        """Return the key with an id; ``None`` if it is not trusted."""
        return self._by_id.get(key_id)

    @classmethod
    def join(cls, rings: Iterable[KeyRing]) -> KeyRing:
        """Return one ring with the keys of several rings."""
        return cls(tuple(key for ring in rings for key in ring.keys))

    @classmethod
    def of_pem(cls, pem: str | bytes, source: str) -> KeyRing:
        """Return a ring with one key that counts at any time."""
        return cls((TrustedKey(PublicKey.of_pem(pem, source), source),))

    @classmethod
    def of_text(cls, text: str | bytes, source: str) -> KeyRing:
        """Return the key ring in a JSON text, or one with a public key in PEM.

        :raises InvalidArgumentError: if it is neither.
        """
        body = text.encode() if isinstance(text, str) else text
        if body.lstrip().startswith(b"{"):
            return cls(tuple(_listed(body, source, None)))
        return cls.of_pem(body, source)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyRing:
        """Read a PEM file, a JSON file or a folder of both.

        :raises InvalidArgumentError: if it has no usable public key, or unknown content.
        """
        path = Path(path)
        if path.is_dir():
            return cls(tuple(_of_folder(path)))
        return cls.of_text(_read(path), f"file {str(path)!r}")


def _of_folder(folder: Path) -> list[TrustedKey]:
    dated = (
        list(_listed(_read(folder / _LIST), f"file {str(folder / _LIST)!r}", folder))
        if (folder / _LIST).exists()
        else []
    )
    known = {key.public_key.id for key in dated}
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES:
            public = PublicKey.of_pem(_read(path), f"file {str(path)!r}")
            if public.id not in known:
                dated.append(TrustedKey(public, path.name))
    if not dated:
        raise InvalidArgumentError(
            f"folder {str(folder)!r} holds no public key: no *.pub or *.pem file, and no {_LIST}."
        )
    return dated


def _listed(body: bytes, source: str, folder: Path | None) -> list[TrustedKey]:
    """Read the JSON form; unknown members are refused, since a misspelt date makes a key count too long."""
    try:
        facts = read_object(body, _MOST_BYTES)
    except StrictJsonError as error:
        raise InvalidArgumentError(f"{source} is not a key ring: {error}.") from None
    keys = facts.get("keys")
    if set(facts) != {"keys"} or not isinstance(keys, list) or not keys:
        raise InvalidArgumentError(f'{source} is not a key ring: it must be {{"keys": [...]}} with at least one key.')
    return [_entry(each, f"{source}, key {number}", folder) for number, each in enumerate(keys, 1)]


def _entry(facts: Any, source: str, folder: Path | None) -> TrustedKey:
    where = "public_key" if folder is None else "file"
    if not isinstance(facts, dict) or not isinstance(facts.get(where), str):
        raise InvalidArgumentError(f"{source} does not have {where}.")
    if unknown := sorted(set(facts) - {where, "name", *_DATES}):
        raise InvalidArgumentError(f"{source} has {unknown[0]!r}, which is none of {where}, name, {', '.join(_DATES)}.")
    if folder is None:
        public = PublicKey.of_pem(facts[where], source)
    else:
        if Path(facts[where]).name != facts[where]:
            raise InvalidArgumentError(f"{source}: file {facts[where]!r} is not a file's name in the folder.")
        public = PublicKey.of_pem(_read(folder / facts[where]), source)
    dates = {}
    for name in _DATES:
        if facts.get(name) is not None:
            dates[name] = to_utc(facts[name], f"{source}: {name}")
    return TrustedKey(public, str(facts.get("name") or (facts[where] if folder else source)), **dates)


def _read(path: Path) -> bytes:
    """Return a file's bytes, at most 1 MiB and one byte of them."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(
            f"{str(path)!r} cannot be read ({error.strerror}). Give a file or folder of public keys."
        ) from None
