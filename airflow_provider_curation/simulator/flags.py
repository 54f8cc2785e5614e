"""The settings as command line flags, and as the table of the documentation: both follow the fields."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final

from airflow_provider_curation.simulator.changes import Change, Delete, Hide, Insert, Reveal
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.settings import SimulatorSettings, switches

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_GROUPS: Final = {
    "events": "the tenant's events",
    "limits": "what the endpoint allows",
    "json": "the form of JSON answers",
    "csv": "the form of CSV answers",
    "server": "the server",
    "faults": "faults of the audit endpoint",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag a setting; what is not given keeps the setting's own default."""
    types = typing.get_type_hints(SimulatorSettings)
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for setting in switches():
        group = groups[setting.metadata["group"]]
        default = f"{setting.metadata['help']} (default: {shown(_default(setting))})".replace("%", "%%")
        options: dict[str, Any] = {"dest": setting.name, "default": argparse.SUPPRESS, "help": default}
        group.add_argument(flag(setting.name), **options, **_form(setting.name, types[setting.name]))


def settings_from(arguments: argparse.Namespace) -> SimulatorSettings:
    """The settings that parsed flags ask for; a ``ValueError`` names the setting that is wrong."""
    names = {setting.name for setting in switches()}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return SimulatorSettings(**given)


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def table() -> str:
    """All settings as Markdown tables, one a group."""
    types = typing.get_type_hints(SimulatorSettings)
    lines: list[str] = []
    for group, title in _GROUPS.items():
        lines += [f"### {title[0].upper()}{title[1:]}", ""]
        lines += ["| setting | default | values | meaning |", "|---|---|---|---|"]
        for setting in switches():
            if setting.metadata["group"] == group:
                cells = (f"`{setting.name}`", shown(_default(setting)), _values(setting.name, types[setting.name]))
                lines.append("| " + " | ".join((*cells, setting.metadata["help"])) + " |")
        lines.append("")
    return "\n".join(lines)


def _values(name: str, type_: Any) -> str:
    if type_ is bool:
        return "yes, no"
    if isinstance(type_, type) and issubclass(type_, Enum):
        return _choices(type_)
    return str(_form(name, type_)["metavar"])


def shown(value: Any) -> str:
    """A default as a reader of the help would type it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        units = (("h", 3600), ("m", 60), ("s", 1))
        return next(f"{seconds // size}{unit}" for unit, size in units if seconds % size == 0)
    if isinstance(value, (tuple, Mapping)):
        return ",".join(shown(item) for item in value) or "none"
    return str(value) or "none"


def _default(setting: dataclasses.Field[Any]) -> Any:
    if setting.default is not dataclasses.MISSING:
        return setting.default
    assert setting.default_factory is not dataclasses.MISSING
    return setting.default_factory()


def _form(name: str, type_: Any) -> dict[str, Any]:
    """How argparse reads a setting."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    if type_ is bool:
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(type_, type) and issubclass(type_, Enum):
        return {"type": _choice(type_), "metavar": "{" + _choices(type_).replace(" ", "") + "}"}
    return _PLAIN[type_]


def _choices(type_: type[Enum]) -> str:
    return ", ".join(choice.value for choice in type_)


def _choice(type_: type[Enum]) -> Callable[[str], Enum]:
    def read(text: str) -> Enum:
        try:
            return type_(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {_choices(type_)}") from None

    return read


def moment(text: str) -> datetime:
    """An ISO 8601 time with a zone, or a date, which is its midnight UTC."""
    try:
        found = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-03-09T14:51:03Z") from None
    if found.tzinfo is None and len(text) > len("2026-03-09"):
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone: add Z for UTC")
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def duration(text: str) -> timedelta | None:
    """A number with a unit s, m, h or d; ``none`` for no limit."""
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 5m, 168h or 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def number(text: str) -> int:
    """A whole number; ``1_000_000`` is fine."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _fault(text: str) -> Fault:
    return typing.cast(Fault, _choice(Fault)(text))


def _faults(text: str) -> tuple[Fault, ...]:
    return tuple(_fault(part) for part in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _users(text: str) -> dict[str, str]:
    users = dict(part.partition(":")[::2] for part in _words(text))
    if not all(users) or not all(users.values()):
        raise argparse.ArgumentTypeError("a user is NAME:PASSWORD")
    return users


def _numbered(text: str) -> list[tuple[int, str]]:
    pairs = [part.partition("=")[::2] for part in _words(text)]
    return [(number(left), right) for left, right in pairs]


def _schedule(text: str) -> dict[int, Fault]:
    return {position: _fault(name) for position, name in _numbered(text)}


def _changes(text: str) -> dict[int, list[Change]]:
    changes: dict[int, list[Change]] = {}
    for position, words in _numbered(text):
        changes.setdefault(position, []).append(_change(words))
    return changes


def _change(text: str) -> Change:
    name, _, value = text.partition("@")
    if name == "insert":
        return Insert(moment(value))
    if name == "delete":
        return Delete(int(value) if value.isdigit() else moment(value))
    if name == "hide" and "/" in value:
        start, end = value.split("/", 1)
        return Hide(moment(start), moment(end))
    if name == "reveal":
        return Reveal()
    raise argparse.ArgumentTypeError(f"{text!r} is none of insert@TIME, delete@ID, delete@TIME, hide@FROM/TO, reveal")


_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    int: {"type": number, "metavar": "N"},
    float: {"type": _seconds, "metavar": "X"},
    str: {"metavar": "TEXT"},
    int | None: {"type": number, "metavar": "N"},
    datetime | None: {"type": moment, "metavar": "TIME"},
    timedelta: {"type": duration, "metavar": "DURATION"},
    timedelta | None: {"type": duration, "metavar": "DURATION"},
}
_SPECIAL: Final[dict[str, dict[str, Any]]] = {
    "now": _PLAIN[datetime | None],
    "tokens": {"type": _words, "metavar": "TOKEN,..."},
    "forbidden_tokens": {"type": _words, "metavar": "TOKEN,..."},
    "users": {"type": _users, "metavar": "NAME:PASSWORD,..."},
    "fault_kinds": {"type": _faults, "metavar": "FAULT,..."},
    "fault_schedule": {"type": _schedule, "metavar": "NUMBER=FAULT,..."},
    "changes": {"type": _changes, "metavar": "NUMBER=CHANGE,..."},
}
