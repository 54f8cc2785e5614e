"""The archive as OCSF events: every event valid by the framework's schema, and what each attribute says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from jsonschema import Draft202012Validator

from airflow_provider_curation.audit.exporting import parquet
from tests.support.copied_archive import CopiedArchive

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SAMPLES = Path(__file__).parents[2] / "unit" / "simulator" / "samples"
SCHEMA = json.loads((Path(__file__).parent / "ocsf" / "web_resources_activity-1.8.0.json").read_text())

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("documentation")]


def opened(root: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute((EXAMPLES / "ocsf.sql").read_text().replace("ROOT", root))
    return connection


@pytest.fixture(scope="module")
def database(archive: CopiedArchive) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = opened(archive.root)
    yield connection
    connection.close()


def valid_events(database: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The view's events as JSON, each of which the schema allows."""
    validator = Draft202012Validator(SCHEMA)
    lines = [line for (line,) in database.execute("SELECT line FROM ocsf_json").fetchall()]
    events = [json.loads(line) for line in lines]
    for event in events:
        validator.validate(event)
    return events


def made(folder: Path, events: Sequence[Mapping[str, Any]], stream: str = "events") -> duckdb.DuckDBPyConnection:
    """The view over one file with events."""
    file = folder / f"instance=acme.jfrog.io/stream={stream}/format=parquet/dt=2026-03-09/made.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(parquet.encode([json.dumps(event).encode() + b"\n" for event in events])))
    return opened(str(folder))


def test_every_event_of_the_archive_is_a_valid_one(database: duckdb.DuckDBPyConnection, archive: CopiedArchive) -> None:
    events = valid_events(database)
    by_stream = {
        stream: [event for event in events if event["metadata"]["log_name"] == stream]
        for stream in ("events", "dry_run")
    }
    assert len(by_stream["events"]) + len(by_stream["dry_run"]) == len(events)
    for stream, truth in (("events", archive.events), ("dry_run", archive.dry_run)):
        assert Counter(event["metadata"]["uid"] for event in by_stream[stream]) == Counter(
            str(event["id"]) for event in truth
        )
    decided = Counter((event["status_code"], event["action"], event["disposition"]) for event in by_stream["events"])
    actions = Counter(event["action"] for event in archive.events)
    assert decided == {
        ("blocked", "Denied", "Blocked"): actions["blocked"],
        ("approved", "Allowed", "Allowed"): actions["approved"],
        ("passed", "Allowed", "No Action"): actions["passed"],
    }
    assert {event["action"] for event in by_stream["dry_run"]} == {"Observed"}


@pytest.mark.parametrize("year", [2023, 2026])
def test_events_of_real_servers_are_valid(year: int, tmp_path: Path) -> None:
    events = json.loads((SAMPLES / f"audit_packages_{year}.json").read_text())["data"]
    assert len(valid_events(made(tmp_path, events))) == len(events) > 0


BLOCKED: dict[str, Any] = {
    "id": 47583,
    "created_at": "2026-03-09T14:51:03Z",
    "action": "blocked",
    "package_type": "npm",
    "package_name": "event-streem",
    "package_version": "3.3.6",
    "package_url": "https://registry.npm.example/event-streem",
    "reason": "Policy violations",
    "event_origin": "Download to repository",
    "curated_repository_server_name": "",
    "curated_repository_name": "npm-remote",
    "curated_project": "default",
    "username": "dev1",
    "user_mail": "dev1@acme.example",
    "origin_repository_name": "npm-virtual",
    "public_repo_url": "https://registry.npm.example:8443/all",
    "public_repo_name": "npm",
    "ondemand": False,
    "new": {"field": None},
    "policies": [
        {
            "policy_id": 7,
            "policy_name": "no malware",
            "dry_run": False,
            "condition_name": "Malicious package",
            "condition_category": "security",
            "result": "Blocked",
            "policy_reason": "Package is known to be malicious",
            "new": 1,
        }
    ],
}


