"""Every choice that the simulated server offers, as one frozen value; flags and documentation follow from it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

from airflow_provider_curation.audit.endpoint import CSV_ROWS, JSON_ROWS, MAX_WIDTH
from airflow_provider_curation.simulator.changes import Change
from airflow_provider_curation.simulator.faults import PASSING_FAULTS, Fault

Clock = Callable[[], datetime]


def _in(group: str) -> Callable[..., Any]:
    """Return a function that makes the settings of a group, each with its default and help text."""

    def setting(default: Any, text: str, *, secret: bool = False) -> Any:
        chosen: dict[str, Any] = {"default_factory": dict} if isinstance(default, dict) else {"default": default}
        return field(repr=not secret, metadata={"group": group, "help": text}, **chosen)

    return setting


_event = _in("The tenant's events")
_limit = _in("What the endpoint allows")
_json = _in("The form of JSON answers")
_csv = _in("The form of CSV answers")
_server = _in("The server")
_fault = _in("Faults of the audit endpoint")


@dataclass(frozen=True)
class SimulatorSettings:
    """The simulated tenant and server; the defaults are a healthy server with a million events in 30 days.

    Times are aware datetimes, kept in UTC with whole seconds. Durations are timedeltas, latencies are seconds.
    """

    seed: int = _event(1, "seed of the events and of faults by rate")
    events: int = _event(1_000_000, "number of events in the period, from 0 to 10 million or more")
    start: datetime | None = _event(None, "start of the period; unset: 30 days before its end")
    end: datetime | None = _event(None, "end of the period; unset: now; future events appear when their time comes")
    now: datetime | Clock | None = _event(None, "the server's fixed time (in Python also a function); unset: the clock")
    retention: timedelta | None = _event(None, "age after which the server forgets events; unset: never")
    shape: Literal["2023", "2026", "newer"] = _event(
        "2026", "keys of an event; 2023: no event_origin, result and policy_reason; newer: also ecosystem and ondemand"
    )
    late_rate: float = _event(0.0, "share of events that become visible late, 0 to 1")
    late_by: timedelta = _event(timedelta(minutes=2), "how long after created_at a late event becomes visible")
    changes: Mapping[int, Change | Sequence[Change]] = _event(
        {}, "changes made when the audit request of that number (from 1) arrives, before it is answered"
    )

    max_width: timedelta | None = _limit(MAX_WIDTH, "widest window; a wider one gets a 400; unset: any")
    end_bound: Literal["exclusive", "inclusive"] = _limit(
        "exclusive", "whether an event at created_at_end itself belongs to the window"
    )
    json_rows: int = _limit(JSON_ROWS, "most rows in one JSON page; a request for more gets this many, without error")
    rows_echo: Literal["in-force", "asked"] = _limit(
        "in-force", "meta.num_of_rows if more than json_rows were asked for"
    )
    csv_rows: int = _limit(CSV_ROWS, "most rows in one CSV answer")
    csv_over: Literal["cap", "refuse"] = _limit("cap", "answer to a CSV request for more rows; refuse: a 400")
    csv_count: Literal["events", "rows", "rows-cut"] = _limit(
        "events",
        "what num_of_rows counts in a CSV request; rows: CSV rows, but an event's rows stay together; "
        "rows-cut: CSV rows exactly, so the last event can lose some of its rows",
    )
    csv_incomplete_over: int = _limit(
        CSV_ROWS, "events of a time range above which the CSV member is named _incomplete"
    )

    last_page: Literal["null", "absent", "zero", "minus-one", "step"] = _json(
        "null", "meta.next_offset of the last page; step: one step more, to an empty page that repeats its own offset"
    )
    empty_page: Literal["null", "list"] = _json("null", "data of an empty page")
    total_count: bool = _json(True, "give meta.total_count when asked")
    layout: Literal["compact", "pretty"] = _json("compact", "white space; pretty: an indent of one space")
    text: Literal["go", "ascii", "utf8"] = _json(
        "go", "escapes in strings; go: U+2028, U+2029, <, > and &; ascii: all but ASCII; utf8: only what JSON requires"
    )
    meta_place: Literal["after", "before"] = _json("after", "meta before or after data")
    error_body: Literal["error", "errors"] = _json(
        "error", "an error as one message, or as a list with status and message"
    )
    short_page_every: int = _json(0, "every n-th page is shorter than it could be; 0: none")
    short_page_by: int = _json(1, "rows missing from a short page (it always has at least one)")
    repeat_from: int | None = _json(None, "number of the audit request from which the offset is ignored; unset: never")

    csv_bom: bool = _csv(False, "begin with a byte order mark")
    csv_line_end: Literal["lf", "crlf"] = _csv("lf", "end of a record")
    csv_quoting: Literal["minimal", "all"] = _csv("minimal", "which cells are quoted")
    csv_final_line_end: bool = _csv(True, "end the last record with a line break")
    csv_id_column: int = _csv(0, "position of the id column, 0 to 26")
    csv_extra_column: bool = _csv(False, "add an undocumented column, severity, after the 5th")
    csv_zip_time: Literal["fixed", "current"] = _csv(
        "fixed", "time stamp of the zip's member; current: the bytes of two equal answers differ"
    )

    context_path: str = _server("", "path under which the platform answers too, such as /artifactory")
    certificate: str = _server("", "PEM file with the server's certificate; set: HTTPS")
    private_key: str = _server("", "PEM file with the certificate's key; unset: in the certificate's file")
    gzip: bool = _server(False, "compress JSON answers for clients that accept gzip")
    chunked: bool = _server(False, "send bodies in chunks, without Content-Length")
    content_type_refused: bool = _server(True, "answer a GET that has a Content-Type with an HTML 400")
    entitled: bool = _server(True, "whether Curation is entitled; if not, windows answer 200 without rows")
    tells_entitlement: bool = _server(True, "serve the entitlement path; if not, it is a 404")
    version: str = _server("3.131.4", "Xray version; below 3.82 the audit path is a 404")
    tokens: tuple[str, ...] = _server((), "accepted Bearer tokens; no tokens and no users: open", secret=True)
    forbidden_tokens: tuple[str, ...] = _server((), "known tokens without permission (403)", secret=True)
    users: Mapping[str, str] = _server({}, "accepted users and passwords (Basic)", secret=True)
    latency: float = _server(0.0, "seconds added to each request")
    latency_per_row: float = _server(0.0, "seconds added for each row given")
    latency_per_skipped_row: float = _server(0.0, "seconds added for each row skipped by the offset")
    capacity: int = _server(0, "audit requests that the server answers well at the same time; 0: any number")
    over_capacity: Literal["refuse", "slow"] = _server(
        "refuse",
        "audit requests beyond the capacity; refuse: 429 with Retry-After, at once; slow: their latency grows with the "
        "square of the load, so that the server gives fewer answers a second",
    )
    cache_bytes: int = _server(32 * 1024 * 1024, "bytes of rendered answers to keep; 0: none")

    fault_rate: float = _fault(0.0, "share of requests that get a fault, 0 to 1")
    fault_kinds: tuple[Fault, ...] = _fault(PASSING_FAULTS, "faults that the rate chooses from")
    fault_schedule: Mapping[int, Fault] = _fault({}, "fault of the request of that number (from 1)")
    faults_everywhere: bool = _fault(False, "faults also for the entitlement and version paths")
    login_url: str = _fault(
        "{scheme}://localhost:{port}/ui/login/", "target of a redirect; by default the simulator under its other name"
    )
    retry_after: int = _fault(1, "seconds in the Retry-After of a 429")
    hang: float = _fault(60.0, "seconds that a hanging request waits before the connection is reset")

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            _check(getattr(self, name) in allowed, name, f"be one of {', '.join(allowed)}")
        for name in ("start", "end", "now"):
            if isinstance(moment := getattr(self, name), datetime):
                _check(moment.tzinfo is not None, name, "have a time zone")
                object.__setattr__(self, name, moment.astimezone(timezone.utc).replace(microsecond=0))
        path = self.context_path.strip("/")
        object.__setattr__(self, "context_path", path and f"/{path}")
        _check(self.start is None or self.end is None or self.start < self.end, "start", "be before end")
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            rule = f"be between {least} and {most}" if most is not None else f"be at least {least}"
            _check(value is None or (least <= value and (most is None or value <= most)), name, rule)
        for name in ("max_width", "retention"):
            _check(getattr(self, name) is None or getattr(self, name) > timedelta(0), name, "be positive")
        _check(self.late_by >= timedelta(0), "late_by", "not be negative")
        _check(self.fault_rate == 0 or bool(self.fault_kinds), "fault_kinds", "name a fault if there is a rate")
        for name in ("changes", "fault_schedule"):
            _check(all(number >= 1 for number in getattr(self, name)), name, "be numbered from 1")

    def clock(self) -> datetime:
        """Return the server's time, in UTC with whole seconds."""
        moment = self.now() if callable(self.now) else self.now or datetime.now(timezone.utc)
        return moment.astimezone(timezone.utc).replace(microsecond=0)


#: The type of each setting.
TYPES: Final = typing.get_type_hints(SimulatorSettings)
#: The values of each setting that has a fixed choice.
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    name: typing.get_args(type_) for name, type_ in TYPES.items() if typing.get_origin(type_) is Literal
}
#: The least and the most that a number may be.
_BOUNDS: Final[dict[str, tuple[int, int | None]]] = {
    **dict.fromkeys(("late_rate", "fault_rate"), (0, 1)),
    **dict.fromkeys(("events", "short_page_every", "csv_incomplete_over", "capacity", "cache_bytes"), (0, None)),
    **dict.fromkeys(("latency", "latency_per_row", "latency_per_skipped_row", "retry_after", "hang"), (0, None)),
    **dict.fromkeys(("json_rows", "csv_rows", "short_page_by", "repeat_from"), (1, None)),
    "csv_id_column": (0, 26),
}


def _check(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name} must {rule}")
