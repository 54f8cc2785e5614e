"""Mutants of answers: what the hook makes of them is what they say, or a named error."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, combinations
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, ENTITLEMENT_PATH
from airflow_provider_curation.audit.errors import CurationAuditError
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import Simulator, SimulatorSettings
from airflow_provider_curation.simulator.adapter import SimulatorAdapter
from airflow_provider_curation.simulator.replies import Request
from tests.fuzz import mutants
from tests.fuzz.readings import counted, envelope_of, rows_of_csv, rows_of_json, rows_of_zip
from tests.support.exports import CURATION, START, TOKEN

END = START + timedelta(days=2)
_HOST = "http://curation.example"


@dataclass(frozen=True)
class Case:
    """A mutant: of what, when, and what is asked of the hook.

    :param part: ``json``, ``csv``, ``head``, ``entitlement`` or ``bomb``.
    :param action: ``iter``, ``csv``, ``count``, ``page`` or ``test``.
    :param number: of the answer that is damaged, from 1; 0 damages every one in the same way.
    """

    seed: int
    part: str
    action: str
    number: int
    dry_run: bool
    settings: dict[str, Any] = field(default_factory=dict)
    page_size: int = 2000

    @classmethod
    def draw(cls, seed: int) -> Case:
        random = Random(f"answers {seed}")
        part = random.choices(["json", "csv", "head", "entitlement", "bomb"], [45, 30, 15, 6, 1])[0]
        action = "csv" if part == "csv" else random.choice(["iter", "iter", "iter", "count", "page", "test", "csv"])
        settings: dict[str, Any] = {
            "seed": random.randint(1, 20),
            "events": 0 if part == "entitlement" else random.randint(1, 25),
            "gzip": random.random() < 0.3,
            "chunked": random.random() < 0.3,
        }
        if random.random() < 0.15:
            settings["total_count"] = False
        number = random.choice([0, 1, 1, 2, 2, 3])
        page_size = 2000 if number == 0 else random.choice([7, 2000])
        return cls(seed, part, action, number, random.random() < 0.2, settings, page_size)


@dataclass
class Damage:
    """One answer that was damaged: what was asked, and its body before and after."""

    request: Request
    before: bytes
    after: bytes


class Damager:
    """Damages the answers that a case means."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._asked = 0
        self.done: list[Damage] = []

    def __call__(self, request: Request, answer: bytes) -> bytes:
        case = self._case
        if not self._is_meant(request):
            return answer
        self._asked += 1
        if case.number not in (0, self._asked):
            return answer
        # The same answer is always damaged in the same way.
        random = Random(f"damage {case.seed}")
        top, _, body = answer.partition(b"\r\n\r\n")
        if case.part == "head":
            changed = mutants.head(random, answer)
            self.done.append(Damage(request, body, body))
            return changed
        plain = _plain(top, body)
        damaged = self._damaged(random, request, plain)
        self.done.append(Damage(request, plain, damaged))
        lines = [line for line in top.split(b"\r\n") if not line.lower().startswith(_ABOUT_THE_BODY)]
        packed = b"Content-Encoding: gzip" if case.settings["gzip"] or case.part == "bomb" else b"X-Plain: yes"
        if packed.startswith(b"Content"):
            damaged = damaged if case.part == "bomb" else gzip.compress(damaged, mtime=0)
        return b"\r\n".join([*lines, packed, b"Content-Length: %d" % len(damaged), b"", b""]) + damaged

    def _is_meant(self, request: Request) -> bool:
        if self._case.part == "entitlement":
            return request.path == ENTITLEMENT_PATH
        if self._case.part == "csv":
            return "format=csv" in request.query_string
        return request.path == AUDIT_PATH

    def _damaged(self, random: Random, request: Request, body: bytes) -> bytes:
        if self._case.part == "bomb":
            return mutants.gzip_bomb(random.choice([100, 400]))
        is_zip = "format=csv" in request.query_string
        return random.choice(mutants.ZIP if is_zip else mutants.JSON)(random, body)


_ABOUT_THE_BODY = (b"content-length", b"transfer-encoding", b"content-encoding")


def _plain(top: bytes, body: bytes) -> bytes:
    lowered = top.lower()
    if b"transfer-encoding: chunked" in lowered:
        pieces = []
        while body:
            size, _, body = body.partition(b"\r\n")
            pieces.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        body = b"".join(pieces)
    return gzip.decompress(body) if b"content-encoding: gzip" in lowered else body


@dataclass
class Told:
    """What came of a case: a value, or an exception."""

    value: Any = None
    error: BaseException | None = None


def carry_out(case: Case) -> tuple[str, list[str]]:
    """Carry a case out, and return how it ended and what must not have happened."""
    simulator = Simulator(SimulatorSettings(start=START, end=END, tokens=(TOKEN,), retry_after=0, **case.settings))
    damager = Damager(case)
    connection = {
        "conn_type": "jfrog_curation",
        "host": _HOST,
        "password": TOKEN,
        "extra": {"page_size": case.page_size, "concurrency": 1 + case.seed % 3},
    }
    with patch.dict(os.environ, {f"AIRFLOW_CONN_{CURATION.upper()}": json.dumps(connection)}):
        hook = CurationAuditHook()
        hook.get_conn().mount("http://", SimulatorAdapter(simulator.app, damager))
        told = _told(case, hook)
    verdicts = list(_verdicts(case, simulator, damager.done, told))
    ended = "accepted" if told.error is None and damager.done else "not damaged" if told.error is None else ""
    return ended or type(told.error).__name__, verdicts


