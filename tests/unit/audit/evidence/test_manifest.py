"""The manifest as a file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from airflow_provider_curation.audit.evidence.manifest import Manifest

VALUES: dict[str, object] = {
    "start": "2026-03-09T00:00:00Z",
    "end": "2026-03-10T00:00:00Z",
    "stream": "events",
    "instance": "acme.jfrog.example",
    "bucket": "audit-archive",
    "key": "curation/acme/events/é.jsonl.gz",
    "events": 3,
    "actions": {"blocked": 1, "approved": 2},
    "first_id": None,
    "filters": {},
    "reconciled": True,
}


def manifest(**values: object) -> Manifest:
    named = {field.name: 0 for field in dataclasses.fields(Manifest) if field.default is dataclasses.MISSING}
    named.pop("dag_run", None)
    return Manifest(**{**named, **VALUES, **values})  # type: ignore[arg-type]


def test_holds_every_field_by_name() -> None:
    made = manifest(dag_run={"dag_id": "daily"})
    read = json.loads(made.to_json())
    assert set(read) == {field.name for field in dataclasses.fields(Manifest)}
    assert {name: read[name] for name in VALUES} == VALUES
    assert read["dag_run"] == {"dag_id": "daily"}
    assert read["manifest_version"] == 1
    assert read["first_id"] is None


def test_is_repeatable_whatever_the_order_of_its_parts() -> None:
    one = manifest(actions={"blocked": 1, "approved": 2}).to_json()
    other = manifest(actions={"approved": 2, "blocked": 1}).to_json()
    assert one == other
    assert one.endswith(b"}\n")
    assert one.isascii()


def test_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest().events = 4  # type: ignore[misc]


def test_no_dag_run_is_shared() -> None:
    assert manifest().dag_run is not manifest().dag_run
