"""Every choice the simulated server offers, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

from airflow_provider_curation.audit.endpoint import CSV_ROWS, JSON_ROWS, MAX_WIDTH
from airflow_provider_curation.simulator.changes import Change
from airflow_provider_curation.simulator.faults import PASSING_FAULTS, Fault


class EventShape(str, Enum):
    """Which keys an event has."""

    Y2023 = "2023"  # without event_origin, result and policy_reason
    Y2026 = "2026"
    NEWER = "newer"  # 2026 plus ecosystem and ondemand


class EndBound(str, Enum):
    """Whether an event at created_at_end itself belongs to the window."""

    EXCLUSIVE = "exclusive"
    INCLUSIVE = "inclusive"


class LastPage(str, Enum):
    """What meta.next_offset is on the last page."""

    NULL = "null"
    ABSENT = "absent"
    ZERO = "zero"
    MINUS_ONE = "minus-one"
    STEP = "step"  # one more step, which leads to an empty page whose next_offset does not move


class EmptyPage(str, Enum):
    """What data is when there are no rows."""

    NULL = "null"
    LIST = "list"


class RowsEcho(str, Enum):
    """What meta.num_of_rows says when the server allows fewer rows than were asked for."""

    IN_FORCE = "in-force"
    ASKED = "asked"


class JsonLayout(str, Enum):
    """White space between JSON tokens."""

    COMPACT = "compact"
    PRETTY = "pretty"  # an indent of one space, as in the samples


class JsonText(str, Enum):
    """How JSON strings are written."""

    GO = "go"  # UTF-8; U+2028, U+2029, <, > and & escaped, as Go's encoder does
    ASCII = "ascii"  # everything beyond ASCII escaped, as in the samples
    UTF8 = "utf8"  # nothing escaped that need not be: U+2028 stands raw


class MetaPlace(str, Enum):
    """Where meta stands in the envelope."""

    AFTER = "after"
    BEFORE = "before"


class ErrorBody(str, Enum):
    """The body of an error answer."""

    ERROR = "error"  # {"error": "message"}
    ERRORS = "errors"  # {"errors": [{"status": 400, "message": "message"}]}


class OverLimit(str, Enum):
    """What happens to a CSV request for more rows than the server allows."""

    CAP = "cap"
    REFUSE = "refuse"


class CsvCount(str, Enum):
    """What num_of_rows counts in a CSV request."""

    EVENTS = "events"
    ROWS = "rows"  # CSV rows, but an event's rows stay together (at least one event is given)
    ROWS_CUT = "rows-cut"  # CSV rows exactly, so that the last event can lose some of its rows


class LineEnd(str, Enum):
    """How a CSV record ends."""

    LF = "lf"
    CRLF = "crlf"


class CsvQuoting(str, Enum):
    """Which CSV cells are quoted."""

    MINIMAL = "minimal"
    ALL = "all"


class ZipTime(str, Enum):
    """The time stamp of the zip's member."""

    FIXED = "fixed"
    CURRENT = "current"  # the bytes of two equal answers differ


