"""Nothing that a server says brings a credential or a mail address into a log or an exception."""

from __future__ import annotations

import json
import logging
import time

import pytest

from airflow_provider_curation.audit import errors
from tests.support.audit_server import TOKEN, Server, fault, make_client, ok, read


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_message_loses_credentials_and_mail_addresses(server: Server, status: int) -> None:
    said = f"Bearer {TOKEN} of dev1@acme.example is bad"
    server.answers = [fault(status, json.dumps({"error": said}).encode())]
    with pytest.raises(errors.RequestError) as caught:
        read(make_client(server))
    assert caught.value.server_message == "Bearer *** of *** is bad"
    assert "dev1" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"<html><title>Sign in, %s dev1@acme.example</title>", b'{"error": "%s dev1@acme.example"}']
)
def test_a_message_under_200_loses_them_too(server: Server, body: bytes) -> None:
    server.answers = [ok(body % TOKEN.encode())]
    with pytest.raises((errors.NotTheApiError, errors.UnexpectedAnswerError)) as caught:
        read(make_client(server))
    said = f"{caught.value} {caught.value.server_message}"
    assert "***" in said
    assert TOKEN not in said
    assert "dev1" not in said


def test_no_log_line_holds_a_credential(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.answers = [fault(500, f'{{"error": "{TOKEN} dev1@acme.example"}}'.encode()), ok()]
    read(make_client(server))
    assert "Try 1 of 3 failed" in caplog.text
    assert TOKEN not in caplog.text
    assert "dev1" not in caplog.text


def test_a_long_message_takes_no_time(server: Server) -> None:
    server.answers = [fault(500, json.dumps({"error": "a" * 60_000}).encode()), ok()]
    begun = time.process_time()
    read(make_client(server))
    assert time.process_time() - begun < 1.0
