"""How long does a report take, and does memory grow with the events?

python benchmarks/report.py        a month of a million events, and of a tenth of that; a year of hourly manifests
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from bench import facts, made_archive, table

from airflow_provider_curation.audit.evidence.manifest import Manifest
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.s3.location import DEFAULT_KEY

MONTH_START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAYS = 30
#: The aims: seconds, bytes over the imports, and bytes of the page.
MONTH_SECONDS, YEAR_SECONDS, MEMORY, PAGE = 60.0, 30.0, 150e6, 1.5e6
RUN_SECONDS = 1200
HEADER = ("run", "events", "manifests", "seconds", "CPU s", "MB over imports", "kB of page")

_BLOCKED = (
    ',"policies":[{"policy_name":"policy %d","policy_id":7,"dry_run":false,"condition_name":"condition %d",'
    '"condition_category":"security","result":"Blocked"}]}\n'
)
_EVENT = (
    '{"id":%d,"created_at":"%s","action":"%s","package_type":"npm","package_name":"package-%d",'
    '"package_version":"1.%d.0","package_url":"https://registry.npm.example/package-%d","reason":"Policy violations",'
    '"event_origin":"Download to repository","curated_repository_server_name":"acme",'
    '"curated_repository_name":"npm-remote-%d","curated_project":"default","username":"user%d",'
    '"user_mail":"user%d@acme.example","origin_repository_name":"npm-virtual","public_repo_name":"npm"'
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the month (1,000,000)")
    parser.add_argument("--hours", type=int, default=made_archive.HOURS_A_YEAR, help="manifests of the year (8760)")
    parser.add_argument("--once", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(_report(*chosen.once)))
        return 0
    print(f"Machine: {facts.machine()}\nVersions: {facts.versions()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as name:
        month = _run("a month", _month(Path(name) / "month", chosen.events), _of_month(), True)
        tenth = _run("a month, a tenth", _month(Path(name) / "tenth", chosen.events // 10), _of_month(), True)
        hours = Window(made_archive.hour(0).start, made_archive.hour(chosen.hours - 1).end)
        year = _run("a year, hourly", _year(Path(name) / "year", chosen.hours), hours, False)
    print(table.terminal(HEADER, [_row(each) for each in (month, tenth, year)]))
    growth = month["memory"] - tenth["memory"]
    aims = [
        (f"a month in under {MONTH_SECONDS:.0f} s", f"{month['seconds']:.1f} s", month["seconds"] < MONTH_SECONDS),
        (f"a year in under {YEAR_SECONDS:.0f} s", f"{year['seconds']:.1f} s", year["seconds"] < YEAR_SECONDS),
        (f"under {MEMORY / 1e6:.0f} MB", f"{month['memory'] / 1e6:.1f} MB", month["memory"] < MEMORY),
        ("ten times the events add less than 30 MB", f"{growth / 1e6:+.1f} MB", growth < 30e6),
        (f"a page under {PAGE / 1e6} MB", f"{month['page'] / 1e6:.2f} MB", month["page"] < PAGE),
    ]
    print()
    for aim, measured, met in aims:
        print(f"{'met' if met else 'MISSED'}: {aim}: {measured}")
    return 0 if all(met for _, _, met in aims) else 1


def _run(name: str, folder: Path, period: Window, activity: bool) -> dict[str, Any]:
    bounds = [format_utc(period.start), format_utc(period.end)]
    command = [sys.executable, __file__, "--once", str(folder), *bounds, "activity" if activity else "manifests"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return {"name": name, **json.loads(done.stdout.splitlines()[-1])}


def _row(made: dict[str, Any]) -> list[str]:
    numbers = [f"{made['seconds']:.1f}", f"{made['cpu']:.1f}", f"{made['memory'] / 1e6:.1f}"]
    return [made["name"], f"{made['events']:,}", f"{made['manifests']:,}", *numbers, f"{made['page'] / 1e3:,.0f}"]


def _report(folder: str, start: str, end: str, what: str) -> dict[str, Any]:
    """Make one report, and return what it cost beyond the imports."""
    from airflow_provider_curation.report import create_report

    peak = _peak()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    # A year's objects were never written: that each is missing is a finding, and as it should be here.
    report = create_report(folder, start, end, activity=what == "activity", ignore=["object_missing"])
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    activity = report.figures.activity
    return {
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory": _peak() - peak,
        "page": len(report.html),
        "events": activity.events if activity else 0,
        "manifests": report.figures.trust.manifests,
    }


def _peak() -> int:
    """Return the most bytes of memory so far; ``ru_maxrss`` would begin with those of the process that started this."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _of_month() -> Window:
    return Window(MONTH_START, MONTH_START + timedelta(days=DAYS))


def _month(folder: Path, events: int) -> Path:
    """An archive of daily exports that a verification finds nothing in."""
    a_day = events // DAYS
    for number, day in enumerate(_of_month().split(timedelta(days=1))):
        lines = [_line(number * a_day + place, day, place, a_day) for place in range(a_day)]
        content = "".join(lines).encode()
        fields = {"instance": "acme.jfrog.io", "stream": "events", "file_format": "jsonl", "suffix": ".jsonl.gz"}
        relative = DEFAULT_KEY.format(start=day.start, end=day.end, **fields)
        body = gzip.compress(content, 1, mtime=0)
        _write(folder / relative, body)
        blocked = len(range(0, a_day, 10))
        ids = [number * a_day + place + 1 for place in range(a_day)]
        made = {
            **json.loads(made_archive.manifest(0)),
            "start": format_utc(day.start),
            "end": format_utc(day.end),
            "key": relative,
            **dict.fromkeys(("events_read", "events", "rows", "total_before", "total_after"), a_day),
            "actions": {"approved": a_day - blocked, "blocked": blocked},
            "first_id": ids[0],
            "last_id": ids[-1],
            "ids_digest": str(IdsDigest.of(ids)),
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "content_size": len(content),
            "content_sha256": hashlib.sha256(content).hexdigest(),
        }
        _write(folder / "_manifests" / f"{relative}.json", Manifest(**made).to_json())
    return folder


def _line(number: int, day: Window, place: int, a_day: int) -> str:
    action = "approved" if place % 10 else "blocked"
    names = (number % 40_000, number % 97, number % 40_000, number % 31, number % 500, number % 500)
    moment = format_utc(day.start + timedelta(seconds=86_400 * place // a_day))
    tail = ',"policies":null}\n' if place % 10 else _BLOCKED % (number % 23, number % 11)
    return _EVENT % (number + 1, moment, action, *names) + tail


def _year(folder: Path, hours: int) -> Path:
    for number in range(hours):
        relative = made_archive.relative_key(number)
        _write(folder / "_manifests" / f"{relative}.json", made_archive.manifest(number))
    return folder


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