def _switch(default: Any, group: str, text: str) -> Any:
    """A settings field with its help text; mutable defaults are made anew for each instance."""
    metadata = {"group": group, "help": text}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SimulatorSettings:
    """The simulated tenant and server; the defaults are a healthy server with a million events in 30 days.

    Times are aware datetimes, kept in UTC with whole seconds. Durations are timedeltas, latencies are seconds.
    """

    # The tenant's events
    seed: int = _switch(1, "events", "seed of the events and of faults by rate")
    events: int = _switch(1_000_000, "events", "number of events in the period, 0 to 10 million or more")
    start: datetime | None = _switch(None, "events", "begin of the period; unset: 30 days before its end")
    end: datetime | None = _switch(None, "events", "end of the period; unset: now; events of the future appear in time")
    now: datetime | Callable[[], datetime] | None = _switch(
        None, "events", "the server's fixed idea of now (in Python also a function); unset: the clock"
    )
    retention: timedelta | None = _switch(None, "events", "age after which the server forgets events; unset: never")
    shape: EventShape = _switch(EventShape.Y2026, "events", "keys of an event")
    late_rate: float = _switch(0.0, "events", "share of events that become visible late, 0 to 1")
    late_by: timedelta = _switch(timedelta(minutes=2), "events", "how long after created_at a late event is visible")
    changes: Mapping[int, Change | Sequence[Change]] = _switch(
        {}, "events", "changes made when the audit request of that number (from 1) arrives, before it is answered"
    )

    # What the endpoint allows
    max_width: timedelta | None = _switch(MAX_WIDTH, "limits", "widest window; a wider one gets a 400; unset: any")
    end_bound: EndBound = _switch(EndBound.EXCLUSIVE, "limits", "meaning of created_at_end")
    json_rows: int = _switch(JSON_ROWS, "limits", "rows the server gives in one JSON page; more is silently capped")
    rows_echo: RowsEcho = _switch(RowsEcho.IN_FORCE, "limits", "meta.num_of_rows when rows were capped")
    csv_rows: int = _switch(CSV_ROWS, "limits", "rows the server gives in one CSV answer")
    csv_over: OverLimit = _switch(OverLimit.CAP, "limits", "a CSV request for more rows than that")
    csv_count: CsvCount = _switch(CsvCount.EVENTS, "limits", "what num_of_rows counts in a CSV request")
    csv_incomplete_over: int = _switch(
        CSV_ROWS, "limits", "events of a time range above which the CSV member is named _incomplete"
    )

    # The form of JSON answers
    last_page: LastPage = _switch(LastPage.NULL, "json", "meta.next_offset of the last page")
    empty_page: EmptyPage = _switch(EmptyPage.NULL, "json", "data of an empty page")
    total_count: bool = _switch(True, "json", "give meta.total_count when it is asked for")
    layout: JsonLayout = _switch(JsonLayout.COMPACT, "json", "white space")
    text: JsonText = _switch(JsonText.GO, "json", "escaping of strings")
    meta_place: MetaPlace = _switch(MetaPlace.AFTER, "json", "meta before or after data")
    error_body: ErrorBody = _switch(ErrorBody.ERROR, "json", "body of errors")
    short_page_every: int = _switch(0, "json", "every n-th page is shorter than it could be; 0: none")
    short_page_by: int = _switch(1, "json", "rows that a short page lacks (one row is always given)")
    repeat_from: int | None = _switch(
        None, "json", "number of the audit request from which the offset is ignored; unset: never"
    )

    # The form of CSV answers
    csv_bom: bool = _switch(False, "csv", "begin with a byte order mark")
    csv_line_end: LineEnd = _switch(LineEnd.LF, "csv", "end of a record")
    csv_quoting: CsvQuoting = _switch(CsvQuoting.MINIMAL, "csv", "which cells are quoted")
    csv_final_line_end: bool = _switch(True, "csv", "end the last record with a line break")
    csv_id_column: int = _switch(0, "csv", "position of the id column, 0 to 26")
    csv_extra_column: bool = _switch(False, "csv", "add a column that no reference names, severity, after the 5th")
    csv_zip_time: ZipTime = _switch(ZipTime.FIXED, "csv", "time stamp of the zip's member")

    # The server
    context_path: str = _switch("", "server", "path under which the platform answers too, such as /artifactory")
    certificate: str = _switch("", "server", "PEM file with the server's certificate: speak HTTPS")
    private_key: str = _switch("", "server", "PEM file with the certificate's key; unset: in the certificate's file")
    gzip: bool = _switch(False, "server", "compress JSON answers for clients that accept gzip")
    chunked: bool = _switch(False, "server", "send bodies in chunks, without Content-Length")
    content_type_refused: bool = _switch(True, "server", "answer a GET that has a Content-Type with an HTML 400")
    entitled: bool = _switch(True, "server", "Curation is entitled; if not, windows answer 200 without rows")
    tells_entitlement: bool = _switch(True, "server", "serve the entitlement path; if not, it is a 404")
    version: str = _switch("3.131.4", "server", "Xray version; below 3.82 the audit path is a 404")
    tokens: tuple[str, ...] = field(
        default=(), repr=False, metadata={"group": "server", "help": "accepted Bearer tokens; none and no users: open"}
    )
    forbidden_tokens: tuple[str, ...] = field(
        default=(), repr=False, metadata={"group": "server", "help": "known tokens without permission (403)"}
    )
    users: Mapping[str, str] = field(
        default_factory=dict,
        repr=False,
        metadata={"group": "server", "help": "accepted users and passwords (Basic)"},
    )
    latency: float = _switch(0.0, "server", "seconds added to each request")
    latency_per_row: float = _switch(0.0, "server", "seconds added for each row given")
    latency_per_skipped_row: float = _switch(0.0, "server", "seconds added for each row skipped by the offset")
    cache_bytes: int = _switch(32 * 1024 * 1024, "server", "memory for answers given before; 0: none")

    # Faults
    fault_rate: float = _switch(0.0, "faults", "share of requests that suffer a fault, 0 to 1")
    fault_kinds: tuple[Fault, ...] = _switch(PASSING_FAULTS, "faults", "faults that the rate chooses from")
    fault_schedule: Mapping[int, Fault] = _switch({}, "faults", "fault of the request of that number (from 1)")
    faults_everywhere: bool = _switch(False, "faults", "faults also for the entitlement and version paths")
    login_url: str = _switch(
        "{scheme}://localhost:{port}/ui/login/",
        "faults",
        "where a redirect leads; by default the simulator's other name",
    )
    retry_after: int = _switch(1, "faults", "seconds in the Retry-After of a 429")
    hang: float = _switch(60.0, "faults", "seconds that a hanging request stalls before it is reset")

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, _utc(name, getattr(self, name)))
        if isinstance(self.now, datetime):
            object.__setattr__(self, "now", _utc("now", self.now))
        path = "/" + self.context_path.strip("/") if self.context_path.strip("/") else ""
        object.__setattr__(self, "context_path", path)
        _check(self.start is None or self.end is None or self.start < self.end, "start", "be before end")
        for name in ("late_rate", "fault_rate"):
            _check(0 <= getattr(self, name) <= 1, name, "be between 0 and 1")
        for name in ("events", "short_page_every", "csv_incomplete_over", "cache_bytes", "retry_after"):
            _check(getattr(self, name) >= 0, name, "not be negative")
        for name in ("latency", "latency_per_row", "latency_per_skipped_row", "hang"):
            _check(getattr(self, name) >= 0, name, "not be negative")
        for name in ("json_rows", "csv_rows", "short_page_by"):
            _check(getattr(self, name) >= 1, name, "be at least 1")
        for name in ("max_width", "retention"):
            _check(getattr(self, name) is None or getattr(self, name) > timedelta(0), name, "be positive")
        _check(self.late_by >= timedelta(0), "late_by", "not be negative")
        _check(0 <= self.csv_id_column <= 26, "csv_id_column", "be between 0 and 26")
        _check(self.fault_rate == 0 or bool(self.fault_kinds), "fault_kinds", "name a fault when there is a rate")
        for name in ("changes", "fault_schedule"):
            _check(all(number >= 1 for number in getattr(self, name)), name, "be numbered from 1")
        _check(self.repeat_from is None or self.repeat_from >= 1, "repeat_from", "be at least 1")

    def clock(self) -> datetime:
        """The server's idea of now, in UTC, whole seconds."""
        moment = self.now() if callable(self.now) else self.now or datetime.now(timezone.utc)
        return moment.astimezone(timezone.utc).replace(microsecond=0)


def switches() -> list[Field[Any]]:
    """The fields of the settings, in order; each has a group and a help text in its metadata."""
    return list(fields(SimulatorSettings))


def _utc(name: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    _check(moment.tzinfo is not None, name, "have a time zone")
    return moment.astimezone(timezone.utc).replace(microsecond=0)


def _check(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name} must {rule}")
