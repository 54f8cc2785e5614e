"""What every fault is called."""

from __future__ import annotations

import email.utils
import json
import socket
import threading
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api import client as module
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.faults import retry_after
from airflow_provider_curation.audit.api.session import PlatformSession
from tests.support.audit_server import (
    EMPTY,
    PATH,
    QUICK,
    TOKEN,
    WINDOW,
    Answer,
    Server,
    broken_gzip,
    cut_body,
    cut_chunks,
    cut_gzip,
    fault,
    hang_up,
    make_client,
    no_gzip,
    ok,
    patience,
    read,
    read_bytes,
    silence,
    stalled_body,
)

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("answer", "kind", "retry_request"),
    [
        (fault(400, b'{"error": "bad order_by"}'), errors.BadRequestError, False),
        (fault(400, b"<html><title>400</title>"), errors.BadRequestError, False),
        (fault(400, b'{"error": "Maximum allowed duration is 168 hours"}'), errors.WindowTooWideError, False),
        (fault(400, b'{"errors": [{"message": "num_of_rows is over 2000"}]}'), errors.RowLimitError, False),
        (fault(401, b'{"errors": [{"status": 401, "message": "Bad credentials"}]}'), errors.UnauthorizedError, False),
        (fault(403), errors.ForbiddenError, False),
        (fault(404, b"404 page not found"), errors.EndpointNotFoundError, False),
        (fault(405), errors.UnexpectedStatusError, False),
        (fault(204), errors.UnexpectedStatusError, False),
        (fault(206, EMPTY), errors.UnexpectedStatusError, False),
        (fault(408), errors.TimedOutError, True),
        (fault(429), errors.ThrottledError, True),
        (fault(500), errors.ServerFaultError, True),
        (fault(502, b"<html><title>Bad Gateway</title>"), errors.ServerFaultError, True),
        (fault(503), errors.ServerFaultError, True),
        (fault(504), errors.ServerFaultError, True),
        (fault(599), errors.ServerFaultError, True),
        (fault(302), errors.RedirectedError, True),
        (fault(304), errors.RedirectedError, True),
        (ok(b"<html><title>Sign in</title></html>"), errors.NotTheApiError, True),
        (ok(b""), errors.CutAnswerError, True),
        (ok(EMPTY[:-1]), errors.CutAnswerError, True),
        (ok(b'{"data": null}'), errors.UnexpectedAnswerError, False),
        (cut_gzip, errors.CutAnswerError, True),
        (broken_gzip, errors.CutAnswerError, True),
        (no_gzip, errors.CutAnswerError, True),
        (hang_up, errors.ConnectionFailedError, True),
        (silence, errors.TimedOutError, True),
        (stalled_body, errors.TimedOutError, True),
        (cut_body, errors.CutAnswerError, True),
        (cut_chunks, errors.CutAnswerError, True),
    ],
)
def test_every_fault_has_its_name(
    server: Server, answer: Answer, kind: type[errors.RequestError], retry_request: bool
) -> None:
    server.answers = [answer]
    client = make_client(server, timeout=patience(answer))
    with pytest.raises(errors.RequestError) as caught:
        read(client)
    error = caught.value
    assert type(error) is kind
    assert error.retry_request is retry_request
    assert len(server.seen) == client.requests == (QUICK.attempts if retry_request else 1)
    assert f"GET {PATH} for {WINDOW} (json, events, offset 0, 2000 rows)" in str(error)
    assert str(error).endswith(error.advice)
    assert error.advice
    assert TOKEN not in str(error)
    assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize("answer", [cut_body, cut_chunks, hang_up, stalled_body, fault(503)])
def test_a_broken_zip_download_is_tried_again(server: Server, answer: Answer) -> None:
    server.answers = [answer, answer, ok(b"whole")]
    assert read_bytes(make_client(server, timeout=patience(answer))) == b"whole"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "answer", [cut_body, cut_chunks, cut_gzip, hang_up, silence, fault(429), fault(500), ok(b"<html>"), ok(b"")]
)
def test_a_passing_fault_passes(server: Server, answer: Answer) -> None:
    server.answers = [answer, answer, ok()]
    assert read(make_client(server, timeout=patience(answer))).total == 0
    assert len(server.seen) == 3