def _told(case: Case, hook: CurationAuditHook) -> Told:
    try:
        return Told(_ACTIONS[case.action](hook, case.dry_run))
    except Exception as error:
        return Told(error=error)


def _download(hook: CurationAuditHook, dry_run: bool) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "audit.zip")
        hook.download_csv(START, END, path, dry_run)
        with zipfile.ZipFile(path) as archive:
            return rows_of_csv(archive.read("audit_packages.csv"))


_ACTIONS: dict[str, Callable[[CurationAuditHook, bool], Any]] = {
    "iter": lambda hook, dry_run: list(hook.iter_events(START, END, dry_run)),
    "csv": _download,
    "count": lambda hook, dry_run: hook.count_events(START, END, dry_run),
    "page": lambda hook, dry_run: hook.get_page(START, END, include_total=True, dry_run=dry_run),
    "test": lambda hook, dry_run: hook.test_connection(),
}


# The judge


def _verdicts(case: Case, simulator: Simulator, damages: list[Damage], told: Told) -> Iterator[str]:
    if told.error is not None:
        text = "".join(traceback.format_exception(told.error))
        if TOKEN in text:
            yield "the error holds the token"
        if not isinstance(told.error, CurationAuditError):
            yield f"{type(told.error).__name__}, which is not a named error: {str(told.error)[:200]}"
        return
    judges: dict[str, Callable[..., Iterator[str]]] = {
        "iter": _of_events,
        "csv": _of_csv,
        "count": _of_count,
        "page": _of_page,
        "test": _of_test,
    }
    judge = judges[case.action]
    yield from judge(case, simulator, damages, told.value)
    if case.part == "entitlement" and case.number == 0 and case.action in ("iter", "csv", "count"):
        said = [envelope_of(damage.after) for damage in damages]
        if any(each is not None and each.get("entitled") is False for each in said):
            yield "the window is empty, and the server says that it is not entitled"


def _of_events(case: Case, simulator: Simulator, damages: list[Damage], events: list[Any]) -> Iterator[str]:
    truth = counted(simulator.truth(START, END, case.dry_run))
    pages = [damage for damage in damages if "direction=asc" in damage.request.query_string]
    yield from _of_rows(counted(events), truth, pages, rows_of_json)
    ids = [event["id"] for event in events]
    if ids != sorted(ids) or (not case.dry_run and len(set(ids)) != len(ids)):
        yield "the ids do not ascend, or one is there twice"


def _of_csv(case: Case, simulator: Simulator, damages: list[Damage], rows: Counter[str]) -> Iterator[str]:
    truth = rows_of_csv(simulator.truth_csv(START, END, case.dry_run))
    archives = [damage for damage in damages if "format=csv" in damage.request.query_string]
    yield from _of_rows(rows, truth, archives, rows_of_zip)


def _of_rows(
    rows: Counter[str], truth: Counter[str], damages: list[Damage], read: Callable[[bytes], Counter[str] | None]
) -> Iterator[str]:
    """Allow the truth, and the truth with what some of the damaged answers say in the place of what they said."""
    readable = [(read(damage.before) or Counter(), read(damage.after)) for damage in damages]
    changes = {(str(before), str(after)): (before, after) for before, after in readable if after is not None}
    for some in chain.from_iterable(
        combinations(changes.values(), number) for number in range(min(len(changes), 4) + 1)
    ):
        expected = Counter(truth)
        for before, _ in some:
            expected -= before
        for _, after in some:
            # Neighbouring pages share a row.
            expected |= after or Counter()
        if rows == expected:
            return
    yield f"{sum((rows - truth).values())} rows that no answer holds, {sum((truth - rows).values())} rows missing"


def _of_count(case: Case, simulator: Simulator, damages: list[Damage], count: int) -> Iterator[str]:
    said: set[int | None] = {simulator.count(START, END, case.dry_run)}
    for damage in damages:
        envelope = envelope_of(damage.after) or {}
        meta = envelope.get("meta")
        said.add(meta.get("total_count") if isinstance(meta, dict) else None)
        rows = rows_of_json(damage.after)
        # Without a total the rows are counted.
        said.add(None if rows is None else sum(rows.values()))
    if isinstance(count, bool) or count not in said:
        yield f"{count} events, and no answer says so"


def _of_page(case: Case, simulator: Simulator, damages: list[Damage], page: dict[str, Any]) -> Iterator[str]:
    rows = counted(page["data"])
    said = [rows_of_json(damage.after) for damage in damages]
    if rows not in [counted(simulator.truth(START, END, case.dry_run)), *said]:
        yield "a page with other rows than any answer had"


def _of_test(case: Case, simulator: Simulator, damages: list[Damage], told: tuple[bool, str]) -> Iterator[str]:
    if TOKEN in told[1]:
        yield "the message holds the token"
