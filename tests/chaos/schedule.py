"""A schedule: one export with everything that goes wrong around it, drawn by seed and printable as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import Enum
from random import Random
from typing import Any, TypeVar

from airflow_provider_curation.simulator import FALSE_ANSWERS, PASSING_FAULTS, Fault, Simulator, SimulatorSettings
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.exports import START
from tests.support.s3_proxy import Failure

_T = TypeVar("_T")

#: The simulated tenant's events lie in these days.
PERIOD = timedelta(days=9)
_SECONDS = int(PERIOD.total_seconds())
_DAY = 86_400

COMPRESSIONS: dict[str, tuple[str | None, ...]] = {
    "jsonl": ("gzip", "zip", "zstd", "none", None),
    "csv": ("zip", "gzip", None),
    "parquet": ("zstd", None),
}

#: The simulator's switches and what they can be set to.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "shape": CHOICES["shape"],
    "end_bound": CHOICES["end_bound"],
    "json_rows": (17, 40, 2000),
    "rows_echo": CHOICES["rows_echo"],
    "csv_rows": (25, 60, 500_000),
    "csv_over": CHOICES["csv_over"],
    "csv_count": CHOICES["csv_count"],
    "csv_incomplete_over": (30, 500_000),
    "last_page": CHOICES["last_page"],
    "empty_page": CHOICES["empty_page"],
    "total_count": (False,),
    "layout": CHOICES["layout"],
    "text": CHOICES["text"],
    "meta_place": CHOICES["meta_place"],
    "error_body": CHOICES["error_body"],
    "short_page_every": (2, 3, 5),
    "short_page_by": (1, 2, 5),
    "repeat_from": (3, 6),
    "csv_bom": (True,),
    "csv_line_end": CHOICES["csv_line_end"],
    "csv_quoting": CHOICES["csv_quoting"],
    "csv_final_line_end": (False,),
    "csv_id_column": (1, 5, 26),
    "csv_extra_column": (True,),
    "csv_zip_time": CHOICES["csv_zip_time"],
    "context_path": ("/artifactory",),
    "gzip": (True,),
    "chunked": (True,),
    "cache_bytes": (0,),
    "entitled": (False,),
    "tells_entitlement": (False,),
}
#: Switches of servers that no export can succeed with, or only some; seldom drawn.
_SICK = ("csv_incomplete_over", "repeat_from", "entitled")

FILTERS: dict[str, tuple[list[str], ...]] = {
    "actions": (["blocked"], ["approved"], ["b*"], ["no-such-action"]),
    "package_types": (["npm"], ["P*", "npm"], ["no-such-type"]),
    "repositories": (["npm-*"], ["*remote*"]),
    "policies": (["*a*"], ["no-such-policy"]),
}


@dataclass(frozen=True)
class Schedule:
    """One run of the harness.

    :param server: settings of the simulator, enums by value.
    :param client: ``page_size``, ``concurrency``, ``slice_rows``.
    :param export: arguments of the operator.
    :param window: start and end, in seconds after the tenant's first moment.
    :param forgotten: seconds of the window, from its start, that the server has forgotten.
    :param before: what lies at the key: ``nothing``, ``same`` (an export of the window), ``filtered`` or ``wider``
        (exports of something else), ``foreign`` (not an export), ``scribbled`` (an export whose manifest was damaged).
    :param late: events that appear after that, in seconds after the tenant's first moment; and those that disappear.
    :param changes: what happens to the events when the audit request of that number arrives: a verb and a second.
    :param faults: the fault of the audit request of that number.
    :param s3: the failure of the S3 request of that number.
    :param s3_outage: the number of the S3 request from which every one fails, and how.
    :param s3_seconds: that each S3 request takes longer.
    :param process: what happens to the process: ``kind`` (``raise``, ``stop``, ``sigterm``, ``sigkill``,
        ``two-tries``), when a request arrives: ``at`` (``server``, ``s3-before``, ``s3-after``), its ``number``, and
        ``delay`` in seconds after that.
    """

    seed: int
    server: dict[str, Any]
    client: dict[str, int]
    export: dict[str, Any]
    window: list[int]
    forgotten: int | None = None
    before: str = "nothing"
    late: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    changes: dict[str, list[Any]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    s3: dict[str, str] = field(default_factory=dict)
    s3_outage: list[Any] = field(default_factory=list)
    s3_seconds: float = 0.0
    process: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the schedule as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, line: str) -> Schedule:
        """Read what :meth:`line` wrote."""
        return cls(**json.loads(line))


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed: the same each time."""
    random = Random(f"chaos {seed}")
    server = _server(random)
    export = _export(random)
    window = _window(random, server)
    schedule: dict[str, Any] = {
        "seed": seed,
        "server": server,
        "client": {
            "page_size": random.choice([8, 39, 40, 2000]),
            "concurrency": random.randint(1, 8),
            "slice_rows": random.choice([25, 60, 20_000]),
        },
        "export": export,
        "window": window,
        "before": _weighted(
            random, {"nothing": 55, "same": 25, "filtered": 6, "wider": 4, "foreign": 4, "scribbled": 6}
        ),
    }
    if random.random() < 0.12:
        schedule["forgotten"] = random.randint(-_DAY, window[1] - window[0] + _DAY)
    if schedule["before"] != "nothing":
        schedule["late"] = _seconds(random, window, 0.3)
        schedule["removed"] = _seconds(random, window, 0.3)
    if random.random() < 0.25:
        schedule["changes"] = _changes(random, window)
    if random.random() < 0.5:
        schedule["faults"] = _noticeable(_faults(random), schedule)
    schedule |= _s3(random)
    if random.random() < 0.35:
        schedule["process"] = _process(random)
    return Schedule(**schedule)


