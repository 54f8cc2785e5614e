"""What a signature states: these files have these SHA-256 values, for this purpose (in-toto Statement, version 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from airflow_provider_curation.audit.evidence.strict_json import StrictJsonError, read_object
from airflow_provider_curation.audit.window import format_utc, to_utc

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_MOST_BYTES: Final = 1 << 20
_OURS: Final = (
    "https://github.com/airflow-provider-curation/airflow-provider-curation/blob/main/docs/explanation/evidence.md"
)


class Purpose(str, Enum):
    """What a signature is for, as the statement's predicate type; it is not valid for any other purpose."""

    MANIFEST = f"{_OURS}#manifest-v1"
    SEAL = f"{_OURS}#seal-v1"

    __str__ = str.__str__


class StatementError(ValueError):
    """Bytes that are not a statement; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Statement:
    """A statement about files of an archive.

    :param purpose: the predicate type; one that is not a :class:`Purpose` is kept as it was read.
    :param subjects: SHA-256 in hexadecimal, by path below the archive's root.
    :param signed_at: when it was signed, in UTC, by the signer's own clock.
    """

    purpose: str
    subjects: Mapping[str, str]
    signed_at: datetime

    def to_json(self) -> bytes:
        """Return the statement's bytes, over which the signature is made."""
        facts = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(self.subjects.items())],
            "predicateType": str(self.purpose),
            "predicate": {"signed_at": format_utc(self.signed_at)},
        }
        return json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Parse a statement.

        :raises StatementError: if it is not one.
        """
        try:
            facts = read_object(payload, _MOST_BYTES)
        except StrictJsonError as error:
            raise StatementError(str(error)) from None
        if facts.get("_type") != STATEMENT_TYPE:
            raise StatementError(f"it is not an in-toto Statement of version 1 ({str(facts.get('_type'))[:100]!r})")
        purpose, predicate, subject = facts.get("predicateType"), facts.get("predicate"), facts.get("subject")
        if not isinstance(purpose, str):
            raise StatementError("its predicateType is not text")
        if not isinstance(predicate, dict) or not isinstance(predicate.get("signed_at"), str):
            raise StatementError("its predicate does not have signed_at")
        if not isinstance(subject, list):
            raise StatementError("its subject is not a list")
        try:
            signed_at = to_utc(predicate["signed_at"], "signed_at")
        except ValueError as error:
            raise StatementError(str(error)) from None
        return cls(purpose, _subjects(subject), signed_at)


def _subjects(listed: list[Any]) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for each in listed:
        digest = each.get("digest") if isinstance(each, dict) else None
        name, sha256 = (each.get("name"), digest.get("sha256")) if isinstance(digest, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(sha256, str):
            raise StatementError("one of its subjects does not have a name and a SHA-256")
        if name in subjects:
            raise StatementError(f"it names {name[:200]!r} twice")
        subjects[name] = sha256
    return subjects
