"""Never worse: decides whether an export may replace the existing one, and whether it needs to be written at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_curation.audit.errors import ShrinkError
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.treatment import PersonalData
from airflow_provider_curation.audit.window import Window

_ADVICE: Final = "Pass allow_shrink=True to replace it anyway."
#: With at most this many additional ids, digests show whether all of the earlier ones are among them.
_SHOWN: Final = 2


@dataclass(frozen=True)
class Plan:
    """What an export will write, before it has read anything.

    :param series: the instance, the stream and the format.
    :param filters: as in a manifest.
    :param personal_data: as in a manifest.
    :param expired: whether the server may have forgotten a part of the window.
    """

    window: Window
    series: tuple[str, str, str]
    compression: str
    filters: dict[str, list[str]]
    personal_data: PersonalData
    object_lock: dict[str, Any]
    expired: bool = False

    @property
    def stream(self) -> str:
        return self.series[1]

    @property
    def treatment(self) -> tuple[Any, Any]:
        """What will be left out or altered, in the form of :attr:`StoredManifest.treatment`."""
        return self.filters, {name: value for name, value in self.personal_data.items() if value}


@dataclass(frozen=True)
class Held:
    """The contents of a new object.

    :param actions: its events by action.
    :param package_types: its events by package type.
    :param ids: the digest of its events' ids.
    """

    events: int
    actions: Mapping[str, int]
    package_types: Mapping[str, int]
    ids: IdsDigest


@dataclass(frozen=True)
class Present:
    """What exists at a key: an object, its manifest, both or neither.

    :param size: bytes of the object; ``None`` if there is none.
    :param sha256: of the object's bytes; ``None`` if they were not read.
    :param manifest_sha256: of the manifest's file, even if it cannot be read.
    """

    uri: str
    size: int | None = None
    etag: str | None = None
    sha256: str | None = None
    manifest: StoredManifest | None = None
    manifest_sha256: str | None = None

    @property
    def intact(self) -> bool:
        """Whether S3 has the manifest's object: by its size and ETag, and by its SHA-256 if it was read."""
        if self.manifest is None or self.size is None:
            return False
        facts = self.manifest.facts
        alike = self.size == facts["size"] and self.etag is not None and self.etag == facts.get("etag")
        return alike and self.sha256 in (None, facts["sha256"])


def check_replacement(present: Present, plan: Plan, held: Held | None = None) -> None:
    """Refuse to replace evidence with less, or with something else.

    The older object is not read. Its manifest's number of events, overall and by action and package type, and the
    digest of their ids show whether the new object can contain all of its events.

    :param held: the contents of the new object; ``None`` if they are not known yet.
    :raises ShrinkError: with the reason.
    """
    before = present.manifest
    if before is None:
        # Without a manifest, the object is unfinished, as after a killed try, and this export replaces it.
        if present.size is not None and plan.expired:
            raise ShrinkError(
                f"{present.uri} exists without a manifest that can be read, and the server may have forgotten a part "
                f"of the window: this export could have fewer events. {_ADVICE}"
            )
        return
    if before.window != plan.window:
        raise ShrinkError(
            f"{present.uri} holds another window ({before.window}), and would be replaced by {plan.window}. Put "
            f"{{start}} and {{end}} into s3_key. {_ADVICE}"
        )
    if before.series != plan.series:
        raise ShrinkError(
            f"{present.uri} holds {' '.join(before.series)}, and would be replaced by {' '.join(plan.series)}. Put "
            f"{{instance}}, {{stream}} and {{suffix}} into s3_key. {_ADVICE}"
        )
    if before.treatment != plan.treatment:
        raise ShrinkError(
            f"{present.uri} was exported with {_said(before.treatment)}, and would be replaced by an export of the "
            f"same window with {_said(plan.treatment)}. Write it to another key. {_ADVICE}"
        )
    if held is not None:
        _check_held(present.uri, before.facts, held, plan.expired)


def _check_held(uri: str, before: Mapping[str, Any], held: Held, expired: bool) -> None:
    """Refuse a new object that lacks events of the older one, as far as the older one's manifest shows that."""
    events = before["events"]
    if held.events < events:
        raise ShrinkError(
            f"{uri} holds {events} events, and would be replaced by {held.events}: the server may have forgotten the "
            f"others. {_ADVICE}"
        )
    for names, now in (("actions", held.actions), ("package_types", held.package_types)):
        for name, count in _counts(before.get(names)).items():
            if now.get(name, 0) < count:
                raise ShrinkError(
                    f"{uri} holds {count} events with {name!r} in {names}, and would be replaced by {events} events of "
                    f"which {now.get(name, 0)} have it: events that were exported are gone from the server. {_ADVICE}"
                )
    ids = _digest(before.get("ids_digest"))
    if ids is not None and not held.ids.may_hold_all_of(ids):
        raise ShrinkError(
            f"{uri} holds {events} events, and would be replaced by {held.events} others: by their ids, events that "
            f"were exported are gone from the server, and late ones make up for their number. {_ADVICE}"
        )
    if expired and (ids is None or held.events - events > _SHOWN):
        raise ShrinkError(
            f"{uri} holds {events} events, and would be replaced by {held.events}. The server may have forgotten a "
            f"part of the window, and with more than {_SHOWN} late events the manifest cannot show that all events "
            f"that were exported are among them. {_ADVICE}"
        )


def _counts(value: Any) -> Mapping[str, int]:
    """Return the counts in a manifest, ignoring values that are not counts."""
    return {name: count for name, count in value.items() if type(count) is int} if isinstance(value, dict) else {}


def _digest(value: Any) -> IdsDigest | None:
    try:
        return IdsDigest.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def may_be_unchanged(present: Present, plan: Plan) -> bool:
    """Return whether an export could produce exactly the existing object, so that comparing first makes sense."""
    before = present.manifest
    return (
        before is not None
        and present.intact
        and before.facts["reconciled"]
        and before.window == plan.window
        and before.series == plan.series
        and before.treatment == plan.treatment
        and before.facts.get("compression") == plan.compression
        and (before.facts.get("object_lock") or {}) == plan.object_lock
    )


def _said(treatment: tuple[Any, Any]) -> str:
    filters, personal = treatment
    said = [f"filters {filters}"] if filters else []
    if personal.get("pseudonymized"):
        fields = ", ".join(personal["pseudonymized"])
        said.append(f"{fields} pseudonymized with key {personal.get('pseudonym_key_id')}")
    if personal.get("csv_safe"):
        said.append("csv_safe")
    return " and ".join(said) or "nothing left out or altered"
