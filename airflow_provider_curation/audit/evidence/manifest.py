"""The manifest: the facts of an export as data, written after the object, and read by auditors and verifications.

``manifest.schema.json`` beside this module is its JSON Schema. Its signature is a separate file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from typing import Annotated, Any, Final

import msgspec

from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.strict_json import StrictJsonError, read_object
from airflow_provider_curation.audit.treatment import PersonalData
from airflow_provider_curation.audit.window import Window

MANIFEST_VERSION: Final = 1
#: A manifest has a few kilobytes; one with thousands of policies has a few hundred.
MOST_MANIFEST_BYTES: Final = 4 << 20

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Manifest:
    """One export.

    :param start: the window's start, inclusive, in UTC.
    :param end: the window's end, exclusive.
    :param stream: ``events`` or ``dry_run``.
    :param instance: the server, as in the key.
    :param events_read: events that the server returned.
    :param events: events in the object; can be fewer than were read if ``filters`` is not empty.
    :param rows: lines (JSONL) or rows (CSV, header apart) in the object.
    :param actions: events in the object by action.
    :param package_types: events in the object by package type.
    :param policies: events in the object by the name of each policy that affected them.
    :param first_id: id of the object's first event; ``None`` if it has none. The same for its time and the last event.
    :param ids_digest: digest of the ids of the object's events, in any order, see
        :class:`airflow_provider_curation.audit.ids_digest.IdsDigest`; dry-run events count by id and policies.
    :param total_before: the server's count of the window before reading; ``None`` if it returned none.
    :param total_after: the same, after reading.
    :param reconciled: whether as many events were read as both counts say.
    :param reconciled_why: what that is based on, in words.
    :param filters: the filters, by name; empty if everything was exported.
    :param personal_data: what was altered: ``pseudonymized`` (fields), ``pseudonym_key_id``, ``csv_safe``.
    :param size: bytes of the object.
    :param sha256: of the object.
    :param etag: of the object, from S3; it changes with the object's bytes, and when the object is copied.
    :param checksum: the one that S3 computed and keeps (``algorithm``, ``type``, ``value``); ``None`` if there is none.
    :param version_id: of the object, in a bucket with versions.
    :param encryption: how S3 encrypted the object: ``algorithm``, ``kms_key_id``; empty if it did not say.
    :param object_lock: ``mode``, ``retain_until``, ``legal_hold``; empty without a lock.
    :param content_size: bytes of the uncompressed content.
    :param content_sha256: of the uncompressed content, which does not depend on the compression.
    :param writer: the library and version that the object's bytes depend on; ``None`` except for Parquet.
    :param settle_seconds: how long after the window's end reading could start.
    :param exported_at: when the object was finished.
    :param dag_run: the DAG, run, task and try that made the export.
    :param replaces: SHA-256 of the manifest that this one replaced; ``None`` for the first one.
    :param replaced: what was altered when this export replaced it: ``why``, and for the altered bytes ``size``,
        ``etag`` and where they are kept, ``version_id`` or ``kept_at``; ``None`` if nothing was altered.
    :param derived_from: the export that this file was made from (``key``, ``sha256``, ``manifest_sha256``); ``None`` if
        it was read from the server.
    """

    start: str
    end: str
    stream: str
    instance: str
    bucket: str
    key: str
    format: str
    compression: str
    events_read: _Count
    events: _Count
    rows: _Count
    actions: dict[str, _Count]
    first_id: int | None
    first_created_at: str | None
    last_id: int | None
    last_created_at: str | None
    ids_digest: str
    total_before: _Count | None
    total_after: _Count | None
    reconciled: bool
    filters: dict[str, list[str]]
    size: _Count
    sha256: _Sha256
    content_size: _Count
    content_sha256: _Sha256
    settle_seconds: _Count
    provider_version: str
    airflow_version: str
    dag_run: dict[str, Any] = field(default_factory=dict)
    manifest_version: int = MANIFEST_VERSION
    package_types: dict[str, _Count] = field(default_factory=dict)
    policies: dict[str, _Count] = field(default_factory=dict)
    reconciled_why: str = ""
    personal_data: PersonalData = field(default_factory=PersonalData)
    writer: str | None = None
    etag: str | None = None
    checksum: dict[str, str] | None = None
    version_id: str | None = None
    encryption: dict[str, str] = field(default_factory=dict)
    object_lock: dict[str, Any] = field(default_factory=dict)
    exported_at: str | None = None
    replaces: _Sha256 | None = None
    replaced: dict[str, Any] | None = None
    derived_from: dict[str, str] | None = None

    def to_json(self) -> bytes:
        """Return the manifest as indented JSON with sorted keys."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode() + b"\n"


class ManifestError(ValueError):
    """A file that is not a manifest of a version known here; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class StoredManifest:
    """A manifest that was read back: its members, the SHA-256 of the file, and its window."""

    facts: Mapping[str, Any]
    sha256: _Sha256
    window: Window

    @classmethod
    def parse(cls, body: bytes) -> StoredManifest:
        """Parse a manifest, at most 4 MiB of JSON that every reader understands in the same way.

        :raises ManifestError: if it does not have exactly a manifest's members, with values of the right types.
        """
        try:
            facts = read_object(body, MOST_MANIFEST_BYTES)
            if facts.get("manifest_version") != MANIFEST_VERSION:
                raise ManifestError(f"its manifest_version is not {MANIFEST_VERSION}")
            if unknown := sorted(set(facts) - _NAMES):
                raise ManifestError(f"it has a member that manifests do not have: {unknown[0][:100]!r}")
            msgspec.convert(facts, Manifest)
            window = Window.parse(facts["start"], facts["end"])
        except StrictJsonError as error:
            raise ManifestError(str(error)) from None
        except msgspec.ValidationError as error:
            raise ManifestError(f"it does not fit the schema: {error}") from None
        except ManifestError:
            raise
        except ValueError as error:
            raise ManifestError(str(error)) from None
        return cls(facts, hashlib.sha256(body).hexdigest(), window)

    @property
    def series(self) -> tuple[str, str, str]:
        """The instance, the stream and the format, which identify a series of exports."""
        return self.facts["instance"], self.facts["stream"], self.facts["format"]

    @property
    def treatment(self) -> tuple[Any, Any]:
        """What was left out or altered, in a form that can be compared."""
        personal = {name: value for name, value in (self.facts.get("personal_data") or {}).items() if value}
        return self.facts.get("filters") or {}, personal


_NAMES: Final = frozenset(each.name for each in fields(Manifest))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of manifests."""
    text = files("airflow_provider_curation.audit.evidence").joinpath("manifest.schema.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


def manifest_subjects(relative: str, object_sha256: str, manifest_sha256: str) -> dict[str, str]:
    """Return what a manifest's signature covers: the object and the manifest, by their paths below the root.

    :param relative: the object's key below the archive's root.
    """
    return {relative: object_sha256, Layout().manifest_key(relative): manifest_sha256}


# msgspec inspects a class when it first uses it, and crashes the process if two threads do that at once. A verification
# reads manifests in several threads, so the class is inspected here, while the import holds its lock.
msgspec.json.Decoder(Manifest)
