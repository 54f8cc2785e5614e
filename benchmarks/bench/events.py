"""Audit events as a function of their index: cheap to make in any number, the same in every run, ascending in time."""

from __future__ import annotations

import csv
import io
import json
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

FIRST_ID = 10_000_001
#: Different events; after so many all but `id` and `created_at` repeats: far beyond a compressor's window of 32 KiB.
KINDS = 20_000

CSV_COLUMNS = (
    "id,created_at,action,reason,package_type,package_name,package_version,package_url,curated_repo_server_name,"
    "curated_repo_name,curated_repo_project_key,user_name,user_mail,origin_repo_server_name,origin_repo_name,"
    "origin_repo_project_key,public_repo_name,public_repo_url,ecosystem,ondemand,policy_id,policy_name,condition_name,"
    "condition_category,dry_run,result,policy_reason"
)

_TYPES = {
    "npm": ("npm registry", "https://registry.npm.example"),
    "PyPI": ("PyPI", "https://files.pypi.example"),
    "Maven": ("Maven Central", "https://repo.maven.example/maven2"),
    "Go": ("Go Proxy", "https://proxy.golang.example"),
    "NuGet": ("NuGet Gallery", "https://api.nuget.example/v3"),
}
_WORDS = (
    "async core http json data graph stream cache token vector logger parser router schema client server worker "
    "queue batch crypto hash string buffer table index metric trace event plugin theme config loader bundle"
).split()
_POLICIES = (
    ("malicious, hard block", "Malicious package", "security", "Package is known to be malicious"),
    ("immature", "Package version is immature (permissive)", "operational", "Package version is newer than 14 days"),
    ("licence allow list", "License is not on the allow list", "legal", "The license of the package is not allowed"),
    ("cvss 9 and above", "CVE with CVSS score of 9 or above", "security", "The package has a fix for a critical CVE"),
    ("unmaintained", "Package version is aged", "operational", "Package version is older than 4 years"),
)


@dataclass(frozen=True)
class Kind:
    """What does not depend on an event's index: its JSON after `created_at`, and its CSV rows after `id,created_at`."""

    json_tail: bytes
    csv_tails: tuple[bytes, ...]


