"""Statements say which files are signed, and for which purpose."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.statement import Purpose, Statement, StatementError

NOW = datetime(2026, 3, 9, 14, 51, 3, tzinfo=timezone.utc)
MADE = Statement(Purpose.MANIFEST, {"b/ü.gz": "22", "_manifests/a.json": "11"}, NOW)


def test_it_is_an_in_toto_statement() -> None:
    assert json.loads(MADE.to_json()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "_manifests/a.json", "digest": {"sha256": "11"}},
            {"name": "b/ü.gz", "digest": {"sha256": "22"}},
        ],
        "predicateType": str(Purpose.MANIFEST),
        "predicate": {"signed_at": "2026-03-09T14:51:03Z"},
    }
    assert Statement.parse(MADE.to_json()) == MADE


def changed(**facts: Any) -> bytes:
    return json.dumps({**json.loads(MADE.to_json()), **facts}).encode()


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\xff", "not UTF-8"),
        (changed(_type="https://in-toto.io/Statement/v0.1"), "not an in-toto Statement of version 1"),
        (changed(predicateType=None), "predicateType"),
        (changed(predicate={}), "signed_at"),
        (changed(predicate={"signed_at": "now"}), "not an ISO 8601 time"),
        (changed(predicate={"signed_at": "0001-01-01T00:00:00+14:00"}), "out of range"),
        (changed(subject={}), "not a list"),
        (changed(subject=["x"]), "a name and a SHA-256"),
        (changed(subject=[{"name": "x", "digest": {"md5": "1"}}]), "a name and a SHA-256"),
        (changed(subject=[{"name": "x", "digest": {"sha256": "1"}}] * 2), "names 'x' twice"),
    ],
)
def test_what_is_not_a_statement_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(StatementError, match=why):
        Statement.parse(payload)
