"""HTTP: what is sent, what is tried again, and what every fault is called. A server of the standard library answers."""

from __future__ import annotations

import email.utils
import gzip
import itertools
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api import client as module
from airflow_provider_curation.audit.api.client import AuditClient, RetryPolicy
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.session import BearerAuth, PlatformSession
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.window import Window

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
QUERY = Query(WINDOW, 2000, include_total=True)
PATH = "/xray/api/v1/curation/audit/packages"
EMPTY = b'{"data": null, "meta": {"total_count": 0}}'
TOKEN = "s3cr3t-token"
QUICK = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.002)

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives the next of the server's answers, the last one for ever."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def give(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        #: Ends the answers that never end.
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: broken connections are what is tested."""


def ok(body: bytes = EMPTY, status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.give(
        status, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def fault(status: int, body: bytes = b"", **headers: str) -> Answer:
    return ok(body, status, **headers)


def cut_body(handler: Handler) -> None:
    handler.give(200, EMPTY[:10], {"Content-Length": str(len(EMPTY))})
    handler.close_connection = True


def cut_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\n" + EMPTY[:5] + b"\r\n")
    handler.close_connection = True


def cut_gzip(handler: Handler) -> None:
    handler.give(200, gzip.compress(EMPTY)[:-9], {"Content-Encoding": "gzip"})


def broken_gzip(handler: Handler) -> None:
    handler.give(200, b"\x1f\x8b\x08\x00" + bytes(20), {"Content-Encoding": "gzip"})


def no_gzip(handler: Handler) -> None:
    handler.give(200, EMPTY, {"Content-Encoding": "gzip"})


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silence(handler: Handler) -> None:
    handler.server.closing.wait(60)
    handler.close_connection = True


def stalled_body(handler: Handler) -> None:
    handler.give(200, EMPTY[:10], {"Content-Length": str(len(EMPTY))})
    handler.wfile.flush()
    handler.server.closing.wait(60)
    handler.close_connection = True


def chunked(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for place in range(0, len(EMPTY), 7):
        piece = EMPTY[place : place + 7]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def make_client(server: Server, **options: Any) -> AuditClient:
    session = PlatformSession(auth=BearerAuth(TOKEN), trust_env=False, headers={"User-Agent": "tests"})
    return AuditClient(session, server.url, **{"retry": QUICK, "timeout": (10.0, 10.0), "secrets": (TOKEN,), **options})


def patience(answer: Answer) -> tuple[float, float]:
    """Return time-outs: short ones for the answers that never end, and none that a slow machine could reach."""
    return (10.0, 0.3) if answer in (silence, stalled_body) else (10.0, 10.0)


def read(client: AuditClient, query: Query = QUERY, stop: threading.Event | None = None) -> Page:
    return client.read_json(query, partial(json_page, query), stop)


def read_bytes(client: AuditClient, stop: threading.Event | None = None) -> bytes:
    def decode(file: IO[bytes]) -> bytes:
        file.seek(0)
        return file.read()

    return client.read_zip(Query(WINDOW, 5, format="csv"), decode, stop)


# What is sent


def test_sends_what_the_query_says(server: Server) -> None:
    server.answers = [ok()]
    query = Query(WINDOW, 2000, 1999, include_total=True, dry_run=True)
    assert read(make_client(server), query).total == 0
    [(target, headers)] = server.seen
    parts = urlsplit(target)
    assert parts.path == PATH
    assert dict(parse_qsl(parts.query)) == query.params()
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["User-Agent"] == "tests"


def test_a_get_has_no_content_type_and_no_body(server: Server) -> None:
    """A load balancer before some servers answers 400 to it."""
    server.answers = [ok()]
    client = make_client(server)
    read(client)
    read_bytes(client)
    client.entitled()
    for _, headers in server.seen:
        assert not {"content-type", "content-length", "transfer-encoding"} & {name.lower() for name in headers}


@pytest.mark.parametrize("ending", ["", "/"])
@pytest.mark.parametrize("context", ["", "/platform"])
def test_a_context_path_is_kept(server: Server, context: str, ending: str) -> None:
    server.answers = [ok()]
    session = PlatformSession(trust_env=False)
    read(AuditClient(session, server.url + context + ending, retry=QUICK))
    assert urlsplit(server.seen[0][0]).path == context + PATH


# What comes back


@pytest.mark.parametrize(
    "answer",
    [
        ok(),
        ok(gzip.compress(EMPTY), Content_Encoding="gzip"),
        ok(gzip.compress(EMPTY), Content_Encoding="GZip"),
        ok(EMPTY, Content_Encoding="identity"),
        chunked,
    ],
    ids=["plain", "gzip", "gzip by another name", "identity", "chunked"],
)
def test_a_whole_answer_is_read(server: Server, answer: Answer) -> None:
    server.answers = [answer]
    client = make_client(server)
    assert client.read_json(QUERY, bytes) == EMPTY
    assert read_bytes(client) == EMPTY
    assert client.requests == len(server.seen) == 2


def test_connections_are_kept(server: Server) -> None:
    """One hand-shake for all pages, also after answers that were no success."""
    server.answers = [ok(), fault(503, b"busy"), ok(gzip.compress(EMPTY), Content_Encoding="gzip"), chunked, ok()]
    ports = set()
    original = Handler.do_GET

    def do_get(handler: Handler) -> None:
        ports.add(handler.client_address[1])
        original(handler)

    client = make_client(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "do_GET", do_get)
        for _ in range(4):
            read(client)
    assert len(server.seen) == 5
    assert len(ports) == 1


def test_an_encoding_that_was_not_asked_for_is_refused(server: Server) -> None:
    server.answers = [ok(zlib.compress(EMPTY), Content_Encoding="deflate")]
    with pytest.raises(errors.UnexpectedAnswerError, match="deflate"):
        read(make_client(server))


def test_gzip_of_several_members_is_whole(server: Server) -> None:
    server.answers = [ok(gzip.compress(EMPTY[:9]) + gzip.compress(EMPTY[9:]), Content_Encoding="gzip")]
    assert make_client(server).read_json(QUERY, bytes) == EMPTY


# Faults, by name


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


def test_a_body_in_another_encoding_is_still_a_named_error(server: Server) -> None:
    server.answers = [fault(400, '{"error": "requête invalide"}'.encode("latin-1"))]
    with pytest.raises(errors.BadRequestError, match="requ"):
        read(make_client(server))


def test_a_long_message_takes_no_time(server: Server) -> None:
    server.answers = [fault(500, json.dumps({"error": "a" * 60_000}).encode()), ok()]
    begun = time.process_time()
    read(make_client(server))
    assert time.process_time() - begun < 1.0


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


# Redirects


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    """A server under another name of the same machine."""
    other = Server()
    other.url = f"http://localhost:{other.server_port}"
    other.answers = [ok()]
    thread = threading.Thread(target=partial(other.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield other
    other.shutdown()
    other.server_close()
    thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["{url}/login", "//localhost:{port}/login", "http://127.0.0.1:{port}/login"])
def test_nothing_follows_a_redirect_to_another_host(server: Server, other: Server, status: int, place: str) -> None:
    location = place.format(url=other.url, port=other.server_port)
    server.answers = [fault(status, Location=location)]
    with pytest.raises(errors.RedirectedError, match=f"{status}, a redirect to ") as caught:
        read(make_client(server, retry=RetryPolicy(attempts=1)))
    assert other.seen == []
    assert TOKEN not in str(caught.value)


def test_another_name_of_the_same_machine_is_another_host(server: Server) -> None:
    server.answers = [fault(302, Location=f"http://localhost:{server.server_port}/login"), ok()]
    with pytest.raises(errors.RedirectedError):
        read(make_client(server, retry=RetryPolicy(attempts=1)))
    assert len(server.seen) == 1


def test_a_redirect_on_the_same_host_is_followed_with_credentials(server: Server) -> None:
    server.answers = [fault(307, Location="/moved?a=1"), ok()]
    assert read(make_client(server)).total == 0
    assert [urlsplit(target).path for target, _ in server.seen] == [PATH, "/moved"]
    assert server.seen[1][1]["Authorization"] == f"Bearer {TOKEN}"


def test_a_loop_of_redirects_ends(server: Server) -> None:
    server.answers = [fault(302, Location="/loop")]
    with pytest.raises(errors.RequestError):
        read(make_client(server, retry=RetryPolicy(attempts=1)))


def test_a_location_that_is_no_url_is_a_named_error(server: Server) -> None:
    server.answers = [fault(302, Location="http://[")]
    with pytest.raises(errors.RequestError):
        read(make_client(server, retry=RetryPolicy(attempts=1)))


# Waiting


def waits(policy: RetryPolicy, error: errors.RequestError, attempts: int) -> list[float]:
    """Return the waits before each try, without waiting."""
    told: list[float] = []
    client = AuditClient(requests.Session(), "http://acme.example", retry=policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, "sleep", told.append)

        def fail() -> None:
            raise error

        with pytest.raises(type(error)):
            client._retrying(fail, None)
    assert len(told) == attempts - 1
    return told


@settings(UNHURRIED, max_examples=50)
@given(st.integers(1, 12), st.floats(0.01, 10), st.floats(1, 100))
def test_waits_double_with_jitter_up_to_the_longest(attempts: int, first: float, longest: float) -> None:
    policy = RetryPolicy(attempts=attempts, first_wait=first, longest_wait=longest)
    for place, wait in enumerate(waits(policy, errors.ServerFaultError(QUERY.asked, "503"), attempts)):
        assert min(first * 2**place, longest) <= wait <= min(first * 2**place + first, longest)


def test_jitter_keeps_workers_apart() -> None:
    policy = RetryPolicy(attempts=2, first_wait=1.0)
    assert len({waits(policy, errors.ThrottledError(QUERY.asked, "429"), 2)[0] for _ in range(5)}) == 5


@settings(UNHURRIED)
@given(st.floats(0, 10_000), st.floats(0, 500))
def test_retry_after_is_followed_up_to_a_bound(asked: float, longest: float) -> None:
    policy = RetryPolicy(attempts=2, first_wait=1.0, longest_retry_after=longest)
    [wait] = waits(policy, errors.ThrottledError(QUERY.asked, "429", retry_after=asked), 2)
    assert wait >= min(asked, longest)
    assert wait <= max(2.0, longest)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_taken_from_the_answer(server: Server, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(module.time, "sleep", told.append)
    server.answers = [fault(status, Retry_After="7"), fault(status), ok()]
    read(make_client(server))
    assert told[0] == 7
    assert told[1] < 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("", None), ("0", 0), ("-5", 0), ("120", 120), ("1.5", 1.5), ("soon", None), ("nan", 0)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert module._retry_after(value) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(60, 55, 60), (-60, 0, 0)])
@pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=2))])
def test_retry_after_as_a_date(ahead: int, least: float, most: float, zone: timezone) -> None:
    moment = datetime.now(zone) + timedelta(seconds=ahead)
    assert least <= (module._retry_after(email.utils.format_datetime(moment)) or 0) <= most


def test_retry_after_as_a_date_of_an_unknown_zone_is_in_utc() -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=60)
    assert 55 <= (module._retry_after(moment.strftime("%a, %d %b %Y %H:%M:%S -0000")) or 0) <= 60


@settings(UNHURRIED, max_examples=50)
@given(st.text(max_size=20) | st.text(alphabet="0123456789 :,+-GMTMonJan", max_size=40))
def test_any_retry_after_is_a_number_or_ignored(value: str) -> None:
    seconds = module._retry_after(value)
    assert seconds is None or seconds >= 0


def test_a_429_is_remembered(server: Server) -> None:
    server.answers = [fault(503), ok(), fault(429), ok()]
    client = make_client(server)
    read(client)
    assert not client.throttled
    read(client)
    assert client.throttled


@pytest.mark.parametrize("zipped", [False, True])
def test_waiting_ends_when_the_task_is_stopped(server: Server, zipped: bool) -> None:
    server.answers = [fault(429, Retry_After="100")]
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    begun = time.monotonic()
    client = make_client(server, retry=RetryPolicy())
    with pytest.raises(errors.StoppedError):
        read_bytes(client, stop) if zipped else read(client, stop=stop)
    assert time.monotonic() - begun < 5
    assert len(server.seen) == 1


def test_a_long_download_ends_when_the_task_is_stopped(server: Server) -> None:
    stop = threading.Event()

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for place in itertools.count():
                handler.wfile.write(bytes(100_000))
                if place == 10:
                    stop.set()
        except OSError:
            pass
        handler.close_connection = True

    server.answers = [endless]
    with pytest.raises(errors.StoppedError):
        read_bytes(make_client(server), stop)


# Entitlement and version


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
    assert make_client(server).entitled() is entitled
    assert server.seen[0][0] == "/xray/api/v1/entitlements/feature/curation"


@pytest.mark.parametrize("answer", [fault(400), fault(401), fault(405), fault(500), ok(b"<html>the user interface")])
def test_a_fault_about_the_entitlement_is_unknown_and_told(
    server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """The events were counted with the same credentials a moment ago."""
    server.answers = [answer]
    assert make_client(server).entitled() is None
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
    assert make_client(server).version() == version
    assert server.seen[0][0] == "/xray/api/v1/system/version"


def test_whats_no_json_about_the_entitlement_is_tried_again(server: Server) -> None:
    server.answers = [ok(b'{"entit'), ok(b"<html>"), ok(b'{"entitled": true}')]
    assert make_client(server).entitled() is True


@settings(UNHURRIED, max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 100))
def test_gzip_bodies_are_whole_or_refused(content: bytes, missing: int) -> None:
    packed = gzip.compress(content)
    assert module._gunzip(QUERY.asked, packed) == content
    if missing:
        with pytest.raises(errors.CutAnswerError):
            module._gunzip(QUERY.asked, packed[:-missing])
