"""The simulator on real sockets: keep-alive, faults of the connection, time, and a quick end."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, ENTITLEMENT_PATH, VERSION_PATH
from airflow_provider_curation.simulator import Delete, Fault, Simulator, SimulatorSettings
from tests.support.tenants import END, START, z

pytestmark = pytest.mark.timeout(30)

WINDOW = {"created_at_start": z(START), "created_at_end": z(END), "direction": "asc", "num_of_rows": "2000"}
SMALL: dict[str, Any] = {"events": 700, "start": START, "end": END}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def get(session: requests.Session, simulator: Simulator, path: str = AUDIT_PATH, **kwargs: Any) -> requests.Response:
    params = {**(WINDOW if path == AUDIT_PATH else {}), **kwargs.pop("params", {})}
    return session.get(simulator.url + path, params=params, timeout=kwargs.pop("timeout", 10), **kwargs)


def test_pages_arrive_as_they_are_true(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(**SMALL)) as simulator:
        answer = get(session, simulator)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["data"] == list(simulator.truth(START, END))
        (record,) = simulator.requests
        assert (record.number, record.status, record.rows, record.fault) == (1, 200, 700, None)
        assert record.bytes == len(answer.content)
        assert record.params == WINDOW
        assert "Host" in record.headers
        assert record.user_agent.startswith("python-requests")
        simulator.reset_log()
        assert simulator.requests == []
        get(session, simulator)
        assert simulator.requests[0].number == 2


def test_one_connection_serves_many_requests() -> None:
    with Simulator(SimulatorSettings(**SMALL)) as simulator:
        connection = http.client.HTTPConnection(simulator.host, simulator.port, timeout=10)
        connection.connect()
        address = connection.sock.getsockname()
        seconds = []
        for _ in range(50):
            started = time.perf_counter()
            connection.request("GET", VERSION_PATH)
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.read()
            seconds.append(time.perf_counter() - started)
            assert connection.sock is not None
            assert connection.sock.getsockname() == address
        assert median(seconds) < 0.02  # with delayed acknowledgements each would take twice as long
        connection.request("HEAD", VERSION_PATH)
        assert connection.getresponse().read() == b""
        connection.request("POST", AUDIT_PATH, body=b"unread")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (405, "close")
        connection.close()


def test_old_clients_are_answered_and_left() -> None:
    with Simulator(SimulatorSettings(chunked=True, **SMALL)) as simulator:
        with socket.create_connection((simulator.host, simulator.port), timeout=10) as connection:
            connection.sendall(f"GET {VERSION_PATH} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert json.loads(body)["xray_version"]


def test_bodies_can_come_in_chunks_and_compressed(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(chunked=True, gzip=True, **SMALL)) as simulator:
        answer = get(session, simulator)
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.json()["data"] == list(simulator.truth(START, END))
        plain = get(session, simulator, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        assert plain.content == answer.content
        assert "Content-Encoding" not in get(session, simulator, params={"format": "csv"}).headers
    with Simulator(SimulatorSettings(**SMALL)) as simulator:
        assert "Content-Encoding" not in get(session, simulator).headers


@pytest.mark.parametrize(
    ("fault", "status", "html"),
    [
        (Fault.THROTTLED, 429, False),
        (Fault.SERVER_ERROR, 500, False),
        (Fault.UNAUTHORIZED, 401, False),
        (Fault.BAD_GATEWAY, 502, True),
        (Fault.UNAVAILABLE, 503, True),
        (Fault.GATEWAY_TIMEOUT, 504, True),
        (Fault.LOGIN_PAGE, 200, True),
        (Fault.NO_DATA, 200, False),
    ],
)
def test_faults_that_replace_the_answer(session: requests.Session, fault: Fault, status: int, html: bool) -> None:
    with Simulator(SimulatorSettings(fault_schedule={2: fault}, **SMALL)) as simulator:
        assert get(session, simulator).ok
        answer = get(session, simulator)
        assert answer.status_code == status
        assert answer.text.lstrip().startswith("<") == html
        assert html or "data" not in answer.json()
        assert "Retry-After" not in answer.headers
        assert get(session, simulator).ok
        assert [record.fault for record in simulator.requests] == [None, fault, None]


def test_retry_after_in_seconds_and_as_a_date(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(retry_after=7, **SMALL)) as simulator:
        simulator.fail_next(Fault.THROTTLED_SECONDS)
        simulator.fail_next("429-date")
        assert get(session, simulator).headers["Retry-After"] == "7"
        before = datetime.now(timezone.utc)
        date = parsedate_to_datetime(get(session, simulator).headers["Retry-After"])
        # Rounded up, since dates of HTTP are of whole seconds.
        assert before + timedelta(seconds=7) < date <= datetime.now(timezone.utc) + timedelta(seconds=8)


def test_a_redirect_leads_to_another_host_s_login_page(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(tokens=("secret",), **SMALL)) as simulator:
        simulator.fail_next(Fault.REDIRECT)
        answer = get(session, simulator, headers={"Authorization": "Bearer secret"})
        assert urlsplit(answer.url).hostname == "localhost"
        assert "log in" in answer.text
        first, second = simulator.requests
        assert (first.status, second.path) == (302, "/ui/login/")
        assert "Authorization" in first.headers
        assert "Authorization" not in second.headers  # requests drops it; the log would tell of a client that does not


@pytest.mark.parametrize("fault", [Fault.CUT_BODY, Fault.RESET])
@pytest.mark.parametrize("chunked", [False, True])
def test_connections_that_break(session: requests.Session, fault: Fault, chunked: bool) -> None:
    with Simulator(SimulatorSettings(chunked=chunked, **SMALL)) as simulator:
        simulator.fail_next(fault)
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            get(session, simulator)
        (record,) = simulator.requests
        assert record.status == (0 if fault is Fault.RESET else 200)
        assert get(session, simulator).ok


def test_a_reset_is_a_reset_and_a_cut_is_an_orderly_end() -> None:
    with Simulator(SimulatorSettings(fault_schedule={1: Fault.RESET, 2: Fault.CUT_BODY}, **SMALL)) as simulator:
        request = f"GET {AUDIT_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        with socket.create_connection((simulator.host, simulator.port), timeout=10) as connection:
            connection.sendall(request)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with socket.create_connection((simulator.host, simulator.port), timeout=10) as connection:
            connection.sendall(request)
            head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert len(body) == promised // 2


def test_bodies_that_are_damaged_inside_sound_http(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(**SMALL)) as simulator:
        as_csv = {"format": "csv"}
        for fault in (Fault.TRUNCATED_JSON, Fault.TRUNCATED_ZIP, Fault.CORRUPT_ZIP, Fault.TRUNCATED_JSON):
            simulator.fail_next(fault)
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                json.loads(get(session, simulator).content)
        corrupt = get(session, simulator, params=as_csv).content
        with zipfile.ZipFile(io.BytesIO(corrupt)) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
            archive.read("audit_packages.csv")
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(get(session, simulator, params=as_csv).content))
        assert [record.fault for record in simulator.requests] == [
            Fault.TRUNCATED_JSON,
            Fault.TRUNCATED_JSON,
            Fault.CORRUPT_ZIP,
            Fault.TRUNCATED_ZIP,
        ]


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
def test_stalls_outlast_a_read_time_out_and_end_with_the_simulator(session: requests.Session, fault: Fault) -> None:
    with Simulator(SimulatorSettings(hang=60, **SMALL)) as simulator:
        simulator.fail_next(fault, times=2)
        with pytest.raises((requests.exceptions.ReadTimeout, requests.ConnectionError)):
            get(session, simulator, timeout=0.2)
        with ThreadPoolExecutor(1) as pool:
            stalled = pool.submit(get, session, simulator)
            while len(simulator.requests) < 2:
                time.sleep(0.01)
            started = time.perf_counter()
            simulator.stop()
            assert time.perf_counter() - started < 20
            with pytest.raises(requests.RequestException):
                stalled.result(timeout=5)


def test_a_dripping_answer_outlasts_a_read_time_out(session: requests.Session) -> None:
    with Simulator(SimulatorSettings(hang=60, **SMALL)) as simulator:
        simulator.fail_next(Fault.DRIP)
        response = session.get(simulator.url + AUDIT_PATH, stream=True, timeout=3)
        first = [response.raw.read(1) for _ in range(2)]
        assert all(len(part) == 1 for part in first)
        response.close()


def test_faults_by_rate_are_the_same_each_time() -> None:
    def faults(seed: int) -> list[Fault | None]:
        simulator = Simulator(SimulatorSettings(fault_rate=0.2, seed=seed, **SMALL))
        return [simulator.app.faults.choose(AUDIT_PATH, number, csv=False) for number in range(1, 1001)]

    assert faults(1) == faults(1) != faults(2)
    assert 150 < sum(fault is not None for fault in faults(1)) < 250
    assert Fault.LOGIN_PAGE not in faults(1)
    assert Fault.CORRUPT_ZIP not in faults(1)


def test_other_paths_suffer_only_if_told_so(session: requests.Session) -> None:
    every = {"fault_rate": 1.0, "fault_kinds": (Fault.SERVER_ERROR,), **SMALL}
    with Simulator(SimulatorSettings(**every)) as simulator:
        assert get(session, simulator, VERSION_PATH).ok
        assert get(session, simulator).status_code == 500
    with Simulator(SimulatorSettings(faults_everywhere=True, **every)) as simulator:
        assert get(session, simulator, ENTITLEMENT_PATH).status_code == 500
        assert get(session, simulator, "/").ok


def test_latency_a_request_a_row_and_a_skipped_row(session: requests.Session) -> None:
    def seconds(**settings: Any) -> float:
        with Simulator(SimulatorSettings(**SMALL, **settings)) as simulator:
            started = time.perf_counter()
            get(session, simulator, params={"offset": "400", "num_of_rows": "100"})
            return time.perf_counter() - started

    usual = min(seconds() for _ in range(5))
    assert usual < 0.2 <= seconds(latency=0.2)
    assert seconds(latency_per_row=0.002) >= 0.2
    assert seconds(latency_per_skipped_row=0.0005) >= 0.2


def test_requests_in_flight_are_counted(session: requests.Session) -> None:
    together = threading.Barrier(4)
    with Simulator(SimulatorSettings(**SMALL)) as simulator, ThreadPoolExecutor(4) as pool:
        reply = simulator.app._reply

        def held(*args: Any) -> Any:
            """Answer when four requests are in flight."""
            together.wait(20)
            return reply(*args)

        simulator.app._reply = held  # type: ignore[assignment, method-assign]
        list(pool.map(lambda _: requests.get(simulator.url + VERSION_PATH, timeout=25), range(4)))
        simulator.app._reply = reply  # type: ignore[method-assign]
        assert max(record.in_flight for record in simulator.requests) == 4
        get(session, simulator, VERSION_PATH)
        assert simulator.requests[-1].in_flight == 1


def test_a_change_that_cannot_be_made_is_told() -> None:
    with Simulator(SimulatorSettings(changes={1: Delete(1)}, **SMALL)) as simulator:
        answer = requests.get(simulator.url + AUDIT_PATH, timeout=10)
        assert answer.status_code == 500
        assert "no event with the id 1" in answer.text


def test_its_life() -> None:
    simulator = Simulator(SimulatorSettings(**SMALL))
    with pytest.raises(RuntimeError, match="is not running"):
        _ = simulator.url
    with simulator:
        port = simulator.port
        idle = socket.create_connection((simulator.host, port), timeout=10)
        with pytest.raises(RuntimeError, match="already running"):
            simulator.start()
        with pytest.raises(OSError, match="in use"), Simulator(SimulatorSettings(**SMALL), port=port):
            pass
        assert requests.get(simulator.url + VERSION_PATH, timeout=10).ok
        started = time.perf_counter()
    assert time.perf_counter() - started < 20
    with idle:
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((simulator.host, port), timeout=10)
    simulator.stop()
    with simulator:
        assert requests.get(simulator.url + VERSION_PATH, timeout=10).ok


def test_the_connection_for_airflow() -> None:
    settings = SimulatorSettings(users={"ann": "p:w/@"}, context_path="/artifactory", **SMALL)
    with Simulator(settings) as simulator:
        assert simulator.url == f"http://127.0.0.1:{simulator.port}/artifactory"
        uri = urlsplit(simulator.connection_uri())
        assert uri.scheme == "jfrog-curation"
        assert unquote(uri.netloc.rpartition("@")[2]) == simulator.url
        assert (unquote(uri.username or ""), unquote(uri.password or "")) == ("ann", "p:w/@")
        assert json.loads(simulator.connection_json()) == {
            "conn_type": "jfrog_curation",
            "host": simulator.url,
            "login": "ann",
            "password": "p:w/@",
        }
        assert urlsplit(simulator.connection_uri(password="token")).password == "token"
    with Simulator(SimulatorSettings(tokens=("first", "second"), **SMALL)) as simulator:
        assert simulator.connection_uri().startswith("jfrog-curation://:first@http%3A%2F%2F127.0.0.1%3A")
    with Simulator(SimulatorSettings(**SMALL)) as simulator:
        assert "@" not in simulator.connection_uri()


def test_https_with_a_certificate(tmp_path: Path) -> None:
    pem = _certificate(tmp_path)
    with Simulator(SimulatorSettings(certificate=str(pem), **SMALL)) as simulator:
        assert simulator.url.startswith("https://")
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(simulator.url + VERSION_PATH, verify=str(pem), timeout=10).ok
            with pytest.raises(requests.exceptions.SSLError):
                session.get(simulator.url + VERSION_PATH, timeout=10)
            simulator.fail_next(Fault.RESET)
            with pytest.raises(requests.ConnectionError):
                session.get(simulator.url + AUDIT_PATH, verify=str(pem), timeout=10)


def _certificate(folder: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    import ipaddress

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "simulator")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    pem = folder / "server.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return pem


def test_the_same_answer_is_kept_up_to_a_size() -> None:
    kept = Simulator(SimulatorSettings(cache_bytes=2_000_000, **SMALL)).app.answers
    rows = kept._store.rows(int(START.timestamp()), int(END.timestamp()))
    made = []

    def make() -> bytes:
        made.append(rows.total)
        return zlib.compress(b"x") * 50_000

    for key in ("a", "b", "a", "c", "d", "a"):
        kept._cache.get(key, make)
    assert len(made) == 4
    assert kept._cache._size <= 2_000_000
