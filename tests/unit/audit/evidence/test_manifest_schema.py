"""The manifest against its schema, its signature, and what may replace what."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from typing import Any

import jsonschema
import pytest

from airflow_provider_curation.audit.errors import ShrinkError
from airflow_provider_curation.audit.evidence.manifest import (
    Manifest,
    StoredManifest,
    schema,
    signature_fault,
)
from airflow_provider_curation.audit.evidence.replacement import Plan, Present, check_replacement, may_be_unchanged
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, KEY, START, Exporter, MemoryArchive, TruthClient, manifest_key, stored

WINDOW = Window(START, START + DAY)
PERSONAL = {"pseudonymized": [], "pseudonym_key_id": None, "csv_safe": False}


@pytest.fixture(scope="module")
def made() -> StoredManifest:
    archive = MemoryArchive()
    exporter = Exporter(TruthClient(50, WINDOW))
    return stored(archive, exporter.export(archive, WINDOW))


def test_fits_its_schema(made: StoredManifest) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    validator.validate(made.facts)
    assert (
        set(schema()["properties"]) == set(schema()["required"]) == {each.name for each in dataclasses.fields(Manifest)}
    )
    for name, wrong in {
        "events": -1,
        "start": "2025-01-01",
        "sha256": "x",
        "filters": {"users": ["a"]},
        "object_lock": {"mode": "NONE"},
        "signature": {"value": "x"},
        "manifest_version": 2,
        "more": 1,
    }.items():
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**made.facts, name: wrong})


def test_the_signature_needs_nothing_but_the_standard_library(made: StoredManifest) -> None:
    facts = dict(made.facts)
    signature = facts.pop("signature")
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    assert hmac.new(KEY.value, canonical, hashlib.sha256).hexdigest() == signature["value"]
    assert signature_fault(made.facts, [KEY]) is None
    for name in facts:
        assert signature_fault({**made.facts, name: "changed"}, [KEY]) == "has a signature that does not fit"


def test_a_rewrite_names_what_it_replaced() -> None:
    archive, exporter = MemoryArchive(), Exporter(TruthClient(50, WINDOW))
    key = exporter.export(archive, WINDOW)
    first = archive.objects[manifest_key(key)]
    assert stored(archive, key).facts["replaces"] is None
    exporter.export(archive, WINDOW)
    assert stored(archive, key).facts["replaces"] == hashlib.sha256(first).hexdigest()


# Never worse


def plan(**changes: Any) -> Plan:
    chosen = {
        "window": WINDOW,
        "series": ("acme", "events", "jsonl"),
        "compression": "gzip",
        "filters": {},
        "personal_data": PERSONAL,
        "object_lock": {},
        **changes,
    }
    return Plan(**chosen)


def present(made: StoredManifest | None, **changes: Any) -> Present:
    facts = made.facts if made else {"size": 1, "etag": "x"}
    return Present(**{"uri": "s3://b/k", "size": facts["size"], "etag": facts["etag"], "manifest": made, **changes})


OTHERS = {
    "another window": {"window": Window(START, START + 2 * DAY)},
    "acme events jsonl": {"series": ("acme", "dry_run", "jsonl")},
    "filters": {"filters": {"actions": ["blocked"]}},
    "username pseudonymized": {
        "personal_data": {"pseudonymized": ["username"], "pseudonym_key_id": "0" * 16, "csv_safe": False}
    },
    "csv_safe": {"personal_data": {**PERSONAL, "csv_safe": True}},
}


@pytest.mark.parametrize("text", OTHERS)
def test_something_else_is_refused_before_it_is_read(made: StoredManifest, text: str) -> None:
    with pytest.raises(ShrinkError, match=text):
        check_replacement(present(made), plan(**OTHERS[text]))
    assert not may_be_unchanged(present(made), plan(**OTHERS[text]))


def test_fewer_events_are_refused_with_or_without_the_object(made: StoredManifest) -> None:
    for size in (made.facts["size"], None):
        there = present(made, size=size)
        check_replacement(there, plan(), made.facts["events"])
        check_replacement(there, plan(), made.facts["events"] + 1)
        with pytest.raises(ShrinkError, match="replaced by 49"):
            check_replacement(there, plan(), 49)


def test_an_object_without_a_manifest_is_replaced_while_the_server_remembers() -> None:
    there = present(None)
    for whole in (plan(), plan(filters={"actions": ["a"]})):
        check_replacement(there, whole, 0)
    check_replacement(present(None, size=None), plan(expired=True), 0)
    with pytest.raises(ShrinkError, match="without a manifest"):
        check_replacement(there, plan(expired=True))


def test_only_what_s3_still_holds_can_be_unchanged(made: StoredManifest) -> None:
    assert may_be_unchanged(present(made), plan())
    assert not may_be_unchanged(present(made, etag="other"), plan())
    assert not may_be_unchanged(present(made, size=None), plan())
    assert not may_be_unchanged(present(made), plan(compression="zstd"))
    assert not may_be_unchanged(present(made), plan(object_lock={"legal_hold": True}))
