"""The manifest against its schema."""

from __future__ import annotations

import dataclasses
import hashlib

import jsonschema
import pytest

from airflow_provider_curation.audit.evidence.manifest import (
    Manifest,
    StoredManifest,
    schema,
)
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, START, Exporter, MemoryArchive, TruthClient, manifest_key, stored

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
        "manifest_version": 2,
        "more": 1,
    }.items():
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**made.facts, name: wrong})


def test_a_rewrite_names_what_it_replaced() -> None:
    archive, exporter = MemoryArchive(), Exporter(TruthClient(50, WINDOW))
    key = exporter.export(archive, WINDOW)
    first = archive.objects[manifest_key(key)]
    assert stored(archive, key).facts["replaces"] is None
    exporter.export(archive, WINDOW)
    assert stored(archive, key).facts["replaces"] == hashlib.sha256(first).hexdigest()
