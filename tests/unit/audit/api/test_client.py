"""What the client sends, and what it makes of an answer."""

from __future__ import annotations

import gzip
import zlib
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import PlatformSession
from tests.support.audit_server import (
    EMPTY,
    PATH,
    QUERY,
    QUICK,
    TOKEN,
    WINDOW,
    Answer,
    Server,
    chunked,
    fault,
    make_client,
    ok,
    read,
    read_bytes,
)

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
    is_entitled(client)
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
    client = make_client(server)
    for _ in range(4):
        read(client)
    assert len(server.seen) == 5
    assert len(server.connections) == 1


def test_an_encoding_that_was_not_asked_for_is_refused(server: Server) -> None:
    server.answers = [ok(zlib.compress(EMPTY), Content_Encoding="deflate")]
    with pytest.raises(errors.UnexpectedAnswerError, match="deflate"):
        read(make_client(server))


def test_gzip_of_several_members_is_whole(server: Server) -> None:
    server.answers = [ok(gzip.compress(EMPTY[:9]) + gzip.compress(EMPTY[9:]), Content_Encoding="gzip")]
    assert make_client(server).read_json(QUERY, bytes) == EMPTY


# Redirects


@pytest.fixture
def other(other: Server) -> Server:
    """A server under another name of the same machine."""
    other.url = f"http://localhost:{other.server_port}"
    other.answers = [ok()]
    return other


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
