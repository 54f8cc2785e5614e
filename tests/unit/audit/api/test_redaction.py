"""Nothing that a server says brings a credential or a mail address into a log or an exception."""

from __future__ import annotations

import gzip
import html
import io
import json
import logging
import time
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from random import Random
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.auth import HTTPBasicAuth

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled
from airflow_provider_curation.audit.api.redaction import SHOWN_CHARACTERS, Redactor
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import BearerAuth, PlatformSession
from tests.support.audit_server import EMPTY, TOKEN, Server, fault, make_client, ok, raw, read, read_bytes
from tests.support.effort import effort

#: Machines that run other tests beside these are slow; one server serves every example.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


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


# Any form of any secret, in any part of an answer


def forms(secret: str) -> dict[str, str]:
    """Return how a server may write a secret."""
    data = secret.encode()
    return {
        "as it is": secret,
        "lower case": secret.lower(),
        "upper case": secret.upper(),
        "percent": quote(secret, safe=""),
        "percent, lower case": quote(secret, safe="").lower(),
        "percent, all of it": "".join(f"%{byte:02X}" for byte in data),
        "percent, twice": quote(quote(secret, safe=""), safe=""),
        "form": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, all of it": "".join(f"\\u{ord(each):04x}" for each in secret if ord(each) < 0x10000),
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "HTML": html.escape(secret),
        "HTML by number": "".join(f"&#{ord(each)};" for each in secret),
        "repr": repr(data)[2:-1],
        "hexadecimal": data.hex(),
        "Base64": b64encode(data).decode(),
        "Base64 for URLs": urlsafe_b64encode(data).decode(),
        "Base64 without padding": b64encode(data).decode().rstrip("="),
        "Base64 in lower case": b64encode(data).decode().lower(),
        "Base64 of Bearer": b64encode(b"Bearer " + data).decode(),
        "Base64 of a pair": b64encode(b"a:" + data + b"!").decode(),
        "read as Latin-1": data.decode("latin-1"),
    }


#: What a secret is made of: what HTTP can send, and longer than words that messages hold anyway.
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=("Cc", "Cf", "Zs")),
                  min_size=8, max_size=60).filter(lambda text: len(set(text.lower())) > 3)  # fmt: skip
AROUND = st.text(st.sampled_from("abc xyz,.:=<>\"'\n\t"), max_size=20)


def visible(text: str) -> str:
    """Return a text as a reader who undoes case and escapes of Python sees it."""
    return text.lower() + "\n" + text.lower().replace("\\\\", "\\")


@UNHURRIED
@given(SECRETS, AROUND, AROUND, st.data())
def test_no_form_of_a_secret_is_left(secret: str, before: str, after: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(forms(secret))))
    shown = Redactor((secret,)).clean(before + forms(secret)[name] + after) or ""
    assert "***" in shown
    for form in forms(secret).values():
        assert form.lower() not in visible(shown)


@UNHURRIED
@given(SECRETS, st.integers(0, 400), st.data())
def test_nothing_of_a_secret_is_left_at_a_cut(secret: str, before: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(forms(secret))))
    text = "-" * before + forms(secret)[name]
    shown = Redactor((secret,)).clean(text) or ""
    assert set(shown) <= set("-*=") or "Base64" in name
    assert secret[:6].lower() not in shown.lower()


@pytest.mark.parametrize("far", [SHOWN_CHARACTERS - 5, SHOWN_CHARACTERS - 200, SHOWN_CHARACTERS + 5])
def test_nothing_of_a_secret_is_left_where_looking_ends(far: int) -> None:
    shown = Redactor((TOKEN,)).clean(" " * far + "".join(f"%{byte:02x}" for byte in TOKEN.encode()))
    assert shown in ("***", None)


@UNHURRIED
@given(st.text(max_size=600))
def test_what_is_shown_is_printable_on_one_line_and_short(text: str) -> None:
    shown = Redactor((TOKEN,)).clean(text) or ""
    assert shown.isprintable()
    assert len(shown) <= 300


PLACES = (
    *("reason", "Location", "Content-Encoding", "Retry-After", "WWW-Authenticate", "no header", "Set-Cookie"),
    *("error", "title", "text", "body of 200", "title of 200", "redirect's host", "same host", "chunk size"),
)


