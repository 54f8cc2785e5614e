"""What the server says of itself."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.api.entitlement import is_entitled, server_version
from tests.support.audit_server import Answer, Server, fault, make_client, ok


@pytest.mark.parametrize(
    ("answer", "entitled"),
    [
        (ok(b'{"feature_id": "curation", "entitled": true}'), True),
        (ok(b'{"feature_id": "curation", "entitled": false}'), False),
        (ok(b'{"entitled": "yes"}'), None),
        (ok(b'{"entitled": null}'), None),
        (ok(b"{}"), None),
        (ok(b"[]"), None),
        (fault(404, b"404 page not found"), None),
        (fault(403), None),
    ],
)
def test_entitlement_is_yes_no_or_unknown(server: Server, answer: Answer, entitled: bool | None) -> None:
    server.answers = [answer]
    assert is_entitled(make_client(server)) is entitled
    assert server.seen[0][0] == "/xray/api/v1/entitlements/feature/curation"


@pytest.mark.parametrize("answer", [fault(400), fault(401), fault(405), fault(500), ok(b"<html>the user interface")])
def test_a_fault_about_the_entitlement_is_unknown_and_told(
    server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """The events were counted with the same credentials a moment ago."""
    server.answers = [answer]
    assert is_entitled(make_client(server)) is None
    assert "does not say whether it is entitled" in caplog.text


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (ok(b'{"xray_version": "3.107.11", "xray_revision": "ab"}'), "3.107.11"),
        (ok(b"{}"), None),
        (ok(b"[]"), None),
        (fault(404), None),
        (fault(403), None),
    ],
)
def test_version_is_told_or_unknown(server: Server, answer: Answer, version: str | None) -> None:
    server.answers = [answer]
    assert server_version(make_client(server)) == version
    assert server.seen[0][0] == "/xray/api/v1/system/version"


def test_whats_no_json_about_the_entitlement_is_tried_again(server: Server) -> None:
    server.answers = [ok(b'{"entit'), ok(b"<html>"), ok(b'{"entitled": true}')]
    assert is_entitled(make_client(server)) is True
