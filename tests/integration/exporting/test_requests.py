"""How much is asked of the server, and in what form."""

from __future__ import annotations

import math
import threading
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import TlsError
from airflow_provider_curation.compat import airflow_version
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import Fault, RequestRecord, Simulator
from tests.support.exports import END, START, TOKEN, Bucket, export, simulated

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")


@pytest.mark.parametrize("events", [1, 1_999, 2_000, 2_001, 30_000])
def test_as_few_requests_as_pages(events: int) -> None:
    with simulated(events=events, page_size=2000) as simulator:
        assert sum(1 for _ in CurationAuditHook().iter_events(START, END)) == events
        audit = [each for each in simulator.requests if each.path == AUDIT_PATH]
    slices = math.ceil(events / 20_000)
    assert len(audit) <= math.ceil(events / 1999) + slices + 2
    assert sum(each.rows for each in audit) <= events + len(audit) + 2
    assert events > 2000 or len(audit) == 2


def test_as_few_requests_as_pages_of_a_wide_window() -> None:
    end = START.replace(day=30)
    with simulated(events=20_000, end=end, page_size=2000) as simulator:
        assert sum(1 for _ in CurationAuditHook().iter_events(START, end)) == 20_000
        audit = [each for each in simulator.requests if each.path == AUDIT_PATH]
    chunks = math.ceil((end - START).days / 6)
    # Each part of the window that can be asked for is counted before and after, and is a slice at least.
    assert len(audit) <= math.ceil(20_000 / 1999) + chunks + 2 * chunks


def test_csv_takes_one_answer_where_the_server_gives_one(tmp_path: Path) -> None:
    with simulated(events=3_000) as simulator:
        assert CurationAuditHook().download_csv(START, END, tmp_path / "audit.zip")["events"] == 3_000
        answers = [each for each in simulator.requests if each.params.get("format") == "csv"]
        assert [each.rows for each in answers] == [3_000]
        assert len(simulator.requests) <= 4


class InFlight:
    """How many requests the server has at a time.

    :param wanted: pages behind the first one wait until as many have come, however late a slow machine sends them.
    """

    def __init__(self, simulator: Simulator, wanted: int = 1) -> None:
        self.most = 0
        self._have_come = threading.Event()
        self._now = 0
        self._lock = threading.Lock()
        handle = simulator.app.handle

        def counted(request: Any) -> Any:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
                if self.most >= wanted:
                    self._have_come.set()
            try:
                if parse_qs(request.query_string).get("offset", ["0"]) != ["0"]:
                    self._have_come.wait(20)
                    self._have_come.set()  # it was waited for once
                return handle(request)
            finally:
                with self._lock:
                    self._now -= 1

        simulator.app.handle = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8])
def test_pages_in_flight_are_bounded(concurrency: int) -> None:
    extra = {"timeout": [2, 30]}
    with simulated(events=1200, page_size=40, concurrency=concurrency, latency=0.04, extra=extra) as simulator:
        in_flight = InFlight(simulator, wanted=concurrency)
        assert sum(1 for _ in CurationAuditHook().iter_events(START, END)) == 1200
    assert in_flight.most == concurrency


def read_in_flight(simulator: Simulator, events: int) -> list[RequestRecord]:
    """Read everything, and return the audit requests in the order of their answers."""
    hook = CurationAuditHook()
    assert [event["id"] for event in hook.iter_events(START, END)] == [
        event["id"] for event in simulator.truth(START, END)
    ]
    audit = [each for each in simulator.requests if each.path == AUDIT_PATH]
    assert sum(each.rows for each in audit) >= events
    return audit


def test_after_a_429_half_as_many_pages_are_in_flight_and_then_more_again() -> None:
    schedule = {1: Fault.THROTTLED}
    with simulated(events=1600, page_size=21, concurrency=4, latency=0.01, fault_schedule=schedule) as simulator:
        audit = read_in_flight(simulator, 1600)
    assert max(each.in_flight for each in audit[:16]) == 2
    assert 2 < max(each.in_flight for each in audit) <= 4


