"""The parameters of an audit request: read, checked, and completed with the server's defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.simulator.settings import SimulatorSettings

_DEFAULT_ROWS: Final = 100
_DEFAULT_WIDTH: Final = timedelta(days=7)
_RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class BadQuery(Exception):
    """The server refuses the request with a 400 and this message."""


@dataclass(frozen=True)
class Query:
    """What a request asks for; times are in UTC with whole seconds."""

    start: datetime
    end: datetime
    direction: str
    num_of_rows: int
    offset: int
    include_total: bool
    dry_run: bool
    explain: bool
    csv: bool

    @property
    def descending(self) -> bool:
        """Return whether the newest rows come first."""
        return self.direction == "desc"


def parse(params: Mapping[str, str], settings: SimulatorSettings) -> Query:
    """Return the query of decoded parameters; unknown ones are ignored, as on the real server.

    :raises BadQuery: a parameter is wrong.
    """
    now = settings.clock()
    end = _time(params, "created_at_end", now)
    # An end alone moves the start too: the reference gives defaults only for when both are missing.
    start = _time(params, "created_at_start", min(now, end) - _DEFAULT_WIDTH)
    if start > end:
        raise BadQuery("created_at_start must be before created_at_end")
    if settings.max_width is not None and end - start > settings.max_width:
        hours = settings.max_width.total_seconds() / 3600
        raise BadQuery(f"Maximum allowed duration is {hours:g} hours")
    if params.get("order_by", "id") != "id":
        raise BadQuery(f"invalid order_by: {params['order_by']}")
    csv = _choice(params, "format", "json", ("json", "csv")) == "csv"
    query = Query(
        start=start,
        end=end,
        direction=_choice(params, "direction", "desc", ("asc", "desc")),
        num_of_rows=_rows(params, csv, settings),
        offset=_number(params, "offset", 0, 0, None),
        include_total=_flag(params, "include_total"),
        dry_run=_flag(params, "dry_run"),
        explain=_flag(params, "include_explanation_and_recommendation"),
        csv=csv,
    )
    if csv and query.include_total:
        raise BadQuery("include_total is not supported when format is csv")
    return query


def _rows(params: Mapping[str, str], csv: bool, settings: SimulatorSettings) -> int:
    if not csv:
        return _number(params, "num_of_rows", _DEFAULT_ROWS, 1, max(JSON_ROWS, settings.json_rows))
    most = settings.csv_rows if settings.csv_over == "refuse" else None
    return _number(params, "num_of_rows", min(_DEFAULT_ROWS, settings.csv_rows), 1, most)


def _number(params: Mapping[str, str], name: str, default: int, least: int, most: int | None) -> int:
    text = params.get(name, "")
    if not text:
        return default
    number = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise BadQuery(f"invalid {name}: must be {bounds}")
    return number


def _flag(params: Mapping[str, str], name: str) -> bool:
    text = params.get(name, "")
    if text in _TRUE:
        return True
    if not text or text in _FALSE:
        return False
    raise BadQuery(f"invalid {name}: must be true or false")


def _choice(params: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    text = params.get(name) or default
    if text not in choices:
        raise BadQuery(f"invalid {name}: must be one of {', '.join(choices)}")
    return text


def _time(params: Mapping[str, str], name: str, default: datetime) -> datetime:
    text = params.get(name, "")
    if not text:
        return default
    found = _RFC_3339.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day, clock, zone = found.groups()
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise BadQuery(f"invalid {name}: must be a time in RFC 3339 format") from None