def test_each_attribute_says_what_the_page_says(tmp_path: Path) -> None:
    [event] = valid_events(made(tmp_path, [BLOCKED]))
    assert event == {
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6001,
        "class_name": "Web Resources Activity",
        "activity_id": 2,
        "activity_name": "Read",
        "type_uid": 600102,
        "type_name": "Web Resources Activity: Read",
        "time": 1773067863000,
        "severity_id": 0,
        "severity": "Unknown",
        "message": "blocked npm event-streem 3.3.6",
        "action_id": 2,
        "action": "Denied",
        "disposition_id": 2,
        "disposition": "Blocked",
        "status_id": 2,
        "status": "Failure",
        "status_code": "blocked",
        "status_detail": "Policy violations",
        "authorizations": [
            {
                "decision": "Blocked",
                "policy": {
                    "uid": "7",
                    "name": "no malware",
                    "type": "security",
                    "desc": "Package is known to be malicious",
                    "is_applied": True,
                    "data": {"condition_name": "Malicious package", "other": '{"new":1}'},
                },
            }
        ],
        "actor": {"user": {"name": "dev1", "email_addr": "dev1@acme.example"}},
        "web_resources": [
            {
                "name": "event-streem",
                "type": "npm",
                "url_string": "https://registry.npm.example/event-streem",
                "data": {"version": "3.3.6"},
            }
        ],
        "dst_endpoint": {"name": "npm", "hostname": "registry.npm.example"},
        "metadata": {
            "version": "1.8.0",
            "profiles": ["host", "security_control"],
            "product": {"name": "JFrog Curation", "vendor_name": "JFrog"},
            "uid": "47583",
            "tenant_uid": "acme.jfrog.io",
            "log_name": "events",
        },
        "unmapped": {
            "event_origin": "Download to repository",
            "ondemand": False,
            "curated_repository_name": "npm-remote",
            "curated_project": "default",
            "origin_repository_name": "npm-virtual",
            "public_repo_url": "https://registry.npm.example:8443/all",
            "other": '{"new":{"field": null}}',
        },
    }


def test_events_that_lack_fields_or_have_strange_ones_are_valid(tmp_path: Path) -> None:
    bare = {"id": 1, "created_at": "2026-03-09T14:51:03Z", "action": "passed", "package_name": "left-pad"}
    odd = {**BLOCKED, "id": 2, "action": "deferred", "user_mail": "u:3f9a", "policies": [{"policy_id": 7}]}
    tricky = {**BLOCKED, "id": 3, "reason": '{"a":null,"b":null} ,"c":null', "package_version": 'x,"', "username": ""}
    first, second, third = sorted(
        valid_events(made(tmp_path, [bare, odd, tricky])), key=lambda event: event["metadata"]["uid"]
    )
    assert not {"actor", "authorizations", "dst_endpoint", "status_detail"} & first.keys()
    assert (second["action_id"], second["action"], second["status_id"]) == (99, "deferred", 0)
    assert second["actor"] == {"user": {"name": "dev1"}}
    assert second["unmapped"]["user_mail"] == "u:3f9a"
    assert third["status_detail"] == tricky["reason"]
    assert third["web_resources"][0]["data"] == {"version": 'x,"'}
    assert third["actor"]["user"]["name"] == "dev1@acme.example"


def test_a_policy_on_trial_decided_nothing(tmp_path: Path) -> None:
    on_trial = {**BLOCKED, "policies": [{**BLOCKED["policies"][0], "dry_run": True}]}
    [event] = valid_events(made(tmp_path, [on_trial], "dry_run"))
    assert (event["action"], event["disposition"], event["status"]) == ("Observed", "Detected", "Unknown")
    assert event["authorizations"][0]["policy"]["is_applied"] is False


def test_a_siem_gets_the_same_events_as_parquet_and_as_json_lines(
    database: duckdb.DuckDBPyConnection, archive: CopiedArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database.execute((EXAMPLES / "ocsf_copy.sql").read_text())
    count = "SELECT action, count(*), sum(hash(time, message, metadata.uid)) FROM"
    of_view = database.execute(f"{count} ocsf GROUP BY ALL ORDER BY ALL").fetchall()
    assert database.execute(f"{count} 'ocsf.parquet' GROUP BY ALL ORDER BY ALL").fetchall() == of_view
    assert sum(row[1] for row in of_view) == len(archive.events) + len(archive.dry_run)
    lines = [line for (line,) in database.execute("SELECT line FROM ocsf_json").fetchall()]
    assert sorted((tmp_path / "ocsf.jsonl").read_bytes().decode().split("\n")) == sorted([*lines, ""])


@pytest.mark.parametrize("spoil", [{"time": "now"}, {"class_uid": 6002}, {"colour": "red"}, {"actor": {}}])
def test_the_schema_refuses_what_is_not_an_event_of_the_class(spoil: dict[str, Any], tmp_path: Path) -> None:
    [event] = valid_events(made(tmp_path, [BLOCKED]))
    assert not Draft202012Validator(SCHEMA).is_valid({**event, **spoil})
