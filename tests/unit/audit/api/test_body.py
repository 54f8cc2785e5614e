"""An answer's bytes: whole, or refused before they cost too much."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.body import body_chunks
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.redaction import Redactor
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.limits import Limits
from tests.support.audit_server import QUERY, Answer, Handler, Server, make_client, ok, read, read_bytes
from tests.support.effort import effort

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[4]
MIB = 1 << 20


def body_of(sent: bytes, limits: Limits | None = None, encoding: str = "gzip") -> bytes:
    """Return the body of an answer that was received as these bytes."""
    response = requests.Response()
    response.headers["Content-Encoding"] = encoding
    response.raw = urllib3.HTTPResponse(io.BytesIO(sent), preload_content=False)
    return b"".join(body_chunks(QUERY.asked, response, limits or Limits(), Redactor()))


@settings(UNHURRIED, max_examples=effort(50, 400))
@given(st.binary(max_size=200), st.integers(0, 100))
def test_gzip_bodies_are_whole_or_refused(content: bytes, missing: int) -> None:
    packed = gzip.compress(content)
    assert body_of(packed) == content
    if missing:
        with pytest.raises(errors.CutAnswerError):
            body_of(packed[:-missing])


@settings(UNHURRIED, max_examples=effort(20, 400))
@given(st.lists(st.binary(max_size=300_000), min_size=1, max_size=4), st.integers(0, 3))
def test_members_and_padding_are_read_as_gzip_reads_them(parts: list[bytes], zeros: int) -> None:
    packed = b"".join(map(gzip.compress, parts)) + bytes(zeros)
    assert body_of(packed) == gzip.decompress(packed)


@pytest.mark.parametrize("length", [300_000, 70_000_000])
def test_what_compresses_well_is_whole(length: int) -> None:
    assert body_of(gzip.compress(bytes(length), 1)) == bytes(length)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_the_most_that_is_given(encoding: str, over: int) -> None:
    content = os.urandom(1000)
    sent = gzip.compress(content) if encoding == "gzip" else content
    limits = Limits(max_answer_bytes=max(len(sent), len(content)) - over)
    if over == 0:
        assert body_of(sent, limits, encoding) == content
        return
    with pytest.raises(errors.AnswerTooLargeError, match=f"max_answer_bytes={limits.max_answer_bytes}"):
        body_of(sent, limits, encoding)


@pytest.mark.parametrize("zipped", [False, True])
def test_the_error_names_the_extra_and_no_request_is_repeated(server: Server, zipped: bool) -> None:
    server.answers = [ok(bytes(3000) if zipped else bytes(2049))]
    limits = Limits(max_answer_bytes=2999, max_json_bytes=2048)
    name = "max_answer_bytes=2999" if zipped else "max_json_bytes=2048"
    with pytest.raises(errors.AnswerTooLargeError, match=f"the connection's extra {name} allows"):
        read_bytes(make_client(server, limits=limits)) if zipped else read(make_client(server, limits=limits))
    assert len(server.seen) == 1


# The deadline


def drip(part: bytes, head: bytes = b"") -> Answer:
    """An answer that never ends, and never is silent for longer than the read time-out."""

    def answer(handler: Handler) -> None:
        try:
            handler.wfile.write(head)
            while not handler.server.closing.wait(0.05):
                handler.wfile.write(part)
        except OSError:
            pass
        handler.close_connection = True

    return answer


SLOW = {
    "a byte at a time": drip(b" ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
    "without a length": drip(b" ", b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks": drip(b"1\r\n \r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "trailers": drip(b"a: b\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
    "status line": drip(b"H"),
    "headers": drip(b"a", b"HTTP/1.1 200 OK\r\nX: "),
    "for ever 100": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body of an error": drip(b" ", b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 1000000\r\n\r\n"),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("zipped", [False, True])
def test_an_answer_as_a_whole_has_a_deadline(server: Server, answer: Answer, zipped: bool) -> None:
    server.answers = [answer]
    session = PlatformSession(trust_env=False, answer_deadline=0.3)
    limits = Limits(answer_deadline=0.3)
    client = AuditClient(session, server.url, retry=RetryPolicy(attempts=1), timeout=(10.0, 10.0), limits=limits)
    begun = time.monotonic()
    with pytest.raises(errors.RequestError) as caught:
        read_bytes(client) if zipped else read(client)
    assert time.monotonic() - begun < 8
    if "302" not in str(caught.value) and not isinstance(caught.value, errors.ConnectionFailedError):
        raise caught.value
    if answer is not SLOW["body of an error"]:
        assert type(caught.value) is errors.TimedOutError
        assert "answer_deadline=0.3" in str(caught.value)


# Memory, of a process of its own

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process its peak")


def peak_of(code: str, url: str, tmp_path: Path) -> tuple[int, int, str]:
    """Return the most bytes that a client's work took above the imports, those of temporary files, and how it ended."""
    program = f"""
import json
from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import BearerAuth, PlatformSession
from airflow_provider_curation.audit.api import client as module
from tests.support.audit_server import QUERY, read, read_bytes

written = 0
def counted():
    file = original()
    write = file.write
    class File:
        def __enter__(self): file.__enter__(); return self
        def __exit__(self, *args): return file.__exit__(*args)
        def write(self, data):
            global written
            written += len(data)
            return write(data)
        def __getattr__(self, name): return getattr(file, name)
    return File()
original, module.TemporaryFile = module.TemporaryFile, counted

client = AuditClient(
    PlatformSession(auth=BearerAuth("made-up-token"), trust_env=False), {url!r}, retry=RetryPolicy(attempts=1),
    timeout=(20.0, 20.0), secrets=("made-up-token",))
def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))

# The kernel's own peak begins with that of the process that started this one.
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
before = memory("VmRSS")
end = "no error"
try:
    {textwrap.dedent(code)}
except errors.CurationAuditError as error:
    end = f"{{type(error).__name__}}: {{error}}"
print(json.dumps([memory("VmHWM") - before, written, end]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr
    above, written, end = json.loads(answer.stdout.splitlines()[-1])
    return above, written, end


def bomb(megabytes: int, unit: bytes = b" ") -> bytes:
    """Gzip data of many megabytes, out of few: one member, made once and repeated."""
    member = gzip.compress(unit * (MIB // len(unit)), 9)
    return member * megabytes


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("audit_packages.csv", b"id\n")
    return gzip.compress(file.getvalue()) + bomb(1024, b"\x01")


def endless(head: bytes, part: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        try:
            handler.wfile.write(head)
            while not handler.server.closing.is_set():
                handler.wfile.write(part)
        except OSError:
            pass
        handler.close_connection = True

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
GZIP: dict[str, Any] = {"Content_Encoding": "gzip"}
BOMBS: dict[str, tuple[Answer, str, str]] = {
    "gzip in JSON": (ok(bomb(1024), **GZIP), "read(client)", "AnswerTooLargeError"),
    "gzip in one member": (ok(gzip.compress(bytes(100 * MIB), 1), **GZIP), "read(client)", "AnswerTooLargeError"),
    "gzip in an error": (ok(bomb(1024), 500, **GZIP), "read(client)", "ServerFaultError"),
    "gzip in a redirect": (ok(bomb(1024), 302, Location="/again", **GZIP), "read(client)", "ConnectionFailedError"),
    "gzip in the entitlement": (ok(bomb(1024), **GZIP), "is_entitled(client)", "no error"),
    "gzip around zip": (ok(zip_bomb(), **GZIP), "read_bytes(client)", "AnswerTooLargeError"),
    "endless JSON": (endless(OK + b"\r\n", b"[" * 65536), "read(client)", "AnswerTooLargeError"),
    "endless zip": (endless(OK + b"\r\n", bytes(MIB)), "read_bytes(client)", "AnswerTooLargeError"),
    "endless status line": (endless(b"", b"H" * 65536), "read(client)", "Error"),
    "endless header": (endless(OK + b"Retry-After: ", b"9" * 65536), "read(client)", "Error"),
    "endless headers": (endless(OK, b"Retry-After: 1\r\n" * 4096), "read(client)", "Error"),
    "endless chunk size": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65536), "read(client)", "Error"),
    "nested entitlement": (ok(b"[" * 60_000), "is_entitled(client)", "no error"),
    "titles": (ok(b"<title>" * 20_000, 500), "read(client)", "ServerFaultError"),
}  # fmt: skip


@needs_proc
@pytest.mark.parametrize("name", BOMBS)
def test_whatever_comes_costs_at_most_64_mb(server: Server, tmp_path: Path, name: str) -> None:
    answer, code, end = BOMBS[name]
    server.answers = [answer]
    above, written, ended = peak_of(code, server.url, tmp_path)
    assert end in ended
    assert above <= 64 * MIB, f"{above / MIB:.0f} MiB"
    assert written <= Limits.max_answer_bytes


@needs_proc
def test_the_measurement_sees_memory_that_is_taken(server: Server, tmp_path: Path) -> None:
    server.answers = [ok(bytes(100 * MIB))]
    above, _, _ = peak_of("client._session.get(client._base_url).content", server.url, tmp_path)
    assert above > 90 * MIB


@pytest.mark.parametrize("body", [b"<title>" * 20_000, b"<title " * 20_000, b"%25" * 50_000, b"\\" * 150_000,
                                  b"&amp;" * 30_000, b"a@" * 70_000, b"a." * 70_000, b" " * 140_000])  # fmt: skip
def test_an_errors_body_takes_no_time(server: Server, body: bytes) -> None:
    server.answers = [ok(body, 500)]
    begun = time.process_time()
    with pytest.raises(errors.ServerFaultError):
        read(make_client(server, retry=RetryPolicy(attempts=1)))
    assert time.process_time() - begun < 2
