"""Renders the figures as one HTML file for people, without scripts or requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Final

from jinja2 import BaseLoader, Environment, StrictUndefined

from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.reporting.figures import Activity, Day, Figures, SeriesFigures
from airflow_provider_curation.audit.reporting.words import CONTROLS, STATES, STREAMS

_HERE: Final = "airflow_provider_curation.audit.reporting"
#: How many characters of a stranger's text are shown.
_MOST_CHARACTERS: Final = 300


def render(figures: Figures, charts: Mapping[str, str]) -> bytes:
    """Return the page in UTF-8.

    :param charts: SVG by name, see :func:`airflow_provider_curation.audit.reporting.charts.draw`.
    """
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        shown=_shown, number=_number, percent=_percent, hover=_hover, moment=_moment, duration=_duration, bytes=_bytes
    )
    template = environment.from_string(_file("page.html.jinja"))
    text = template.render(
        figures=figures,
        css=_file("page.css"),
        charts=charts,
        states=[(state.value, words) for state, words in STATES.items()],
        words={state.value: words for state, words in STATES.items()},
        streams=STREAMS,
        controls=CONTROLS,
        months=_months,
        actions=_actions(figures.activity) if figures.activity else [],
        state_counts=_state_counts(figures.series),
    )
    # Strangers' text can contain halves of surrogate pairs, which are not UTF-8.
    return text.encode("utf-8", "replace")


def _file(name: str) -> str:
    return files(_HERE).joinpath(name).read_text("utf-8")


def _shown(text: object) -> str:
    """Return a stranger's text as one line of limited length, without characters that change its direction."""
    line = printable(str(text))
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


def _number(number: int | None) -> str:
    return "not given" if number is None else f"{number:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1000
    raise AssertionError


def _duration(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:,.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:,} s"


def _moment(text: str | None) -> str:
    return text.replace("T", " ").replace("Z", " UTC") if text else "-"


def _hover(day: Day) -> str:
    """Return a day as one line: its state, window, counts, manifest and run."""
    parts = [f"{day.day}: {STATES[day.state].word}"]
    if day.exports:
        counted = f"counted {_number(day.counted)}, kept {_number(day.kept)}"
        parts.append(f"{day.exports:,} {'export' if day.exports == 1 else 'exports'}, {counted}")
    if day.absent:
        parts.append(f"not kept whole: {', '.join(day.absent)}")
    if day.until:
        parts.append(f"recoverable until {_moment(day.until)}")
    parts += [f"manifest {_shown(name)}" for name in day.manifests[:1]]
    parts += [f"run {_shown(name)}" for name in day.runs[:1]]
    return "; ".join(parts)


def _months(days: Sequence[Day]) -> list[tuple[str, list[tuple[Day, int, int]]]]:
    """Return the days by month, each with its number and the column of its weekday, from 1 for Monday."""
    months: dict[str, list[tuple[Day, int, int]]] = {}
    for day in days:
        date = datetime.strptime(day.day, "%Y-%m-%d")
        months.setdefault(f"{date:%B %Y}", []).append((day, date.day, date.isoweekday()))
    return list(months.items())


def _actions(activity: Activity) -> list[str]:
    return list(activity.actions)


def _state_counts(series: Iterable[SeriesFigures]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in series:
        for day in each.days:
            counts[day.state.value] = counts.get(day.state.value, 0) + 1
    return counts
