"""The settings as command line flags, and as the tables of the documentation; both follow from the fields."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final

from airflow_provider_curation.simulator.changes import Change, Delete, Hide, Insert, Reveal
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.settings import CHOICES, TYPES, Clock, SimulatorSettings

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting; a flag that is not given keeps the setting's default."""
    for group, settings in _grouped().items():
        flags = parser.add_argument_group(group[0].lower() + group[1:])
        for setting in settings:
            text = f"{setting.metadata['help']} (default: {shown(_default(setting))})".replace("%", "%%")
            options: dict[str, Any] = {"dest": setting.name, "default": argparse.SUPPRESS, "help": text}
            if TYPES[setting.name] is bool:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options["type"], options["metavar"] = _form(setting.name)
            flags.add_argument(flag(setting.name), **options)


def settings_from(arguments: argparse.Namespace) -> SimulatorSettings:
    """Return the settings that parsed flags ask for.

    :raises ValueError: names the setting that is wrong.
    """
    return SimulatorSettings(**{name: value for name, value in vars(arguments).items() if name in TYPES})


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def table() -> str:
    """Return all settings as Markdown, one table for each group."""
    lines: list[str] = []
    for group, settings in _grouped().items():
        lines += [f"### {group}", "", "| setting | default | values | meaning |", "|---|---|---|---|"]
        for setting in settings:
            name = setting.name
            values = "yes, no" if TYPES[name] is bool else ", ".join(CHOICES.get(name, ())) or _form(name)[1]
            lines.append(f"| `{name}` | {shown(_default(setting))} | {values} | {setting.metadata['help']} |")
        lines.append("")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """Return a default as a reader of the help would type it."""
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


def _grouped() -> dict[str, list[dataclasses.Field[Any]]]:
    groups: dict[str, list[dataclasses.Field[Any]]] = {}
    for setting in dataclasses.fields(SimulatorSettings):
        groups.setdefault(setting.metadata["group"], []).append(setting)
    return groups


def _default(setting: dataclasses.Field[Any]) -> Any:
    return {} if setting.default is dataclasses.MISSING else setting.default


def _form(name: str) -> tuple[Callable[[str], Any], str]:
    """Return how a setting is read from the command line, and what its value looks like."""
    if name in CHOICES:
        return _choice(CHOICES[name], str), "{" + ",".join(CHOICES[name]) + "}"
    return _FORMS[TYPES[name]]


def _choice(allowed: Sequence[str], make: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(allowed)}")
        return make(text)

    return read


def _moment(text: str) -> datetime:
    """Read an ISO 8601 time with a zone, or a date, which means its midnight UTC."""
    try:
        found = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-03-09T14:51:03Z") from None
    if found.tzinfo is None and len(text) > len("2026-03-09"):
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone: add Z for UTC")
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _duration(text: str) -> timedelta | None:
    """Read a number with the unit s, m, h or d; ``none`` means no limit."""
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 5m, 168h or 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def number(text: str) -> int:
    """Read a whole number; ``1_000_000`` is fine."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


_fault = _choice([fault.value for fault in Fault], Fault)


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


def _changes(text: str) -> dict[int, list[Change]]:
    changes: dict[int, list[Change]] = {}
    for position, words in _numbered(text):
        changes.setdefault(position, []).append(_change(words))
    return changes


def _change(text: str) -> Change:
    name, _, value = text.partition("@")
    if name == "insert":
        return Insert(_moment(value))
    if name == "delete":
        return Delete(int(value) if value.isdigit() else _moment(value))
    if name == "hide" and "/" in value:
        start, end = value.split("/", 1)
        return Hide(_moment(start), _moment(end))
    if name == "reveal":
        return Reveal()
    expected = "insert@TIME, delete@ID, delete@TIME, hide@FROM/TO, reveal"
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {expected}")


#: By the type of a setting: how its flag is read, and what its value looks like.
_FORMS: Final[dict[Any, tuple[Callable[[str], Any], str]]] = {
    int: (number, "N"),
    int | None: (number, "N"),
    float: (_seconds, "X"),
    str: (str, "TEXT"),
    datetime | None: (_moment, "TIME"),
    datetime | Clock | None: (_moment, "TIME"),
    timedelta: (_duration, "DURATION"),
    timedelta | None: (_duration, "DURATION"),
    tuple[str, ...]: (_words, "WORD,..."),
    tuple[Fault, ...]: (lambda text: tuple(map(_fault, text.split(","))), "FAULT,..."),
    Mapping[str, str]: (_users, "NAME:PASSWORD,..."),
    Mapping[int, Fault]: (lambda text: {place: _fault(name) for place, name in _numbered(text)}, "NUMBER=FAULT,..."),
    Mapping[int, Change | Sequence[Change]]: (_changes, "NUMBER=CHANGE,..."),
}
