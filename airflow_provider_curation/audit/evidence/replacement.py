"""Never worse: whether an export may take the place of what is there, and whether it needs to be written at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_curation.audit.errors import ShrinkError
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.window import Window

_ADVICE = "Pass allow_shrink=True to replace it all the same."


@dataclass(frozen=True)
class Plan:
    """What an export is going to write, before it has read anything.

    :param series: the instance, the stream and the format.
    :param filters: as in a manifest.
    :param personal_data: as in a manifest.
    :param expired: the server may have forgotten a part of the window.
    """

    window: Window
    series: tuple[str, str, str]
    compression: str
    filters: dict[str, list[str]]
    personal_data: dict[str, Any]
    object_lock: dict[str, Any]
    expired: bool = False

    @property
    def stream(self) -> str:
        return self.series[1]

    @property
    def treatment(self) -> tuple[Any, Any]:
        """What is left out or altered, as :attr:`StoredManifest.treatment` says it."""
        return self.filters, {name: value for name, value in self.personal_data.items() if value}


@dataclass(frozen=True)
class Present:
    """What is at a key: an object, its manifest, both or neither.

    :param size: bytes of the object; ``None`` without one.
    :param manifest_sha256: of the manifest's file, also of one that cannot be read.
    """

    uri: str
    size: int | None = None
    etag: str | None = None
    manifest: StoredManifest | None = None
    manifest_sha256: str | None = None

    @property
    def intact(self) -> bool:
        """Whether S3 holds the object that the manifest was written for, by its size and ETag."""
        if self.manifest is None or self.size is None:
            return False
        facts = self.manifest.facts
        return self.size == facts["size"] and self.etag is not None and self.etag == facts.get("etag")


def check_replacement(present: Present, plan: Plan, events: int | None = None) -> None:
    """Refuse to replace evidence by less, or by something else.

    :param events: that the new object holds; ``None`` if it is not known yet.
    :raises ShrinkError: with the reason.
    """
    before = present.manifest
    if before is None:
        # Without a manifest it is unfinished, as a killed try leaves it, and what the server still has takes its place.
        if present.size is not None and plan.expired:
            raise ShrinkError(
                f"{present.uri} exists without a manifest that can be read, and the server may have forgotten a part "
                f"of the window: nothing shows that it would not be replaced by less. {_ADVICE}"
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
    if events is not None and events < before.facts["events"]:
        raise ShrinkError(
            f"{present.uri} holds {before.facts['events']} events, and would be replaced by {events}: the server may "
            f"have forgotten the others. {_ADVICE}"
        )


def may_be_unchanged(present: Present, plan: Plan) -> bool:
    """Say whether an export could give the very object that is there, so that comparing before writing is worth it."""
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