def echo(place: str, form: str) -> bytes:
    """Return an answer that repeats a form of a secret in a place."""
    sent = form.encode(errors="replace")
    line = b" ".join(sent.split())
    status, headers, body = b"500 Internal Server Error", [], b"{}"
    if place == "reason":
        status = b"500 " + line
    elif place == "error":
        body = json.dumps({"error": form}).encode()
    elif place == "title":
        body = b"<html><title>" + sent + b"</title>"
    elif place == "text":
        body = sent
    elif place == "body of 200":
        status, body = b"200 OK", json.dumps({"error": form, form: 1, "data": form}).encode()
    elif place == "title of 200":
        status, body = b"200 OK", b"<html><title>" + sent + b"</title>"
    elif place == "redirect's host":
        status, headers = b"302 Found", [b"Location: http://" + line + b".example/" + line]
    elif place == "same host":
        status, headers = b"302 Found", [b"Location: /" + line + b"?a=" + line]
    elif place == "Location":
        status, headers = b"302 Found", [b"Location: " + line]
    elif place == "Content-Encoding":
        status, headers = b"200 OK", [b"Content-Encoding: " + line]
    elif place == "no header":
        headers = [line]
    elif place == "chunk size":
        headers, body = [b"Transfer-Encoding: chunked"], line + b"\r\n"
    else:
        headers = [place.encode() + b": " + line]
    head = b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"Connection: close"])
    return head + b"\r\n\r\n" + body


def said_of(client: AuditClient, work: Callable[[AuditClient], object]) -> str:
    """Return everything that a client's work brings before people's eyes: errors, tracebacks and logs of any level."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s %(args)r %(exc_text)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        work(client)
    except errors.CurationAuditError as error:
        chain: BaseException | None = error
        while chain is not None:
            written.write(f"{chain} {chain!r} {vars(chain)}")
            chain = chain.__cause__ or chain.__context__
        written.write("".join(traceback.format_exception(error)))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return f"{written.getvalue()} {client!r} {client._session!r} {client._session.auth!r}"


@settings(UNHURRIED, max_examples=effort(25, 400))
@given(SECRETS, st.booleans(), st.sampled_from(PLACES), st.data())
def test_no_echo_reaches_an_error_a_log_or_a_traceback(
    server: Server, secret: str, basic: bool, place: str, data: st.DataObject
) -> None:
    auth = HTTPBasicAuth(b"ana", secret.encode()) if basic else BearerAuth(secret)
    sent = {"password": secret}
    if basic:
        sent["Basic value"] = b64encode(f"ana:{secret}".encode()).decode()
    form = data.draw(st.sampled_from([each for value in sent.values() for each in forms(value).values()]))
    server.answers = [raw(echo(place, form))]
    quick = RetryPolicy(attempts=2, first_wait=0.0001, longest_wait=0.0001)
    client = AuditClient(PlatformSession(auth=auth, trust_env=False), server.url, retry=quick, timeout=(5.0, 1.0))
    for work in (read, read_bytes, is_entitled):
        said = visible(said_of(client, work))
        for value in sent.values():
            for each in forms(value).values():
                assert each.lower() not in said


# Any mutant of an answer is answered or named


GOOD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n" + EMPTY,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n" + EMPTY + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(EMPTY, mtime=0),
    b"HTTP/1.1 302 Found\r\nLocation: /a/b?c=d\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\xff\xe9\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: Mon, 09 Mar 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n" + b'{"errors": [{"message": "num_of_rows 2000"}]}',
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 5000,
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b'{"entitled": true, "xray_version": "3.107"}',
)
PIECES = (
    *(b"\xff", b"\0", b"\r\n", b"\r", b"\n", b":", b" ", b"%", b"-1", b"9" * 400, b"\xe2\x98\x83", b"[", b"{", b'"'),
    *(
        b"\\ud800",
        b"gzip",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Location: http://[\r\n",
        b"Set-Cookie: a=b; Expires=x\r\n",
    ),
)


def mutant(random: Random) -> bytes:
    content = bytearray(random.choice(GOOD))
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(content) + 1)
        change = random.randrange(4)
        if change == 0:
            content[place : place + random.randint(1, 8)] = b""
        elif change == 1:
            content[place:place] = random.choice(PIECES)
        elif change == 2 and place < len(content):
            content[place] = random.randrange(256)
        else:
            content[place : place + 3] = random.choice(PIECES)
    return bytes(content)


MUTANTS = effort(40, 1000)


@pytest.mark.parametrize("part", range(4))
def test_every_mutant_of_an_answer_is_read_or_named(server: Server, part: int) -> None:
    session = PlatformSession(auth=BearerAuth(TOKEN), trust_env=False, answer_deadline=5.0)
    client = AuditClient(session, server.url, retry=RetryPolicy(attempts=1), timeout=(5.0, 2.0))
    for seed in range(part * MUTANTS, (part + 1) * MUTANTS):
        server.answers = [raw(mutant(Random(seed)))]
        for work in (read, read_bytes, is_entitled):
            try:
                work(client)
            except Exception as error:
                if isinstance(error, errors.CurationAuditError) and str(error).isprintable():
                    continue
                raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