def _server(random: Random) -> dict[str, Any]:
    server: dict[str, Any] = {
        "seed": random.randint(1, 50),
        "events": random.choice([random.randint(0, 5), random.randint(6, 60), random.randint(61, 250)]),
    }
    for name, values in SWITCHES.items():
        if random.random() < (0.02 if name in _SICK else 0.2):
            value = random.choice(values)
            server[name] = value.value if isinstance(value, Enum) else value
    if "entitled" in server:
        # Who is not told must take the silence for an empty window.
        server.pop("tells_entitlement", None)
    return server


def _export(random: Random) -> dict[str, Any]:
    file_format = random.choice(list(COMPRESSIONS))
    export: dict[str, Any] = {"file_format": file_format, "compression": random.choice(COMPRESSIONS[file_format])}
    for name, patterns in FILTERS.items():
        if random.random() < 0.12:
            export[name] = random.choice(patterns)
    for name, share in {"dry_run": 0.25, "allow_shrink": 0.25, "encrypt": 0.1, "signed": 0.2}.items():
        if random.random() < share:
            export[name] = True
    if random.random() < 0.1:
        export["replace"] = False
    if random.random() < 0.4:
        export["on_expired"] = random.choice(["fail", "skip", "warn"])
    if random.random() < 0.2:
        export["pseudonymize"] = random.choice([["username"], ["user_mail"], ["username", "user_mail"]])
    if file_format == "csv" and random.random() < 0.25:
        export["csv_safe"] = True
    return export


def _window(random: Random, server: dict[str, Any]) -> list[int]:
    kind = random.choice(["all", "day", "days", "second", "event", "odd", "odd", "outside"])
    if kind == "all":
        return [0, _SECONDS]
    if kind in ("day", "days"):
        first = random.randint(0, 8)
        return [first * _DAY, min(first + (1 if kind == "day" else random.randint(1, 8)), 9) * _DAY]
    if kind == "second":
        start = random.randrange(_SECONDS)
        return [start, start + 1]
    if kind == "outside":
        return [_SECONDS + _DAY, _SECONDS + 2 * _DAY]
    if kind == "event" and server["events"]:
        # One second that has an event; a busy one has several.
        start = _moment_of_an_event(random, server)
        return [start, start + 1]
    first, last = sorted((random.randrange(-3600, _SECONDS + 3600), random.randrange(-3600, _SECONDS + 3600)))
    return [first, last + 1]


