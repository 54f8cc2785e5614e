"""Answers that the client does not read are bounded, too: those of ``hook.run`` and of a session in users' hands."""

from __future__ import annotations

import gzip
import time

import pytest
import requests

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.bounded_session import BoundedSession
from airflow_provider_curation.audit.api.session import BearerAuth
from airflow_provider_curation.audit.limits import Limits
from tests.support.audit_server import Server, ok

TOKEN = "made-up-token"
SMALL = Limits(max_answer_bytes=50_000, max_json_bytes=20_000, answer_deadline=5.0)


def session(limits: Limits = SMALL) -> BoundedSession:
    return BoundedSession(limits, auth=BearerAuth(TOKEN), trust_env=False)


def test_a_small_answer_is_read_whole(server: Server) -> None:
    server.answers = [ok(b'{"a": 1}'), ok(gzip.compress(b'{"a": 2}'), Content_Encoding="gzip"), ok(b"", 204)]
    asking = session()
    assert asking.get(server.url).json() == {"a": 1}
    zipped = asking.get(server.url)
    assert (zipped.json(), zipped.text) == ({"a": 2}, '{"a": 2}')
    assert asking.get(server.url).content == b""


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_large_answer_ends_as_an_error_that_names_the_limit(server: Server, status: int, zipped: bool) -> None:
    body = b"x" * 20_001
    more = {"Content_Encoding": "gzip"} if zipped else {}
    server.answers = [ok(gzip.compress(body) if zipped else body, status, **more)]
    with pytest.raises(errors.AnswerTooLargeError, match="max_json_bytes=20000"):
        session().get(server.url + "/artifactory/api/storage")


def test_the_error_says_what_was_asked_and_no_credential(server: Server) -> None:
    server.answers = [ok(b"x", Content_Encoding=f"br-{TOKEN}")]
    with pytest.raises(errors.UnexpectedAnswerError) as caught:
        session().post(server.url + "/api/v1/curation?key=1", data=b"")
    assert "POST /api/v1/curation" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_streamed_answer_is_left_to_the_user(server: Server) -> None:
    server.answers = [ok(b"x" * 30_000)]
    with session().get(server.url, stream=True) as response:
        assert len(response.raw.read()) == 30_000


def test_an_answer_without_a_body_is_not_cut(server: Server) -> None:
    server.answers = [ok(b"", Content_Encoding="gzip")]
    assert session().head(server.url).content == b""


def test_a_slow_answer_has_a_deadline(server: Server) -> None:
    def slowly(handler: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")  # type: ignore[attr-defined]
        while not handler.server.closing.wait(0.05):  # type: ignore[attr-defined]
            handler.wfile.write(b"x")  # type: ignore[attr-defined]

    server.answers = [slowly]
    begun = time.monotonic()
    with pytest.raises(errors.TimedOutError, match=r"answer_deadline=0\.3"):
        session(Limits(answer_deadline=0.3)).get(server.url, timeout=(5.0, 5.0))
    assert time.monotonic() - begun < 8


def test_a_connection_that_fails_is_still_an_error_of_requests() -> None:
    """As HttpHook's callers expect it, such as ``run_with_advanced_retry``."""
    with pytest.raises(requests.exceptions.ConnectionError):
        session().get("http://127.0.0.1:1/")
