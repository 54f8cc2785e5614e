"""The manifest as a file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.manifest import (
    MOST_MANIFEST_BYTES,
    Manifest,
    ManifestError,
    StoredManifest,
)
from airflow_provider_curation.audit.window import Window
from tests.support.manifests import manifest as small

VALUES: dict[str, Any] = {
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
    return Manifest(**{**named, **VALUES, **values})


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


# Read back


def changed(**facts: object) -> bytes:
    return json.dumps({**json.loads(small().to_json()), **facts}).encode()


def test_what_was_written_is_read() -> None:
    made = small(personal_data={"pseudonymized": ["username"], "pseudonym_key_id": "0" * 16, "csv_safe": False})
    read = StoredManifest.parse(made.to_json())
    assert read.facts == dataclasses.asdict(made)
    assert read.sha256 == hashlib.sha256(made.to_json()).hexdigest()
    assert read.window == Window.parse(made.start, made.end)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", "manifest_version is not 1"),
        (changed(manifest_version=2), "manifest_version is not 1"),
        (changed(manifest_version=True), "manifest_version"),
        (changed(more=1), "a member that manifests do not have: 'more'"),
        (changed(events="1"), r"does not fit the schema.*events"),
        (changed(events=True), r"does not fit the schema.*events"),
        (changed(events=1.0), r"does not fit the schema.*events"),
        (changed(events=-1), r"does not fit the schema.*events"),
        (changed(actions={"blocked": -1}), r"does not fit the schema.*actions"),
        (changed(personal_data=[]), r"does not fit the schema.*personal_data"),
        (changed(personal_data={"pseudonymized": True}), r"does not fit the schema.*pseudonymized"),
        (changed(sha256="X"), r"does not fit the schema.*sha256"),
        (changed(start="2025-01-02T00:00:00Z"), "not before its end"),
        (changed(start="0001-01-01T00:00:00+14:00"), "out of range"),
        (small().to_json()[:-2] + b',"events":7}', "two members named 'events'"),
        (small().to_json().decode().encode("utf-16"), "not UTF-8"),
        (small().to_json() + b" " * MOST_MANIFEST_BYTES, "more than the 4,194,304"),
        (changed(instance="\ud800"), "half a surrogate pair"),
        (b"[" * 100_000, "levels"),
    ],
)
def test_what_is_not_a_manifest_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        StoredManifest.parse(body)


FIELDS = [each for each in dataclasses.fields(Manifest) if each.name != "manifest_version"]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_whatever_a_field_holds_it_is_refused_or_usable(field: dataclasses.Field[object]) -> None:
    facts = json.loads(small().to_json())
    refused = 0
    for wrong in ([], {"a": {"b": []}}, 1.5, "\x00", True, None, -1):
        try:
            read = StoredManifest.parse(json.dumps({**facts, field.name: wrong}).encode())
        except ManifestError:
            refused += 1
        else:
            assert isinstance(read.treatment, tuple)
    assert refused >= 4
    del facts[field.name]
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        with pytest.raises(ManifestError, match=field.name):
            StoredManifest.parse(json.dumps(facts).encode())


NOISE = st.binary(max_size=100) | st.dictionaries(st.text(max_size=5), st.integers()).map(repr).map(str.encode)


@given(NOISE)
def test_whatever_comes_the_error_is_a_named_one(body: bytes) -> None:
    with pytest.raises(ManifestError):
        StoredManifest.parse(body)


def test_threads_find_the_schema_ready() -> None:
    """msgspec crashes the process if two threads read the same class for the first time at once."""
    code = """
import sys
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
inspected = []
def watch(frame, event, _):
    if event == "call" and frame.f_globals.get("__name__") == "msgspec._utils":
        inspected.append(frame.f_code.co_name)
body = sys.stdin.buffer.read()
sys.setprofile(watch)
StoredManifest.parse(body)
sys.setprofile(None)
print(*inspected)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=small().to_json(), capture_output=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