def _moment_of_an_event(random: Random, server: dict[str, Any]) -> int:
    tenant = Simulator(SimulatorSettings(seed=server["seed"], events=server["events"], start=START, end=START + PERIOD))
    data = tenant.app.store.dataset
    [facts] = data.facts(number := random.randrange(data.count), number + 1)
    return int(facts.second - START.timestamp())


def _seconds(random: Random, window: list[int], share: float) -> list[int]:
    if random.random() > share:
        return []
    return [random.randrange(*window) for _ in range(random.randint(1, 3))]


def _changes(random: Random, window: list[int]) -> dict[str, list[Any]]:
    changes: dict[str, list[Any]] = {}
    for _ in range(random.randint(1, 3)):
        verb = random.choice(["insert", "insert-between", "delete", "hide", "reveal"])
        changes[str(random.randint(1, 12))] = [verb, random.randrange(*window)]
    return changes


_SLOW = (Fault.HANG, Fault.STALL)
_NAMED = (Fault.UNAUTHORIZED, Fault.LOGIN_PAGE, Fault.REDIRECT, Fault.NO_DATA)


def _faults(random: Random) -> dict[str, str]:
    if random.random() < 0.25:
        # A single lie among true answers.
        return {str(random.randint(1, 8)): random.choice(FALSE_ANSWERS).value}
    kinds = random.choice([PASSING_FAULTS, FALSE_ANSWERS, FALSE_ANSWERS, _NAMED, (*PASSING_FAULTS, *FALSE_ANSWERS)])
    if random.random() < 0.15:
        return {str(random.randint(1, 6)): random.choice(_SLOW).value}
    if random.random() < 0.2:
        # A fault that lasts.
        first = random.randint(1, 8)
        fault = random.choice(kinds).value
        return {str(number): fault for number in range(first, first + 120)}
    numbers = random.sample(range(1, 16), random.randint(1, 5))
    return {str(number): random.choice(kinds).value for number in sorted(numbers)}


def _noticeable(faults: dict[str, str], schedule: dict[str, Any]) -> dict[str, str]:
    """Leave out lies that no client can notice, since every answer tells the same one."""
    silent = set()
    if schedule["export"]["file_format"] == "csv":
        # A row of an event with several policies; the server counts events.
        silent.add(Fault.LOST_ROW.value)
    if not schedule["server"].get("total_count", True):
        silent.add(Fault.LOST_ROW.value)
        if list(faults.values()).count(Fault.EMPTY_PAGE.value) > 1:
            silent.add(Fault.EMPTY_PAGE.value)
    return {number: fault for number, fault in faults.items() if fault not in silent}


def _s3(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if random.random() < 0.3:
        numbers = random.sample(range(1, 15), random.randint(1, 3))
        found["s3"] = {str(number): random.choice(list(Failure)).value for number in sorted(numbers)}
        # The answers that are lost are the worst.
        if random.random() < 0.4:
            found["s3"] = dict.fromkeys(found["s3"], Failure.ANSWER_LOST.value)
    elif random.random() < 0.07:
        found["s3_outage"] = [random.randint(1, 12), random.choice(list(Failure)).value]
    if random.random() < 0.05:
        found["s3_seconds"] = 0.05
    return found


def _process(random: Random) -> dict[str, Any]:
    kinds = {"raise": 40, "stop": 15, "two-tries": 25, "sigterm": 10, "sigkill": 10}
    return {
        "kind": _weighted(random, kinds),
        "at": random.choice(["server", "s3-before", "s3-after"]),
        "number": random.randint(1, 12),
        "delay": random.choice([0.0, 0.0, round(random.uniform(0, 0.02), 4)]),
    }


def _weighted(random: Random, weights: dict[_T, int]) -> _T:
    return random.choices(list(weights), list(weights.values()))[0]
