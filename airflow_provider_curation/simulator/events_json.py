"""Events as JSON: one template a package, filled by ``%``, so that a page costs no encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

from airflow_provider_curation.simulator.dataset import Dataset, Facts
from airflow_provider_curation.simulator.settings import EventShape, JsonLayout, JsonText
from airflow_provider_curation.simulator.store import Inserted, Piece
from airflow_provider_curation.simulator.vocabulary import DRY_RUN_POLICIES, EVENT_ORIGIN, ORIGIN_SERVER, PackageKind

_HOUR: Final = 3600
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CLOCK: Final = tuple(f"{minute:02}:{second:02}Z" for minute in range(60) for second in range(60))
_GO_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_GO_PATTERN: Final = re.compile("[<>&\u2028\u2029]")

#: Stand-ins for what differs between events of one kind, to be found again in the encoded template.
_SLOT: Final = "@{}@"


def stamp(second: int) -> str:
    """A time (seconds since the epoch) as the endpoint writes it: RFC 3339, UTC, whole seconds."""
    hour = second // _HOUR
    return _hour_prefix(hour) + _CLOCK[second - hour * _HOUR]


@lru_cache(maxsize=100_000)
def _hour_prefix(hour: int) -> str:
    return (_EPOCH + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:")


def narrow(text: str) -> str:
    """The UTF-8 bytes of a text, each as one character: such strings are joined twice as fast as wide ones."""
    return text.encode().decode("latin-1")


def to_bytes(text: str) -> bytes:
    """The bytes of a narrow text."""
    return text.encode("latin-1")


def encoder(text: JsonText, indent: int | None) -> Callable[[Any], str]:
    """A function that writes any value as JSON in the given form."""
    separators = (",", ":") if indent is None else (",", ": ")
    plain = json.JSONEncoder(ensure_ascii=text is JsonText.ASCII, indent=indent, separators=separators).encode
    if text is not JsonText.GO:
        return plain
    return lambda value: _GO_PATTERN.sub(lambda found: _GO_ESCAPES[found[0]], plain(value))


class EventObjects:
    """Events as the plain objects that JSON describes: the reference for every other form."""

    def __init__(self, dataset: Dataset, shape: EventShape) -> None:
        self._dataset = dataset
        self._shape = shape
        self.policies = [self._shaped(outcome.policies) for outcome in dataset.vocabulary.outcomes]
        self.dry_run_policies = [self._shaped((policy,)) for policy in DRY_RUN_POLICIES]

    def rows(self, piece: Piece, dry_run: bool) -> list[dict[str, Any]]:
        """The rows of a piece, as new dicts."""
        if isinstance(piece, Inserted):
            return [self.inserted(piece)]
        return [self._row(facts, policies) for facts, policies in self.facts_of(piece.first, piece.stop, dry_run)]

    def facts_of(self, first: int, stop: int, dry_run: bool) -> Iterable[tuple[Facts, int | None]]:
        """The facts of neighbouring rows, in the dry-run stream each with the index of its policy."""
        if not dry_run:
            return [(facts, None) for facts in self._dataset.facts(first, stop)]
        dataset = self._dataset
        low, high = dataset.event_of_dry_row(first), dataset.event_of_dry_row(stop - 1) + 1
        rows = [
            (facts, (facts.dry_run_policy + number) % len(DRY_RUN_POLICIES))
            for facts in dataset.facts(low, high)
            for number in range(dataset.dry_rows_of(facts.place))
        ]
        skipped = first - dataset.dry_rows_before(low)
        return rows[skipped : skipped + stop - first]

    def template(self, kind: PackageKind) -> dict[str, Any]:
        """An event with slots for what its kind does not decide."""
        event: dict[str, Any] = {
            "id": _SLOT.format("id"),
            "created_at": _SLOT.format("created_at"),
            "action": _SLOT.format("action"),
            "package_type": kind.package_type,
            "package_name": kind.package_name,
            "package_version": _SLOT.format("package_version"),
            "package_url": _SLOT.format("package_url"),
            "reason": _SLOT.format("reason"),
            "event_origin": EVENT_ORIGIN,
            "curated_repository_server_name": "",
            "curated_repository_name": kind.repository,
            "curated_project": kind.project,
            "username": _SLOT.format("username"),
            "user_mail": _SLOT.format("user_mail"),
            "origin_repository_server_name": ORIGIN_SERVER,
            "origin_repository_name": kind.repository,
            "origin_project": kind.project,
            "public_repo_url": kind.public_repo_url,
            "public_repo_name": kind.public_repo_name,
        }
        if self._shape is EventShape.Y2023:
            del event["event_origin"]
        if self._shape is EventShape.NEWER:
            event |= {"ecosystem": "", "ondemand": False}
        return event | {"policies": _SLOT.format("policies")}

    def inserted(self, event: Inserted) -> dict[str, Any]:
        """An inserted event: the ordinary fields, then what it says of itself."""
        kind = self._dataset.vocabulary.kinds[0]
        filled = {
            "id": event.id,
            "created_at": stamp(event.second),
            "action": "approved",
            "package_version": "1.0.0",
            "package_url": kind.url.replace("{version}", "1.0.0"),
            "reason": "No policy violations",
            "username": "late@acme.example",
            "user_mail": "late@acme.example",
            "policies": self.dry_run_policies[0] if event.dry_run else None,
        }
        return self.template(kind) | filled | dict(event.fields)

    def _row(self, facts: Facts, dry_run_policy: int | None) -> dict[str, Any]:
        vocabulary = self._dataset.vocabulary
        kind, outcome = vocabulary.kinds[facts.kind], vocabulary.outcomes[facts.outcome]
        version = vocabulary.versions[facts.version]
        username, mail = vocabulary.users[facts.user]
        policies = self.policies[facts.outcome] if dry_run_policy is None else self.dry_run_policies[dry_run_policy]
        return self.template(kind) | {
            "id": facts.id,
            "created_at": stamp(facts.second),
            "action": outcome.action,
            "package_version": version,
            "package_url": kind.url.replace("{version}", version) if outcome.reason else "",
            "reason": outcome.reason,
            "username": username,
            "user_mail": mail,
            "policies": [dict(policy) for policy in policies] or None,
        }

    def _shaped(self, policies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        dropped = ("result", "policy_reason") if self._shape is EventShape.Y2023 else ()
        return [{key: value for key, value in policy.items() if key not in dropped} for policy in policies]


class JsonEvents:
    """Rows as JSON, one narrow text an event, quickly."""

    def __init__(self, dataset: Dataset, objects: EventObjects, layout: JsonLayout, text: JsonText) -> None:
        self._dataset = dataset
        self._objects = objects
        self._pretty = layout is JsonLayout.PRETTY
        self._encode = encoder(text, 1 if self._pretty else None)
        self._templates: list[tuple[str, str] | None] = [None] * len(dataset.vocabulary.kinds)
        self._policies = [self._value(policies or None, 3) for policies in objects.policies]
        self._dry_run_policies = [self._value(policies, 3) for policies in objects.dry_run_policies]
        self._users = [tuple(self._text(part) for part in user) for user in dataset.vocabulary.users]
        self._outcomes = [(self._text(outcome.action), outcome.reason) for outcome in dataset.vocabulary.outcomes]

    def lines(self, piece: Piece, dry_run: bool) -> list[str]:
        """The JSON of each row of a piece, without what stands between two rows."""
        if isinstance(piece, Inserted):
            return [self._value(self._objects.inserted(piece), 2)]
        templates, outcomes, users = self._templates, self._outcomes, self._users
        versions, policies, trials = self._dataset.vocabulary.versions, self._policies, self._dry_run_policies
        lines = []
        for facts, trial in self._objects.facts_of(piece.first, piece.stop, dry_run):
            _, id_, second, kind, outcome, user, version, _ = facts
            template, url = templates[kind] or self._template(kind)
            action, reason = outcomes[outcome]
            number = versions[version]
            url = url.replace("{version}", number) if reason else ""
            name, mail = users[user]
            given = policies[outcome] if trial is None else trials[trial]
            lines.append(template % (id_, stamp(second), action, number, url, reason, name, mail, given))
        return lines

    def value(self, value: Any, depth: int) -> str:
        """Any other value in the same form, as it stands at that depth of the envelope."""
        return self._value(value, depth)

    def _template(self, kind: int) -> tuple[str, str]:
        """The text of a kind's events with slots, and its URL (which has nothing to escape)."""
        word = self._dataset.vocabulary.kinds[kind]
        template = self._templates[kind] = self._slotted(self._objects.template(word)), word.url
        return template

    def _slotted(self, event: dict[str, Any]) -> str:
        text = self._value(event, 2).replace("%", "%%")
        for name in ("id", "policies"):  # no strings: the quotation marks go too
            text = text.replace(f'"{_SLOT.format(name)}"', "%s")
        for name in ("created_at", "action", "package_version", "package_url", "reason", "username", "user_mail"):
            text = text.replace(_SLOT.format(name), "%s")
        return text

    def _value(self, value: Any, depth: int) -> str:
        encoded = narrow(self._encode(value))
        return encoded.replace("\n", "\n" + " " * depth) if self._pretty else encoded

    def _text(self, value: str) -> str:
        return narrow(self._encode(value))[1:-1]