def test_a_server_that_refuses_requests_is_asked_as_much_as_it_takes() -> None:
    settings: dict[str, Any] = {"events": 6000, "page_size": 41, "latency": 0.05, "retry_after": 0}
    with simulated(concurrency=8, capacity=3, **settings) as simulator:
        audit = read_in_flight(simulator, 6000)
    refused = [each for each in audit if each.status == 429]
    assert 0 < len(refused) <= 0.15 * len(audit)
    # Once it has settled, between two and three are in flight, and what is refused is but the one too many.
    settled = audit[len(audit) // 3 :]
    assert max(each.in_flight for each in settled) <= 4
    assert sum(each.in_flight for each in settled if each.status == 200) >= 2 * len(settled)


def test_a_server_that_slows_down_is_asked_less() -> None:
    settings: dict[str, Any] = {"events": 4000, "page_size": 41, "latency": 0.1}
    with simulated(concurrency=8, capacity=2, over_capacity="slow", **settings) as simulator:
        audit = read_in_flight(simulator, 4000)
    assert max(each.in_flight for each in audit) == 8
    settled = [each.in_flight for each in audit[len(audit) // 2 :]]
    assert max(settled) <= 4
    assert sum(settled) >= 1.5 * len(settled)


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_what_a_request_looks_like(file_format: str, bucket: Bucket) -> None:
    heads: list[dict[str, str]] = []
    with simulated(
        tokens=(TOKEN,), extra={"secret_headers": {"X-Team": "audit"}, "made_up": "kept-at-home"}
    ) as simulator:
        handle = simulator.app.handle

        def watched(request: Any) -> Any:
            heads.append(dict(request.headers))
            return handle(request)

        simulator.app.handle = watched  # type: ignore[method-assign]
        export(bucket, file_format=file_format)
        requests = simulator.requests
    assert {each.method for each in requests} == {"GET"}
    for head in heads:
        assert "Content-Type" not in head
        assert head["User-Agent"] == f"airflow-provider-curation/{__version__} apache-airflow/{airflow_version()}"
        assert head["Authorization"] == f"Bearer {TOKEN}"
        assert head["X-Team"] == "audit"
        assert not [name for name, value in head.items() if "Page" in name or "kept-at-home" in value]
    for each in requests:
        if each.path == AUDIT_PATH:
            assert each.params["created_at_start"].endswith("Z")
            assert each.params["created_at_end"].endswith("Z")
            assert each.params["dry_run"] == "false"
            assert each.params["order_by"] == "id"
            assert each.params["num_of_rows"]


def test_neighbouring_windows_leave_no_hole_and_no_overlap() -> None:
    edges = [START, START.replace(hour=5, minute=17, second=23), START.replace(hour=19), END]
    with simulated(events=900) as simulator:
        hook = CurationAuditHook()
        parts = [event for start, end in pairwise(edges) for event in hook.iter_events(start, end)]
        assert parts == list(simulator.truth(START, END))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a certificate of 127.0.0.1 that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "curation.acme.example")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    now = datetime.now(timezone.utc)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).serial_number(1)
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(signed.public_bytes(pem) + private)
    return str(path)


def test_a_certificate_is_checked(certificate: str) -> None:
    with simulated(certificate=certificate, extra={"verify": certificate}) as simulator:
        assert list(CurationAuditHook().iter_events(START, END)) == list(simulator.truth(START, END))
    with simulated(certificate=certificate, tokens=(TOKEN,)) as simulator:
        with pytest.raises(TlsError, match="CA bundle") as raised:
            CurationAuditHook().count_events(START, END)
        assert simulator.requests == []
        assert TOKEN not in str(raised.value)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_not_checked_where_the_connection_says_so(certificate: str) -> None:
    with simulated(certificate=certificate, extra={"verify": False}):
        assert CurationAuditHook().count_events(START, END) == 400