def test_a_refused_connection_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = AuditClient(PlatformSession(trust_env=False), f"http://127.0.0.1:{port}", retry=QUICK)
    with pytest.raises(errors.ConnectionFailedError, match="Connection refused") as caught:
        read(client)
    assert client.requests == 3
    assert str(port) not in str(caught.value)


def test_plain_http_on_a_tls_port_is_a_tls_error(server: Server) -> None:
    server.answers = [ok()]
    client = AuditClient(PlatformSession(trust_env=False), server.url.replace("http://", "https://"), retry=QUICK)
    with pytest.raises(errors.TlsError) as caught:
        read(client)
    assert client.requests == 1
    assert not caught.value.retry_task


def test_a_handshake_that_breaks_off_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up_on_everybody() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.close()

        thread = threading.Thread(target=hang_up_on_everybody, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        client = AuditClient(PlatformSession(trust_env=False), url, retry=QUICK)
        with pytest.raises(errors.ConnectionFailedError):
            read(client)
        assert client.requests == 3
        thread.join(20)


@pytest.mark.parametrize("option", ["verify", "cert"])
def test_a_certificate_file_that_does_not_exist_is_a_tls_error(option: str) -> None:
    session = PlatformSession(trust_env=False, **{option: "no-such-file.pem"})  # type: ignore[arg-type]
    with pytest.raises(errors.TlsError, match=r"no-such-file\.pem"):
        read(AuditClient(session, "https://127.0.0.1:9", retry=QUICK))


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("num_of_rows must be between 1 and 2000", 2000),
        ("Maximum number of rows is 2,000, got 500000", 2000),
        ("too many rows", None),
        ("row limit: 500", 500),
    ],
)
def test_a_row_limit_names_its_number(server: Server, message: str, limit: int | None) -> None:
    server.answers = [fault(400, json.dumps({"error": message}).encode())]
    with pytest.raises(errors.RowLimitError) as caught:
        read(make_client(server))
    assert caught.value.limit == limit
    assert caught.value.server_message == message


@pytest.mark.parametrize("message", ["Your browser sent a bad request", "created_at_end is tomorrow", "it throws"])
def test_a_row_is_a_word(server: Server, message: str) -> None:
    server.answers = [fault(400, json.dumps({"error": message}).encode())]
    with pytest.raises(errors.BadRequestError) as caught:
        read(make_client(server))
    assert type(caught.value) is errors.BadRequestError


def test_a_date_is_no_row_limit(server: Server) -> None:
    server.answers = [fault(400, b'{"error": "num_of_rows over 2000 for the range from 2026-03-09"}')]
    with pytest.raises(errors.RowLimitError) as caught:
        read(make_client(server))
    assert caught.value.limit == 2000


def test_a_body_in_another_encoding_is_still_a_named_error(server: Server) -> None:
    server.answers = [fault(400, '{"error": "requête invalide"}'.encode("latin-1"))]
    with pytest.raises(errors.BadRequestError, match="requ"):
        read(make_client(server))


def test_a_full_disk_is_not_the_servers_fault(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [ok(b"zip")]

    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: object) -> None:
            pass

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "TemporaryFile", Full)
    with pytest.raises(Exception, match="No space left on device") as caught:
        read_bytes(make_client(server))
    assert not isinstance(caught.value, errors.ConnectionFailedError)
    assert len(server.seen) == 1


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("", None), ("0", 0), ("-5", 0), ("120", 120), ("1.5", 1.5), ("soon", None), ("nan", 0)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(60, 55, 60), (-60, 0, 0)])
@pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=2))])
def test_retry_after_as_a_date(ahead: int, least: float, most: float, zone: timezone) -> None:
    moment = datetime.now(zone) + timedelta(seconds=ahead)
    assert least <= (retry_after(email.utils.format_datetime(moment)) or 0) <= most


def test_retry_after_as_a_date_of_an_unknown_zone_is_in_utc() -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=60)
    assert 55 <= (retry_after(moment.strftime("%a, %d %b %Y %H:%M:%S -0000")) or 0) <= 60


@settings(UNHURRIED, max_examples=50)
@given(st.text(max_size=20) | st.text(alphabet="0123456789 :,+-GMTMonJan", max_size=40))
def test_any_retry_after_is_a_number_or_ignored(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0