@dataclass(frozen=True)
class Events:
    """`total` events spread evenly over `[start, end)`; event `i` has id `FIRST_ID + i`."""

    total: int
    start: datetime
    end: datetime

    @property
    def width(self) -> int:
        """Seconds from start to end."""
        return int((self.end - self.start).total_seconds())

    def index_range(self, start: datetime, end: datetime) -> tuple[int, int]:
        """The first index in `[start, end)` and the one after the last."""
        first, after = self._index_at(start), self._index_at(end)
        return first, max(first, after)

    def json_events(self, first: int, after: int) -> Iterator[bytes]:
        """The events' JSON objects, without commas between them."""
        kinds, stamps, width, total = self._kinds, self._stamps, self.width, self.total
        for i in range(first, after):
            stamp = stamps[i * width // total]
            yield b'{"id":%d,"created_at":"%b"%b' % (FIRST_ID + i, stamp, kinds[i % KINDS].json_tail)

    def csv_rows(self, first: int, after: int) -> Iterator[bytes]:
        """The events' CSV rows, one for each policy."""
        kinds, stamps, width, total = self._kinds, self._stamps, self.width, self.total
        for i in range(first, after):
            head = b"%d,%b," % (FIRST_ID + i, stamps[i * width // total])
            for tail in kinds[i % KINDS].csv_tails:
                yield head + tail

    def mean_bytes(self) -> float:
        """Bytes of JSON an event, on average."""
        sample = min(KINDS, self.total)
        return sum(map(len, self.json_events(0, sample))) / max(sample, 1)

    def _index_at(self, moment: datetime) -> int:
        """The index of the first event at or after a moment: event i happens at second i·width//total."""
        seconds = (moment - self.start) / timedelta(seconds=1)
        whole = int(seconds) if seconds == int(seconds) or seconds < 0 else int(seconds) + 1
        return min(max(-(-whole * self.total // self.width), 0), self.total)

    @cached_property
    def _kinds(self) -> list[Kind]:
        rng = random.Random(20260309)
        return [_kind(rng) for _ in range(min(KINDS, self.total) or 1)]

    @cached_property
    def _stamps(self) -> list[bytes]:
        moments = (self.start + timedelta(seconds=s) for s in range(self.width))
        return [m.strftime("%Y-%m-%dT%H:%M:%SZ").encode() for m in moments]


class Prebuilt:
    """The JSON of all events in one buffer, so that any run of events is one slice of it."""

    def __init__(self, events: Events) -> None:
        pieces = bytearray()
        self._offsets = array("Q", [0])
        for event in events.json_events(0, events.total):
            pieces += event
            pieces += b","
            self._offsets.append(len(pieces))
        self._view = memoryview(pieces).toreadonly()

    def __len__(self) -> int:
        return len(self._view)

    def slice(self, first: int, after: int) -> memoryview:
        """Events `first` to `after` with commas between them; no copy."""
        return self._view[self._offsets[first] : self._offsets[after] - 1]


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with an offset, as an aware datetime in UTC."""
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return moment.astimezone(timezone.utc)


def format_time(moment: datetime) -> str:
    """Whole seconds in UTC with `Z`, as the server writes it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind(rng: random.Random) -> Kind:
    package_type = rng.choice(tuple(_TYPES))
    registry, url = _TYPES[package_type]
    name = "-".join(rng.sample(_WORDS, rng.randint(2, 3))) + f"-{rng.randrange(10_000)}"
    version = f"{rng.randrange(20)}.{rng.randrange(60)}.{rng.randrange(100)}"
    repository = f"acme-{package_type.lower()}-{rng.choice(('remote', 'dev-remote', 'release-remote'))}"
    user = f"{rng.choice(('dev', 'ci', 'build'))}{rng.randrange(3000)}@acme.example"
    chosen = rng.sample(range(len(_POLICIES)), rng.choice((1, 2, 2, 3))) if rng.random() < 0.7 else []
    action = "blocked" if chosen else "approved"
    policies = [_policy(index) for index in sorted(chosen)]
    fields: dict[str, Any] = {
        "action": action,
        "package_type": package_type,
        "package_name": name,
        "package_version": version,
        "package_url": f"{url}/{name}/-/{name}-{version}-{rng.getrandbits(64):016x}.tgz",
        "reason": "Policy violations" if chosen else "No policy violations",
        "event_origin": "Download to repository",
        "curated_repository_server_name": "",
        "curated_repository_name": repository,
        "curated_project": "default",
        "username": user,
        "user_mail": user,
        "origin_repository_server_name": "acme1",
        "origin_repository_name": repository,
        "origin_project": "default",
        "public_repo_url": url,
        "public_repo_name": registry,
        "policies": policies or None,
    }
    return Kind(_json_tail(fields), tuple(_csv_tails(fields, policies)))


def _policy(index: int) -> dict[str, Any]:
    name, condition, category, reason = _POLICIES[index]
    return {
        "policy_name": name,
        "policy_id": 1180 + index,
        "dry_run": False,
        "condition_name": condition,
        "condition_category": category,
        "result": "Blocked",
        "policy_reason": reason,
    }


def _json_tail(fields: dict[str, Any]) -> bytes:
    return b"," + json.dumps(fields, separators=(",", ":")).encode()[1:]


def _csv_tails(fields: dict[str, Any], policies: list[dict[str, Any]]) -> Iterator[bytes]:
    order = (
        "action reason package_type package_name package_version package_url curated_repository_server_name "
        "curated_repository_name curated_project username user_mail origin_repository_server_name "
        "origin_repository_name origin_project public_repo_name public_repo_url"
    ).split()
    common = [*(fields[name] for name in order), "", "false"]
    columns = "policy_id policy_name condition_name condition_category dry_run result policy_reason".split()
    for policy in policies or [{}]:
        line = io.StringIO()
        cells = [str(policy.get(column, "")).replace("False", "false") for column in columns]
        csv.writer(line, lineterminator="\n").writerow([*common, *cells])
        yield line.getvalue().encode()
