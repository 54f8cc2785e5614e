"""The session on real sockets: what goes to which host, and whose certificates and proxies count."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPBasicAuth

from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import BearerAuth, PlatformSession
from airflow_provider_curation.audit.errors import RedirectedError, TlsError
from airflow_provider_curation.audit.window import Window
from tests.support.audit_server import Server, serving

TOKEN = "made-up-token"
HEADERS = {"X-Gateway": "made-up-gateway-secret"}
REDIRECTS = [301, 302, 303, 307, 308]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def session(**settings: Any) -> PlatformSession:
    return PlatformSession(**{"auth": BearerAuth(TOKEN), "headers": HEADERS, **settings})


# Redirects


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("auth", [BearerAuth(TOKEN), HTTPBasicAuth("ana", "made-up")], ids=["Bearer", "Basic"])
@pytest.mark.parametrize("place", ["another port", "another name", "another scheme", "without a scheme"])
def test_nothing_is_sent_to_another_host(server: Server, other: Server, status: int, auth: Any, place: str) -> None:
    location = {
        "another port": f"{other.url}/login",
        "another name": f"http://localhost:{server.server_port}/login",
        "another scheme": f"https://127.0.0.1:{server.server_port}/login",
        "without a scheme": f"//127.0.0.1:{other.server_port}/login",
    }[place]
    server.redirects["/xray"] = (status, location)

    with session(auth=auth) as session_:
        answer = session_.get(f"{server.url}/xray")

    assert answer.status_code == status
    assert [path for path, _ in server.seen] == ["/xray"]
    assert other.seen == []


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("location", ["/moved", "{url}/moved", "//127.0.0.1:{port}/moved"])
def test_a_redirect_on_the_same_host_is_followed(server: Server, status: int, location: str) -> None:
    server.redirects["/xray"] = (status, location.format(url=server.url, port=server.server_port))

    with session() as session_:
        answer = session_.get(f"{server.url}/xray")

    assert answer.status_code == 200
    assert [path for path, _ in server.seen] == ["/xray", "/moved"]
    for _, headers in server.seen:
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["X-Gateway"] == HEADERS["X-Gateway"]


def test_a_redirect_by_way_of_the_same_host_ends_there(server: Server, other: Server) -> None:
    server.redirects |= {"/xray": (302, "/moved"), "/moved": (302, f"{other.url}/login")}

    with session() as session_:
        assert session_.get(f"{server.url}/xray").status_code == 302
    assert [path for path, _ in server.seen] == ["/xray", "/moved"]
    assert other.seen == []


class _Everywhere(dict[str, tuple[int, str]]):
    """A redirect of every path."""

    def __init__(self, status: int, location: str) -> None:
        super().__init__()
        self._to = (status, location)

    def get(self, path: str, default: Any = None) -> Any:
        return self._to


def ask(session_: PlatformSession, server: Server) -> Any:
    """One question of the client, asked once."""
    client = AuditClient(session_, server.url, retry=RetryPolicy(attempts=1), secrets=(TOKEN,))
    query = Query(Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z"), 1)
    return client.read_json(query, lambda body: body)


def test_the_client_names_a_redirect_to_another_host(server: Server, other: Server) -> None:
    server.redirects = _Everywhere(302, f"{other.url}/login?with={TOKEN}")

    with session() as session_, pytest.raises(RedirectedError) as error:
        ask(session_, server)

    assert len(server.seen) == 1
    assert other.seen == []
    assert error.value.status == 302
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:port/", "://", ""])
def test_a_location_that_is_no_address_is_not_followed(server: Server, location: str) -> None:
    server.redirects["/xray"] = (302, location or "#")
    with session() as session_:
        answer = session_.get(f"{server.url}/xray", allow_redirects=location not in ("", "://"))
    assert answer.status_code == 302
    assert len(server.seen) == 1


@pytest.mark.parametrize("auth", [BearerAuth(TOKEN), HTTPBasicAuth("ana", "made-up")], ids=["Bearer", "Basic"])
def test_a_redirect_never_takes_credentials_from_netrc(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.redirects["/xray"] = (302, "/moved")

    with session(auth=auth) as session_:
        session_.get(f"{server.url}/xray")

    before, after = (headers["Authorization"] for _, headers in server.seen)
    assert before == after


def test_a_location_that_is_not_utf_8_is_not_followed(server: Server) -> None:
    server.redirects["/xray"] = (302, "/caf\xe9")
    with session() as session_:
        assert session_.get(f"{server.url}/xray").status_code == 302
    assert len(server.seen) == 1


# What is sent


def test_no_content_type_and_no_cookie_of_another_host(server: Server) -> None:
    with session() as session_:
        session_.get(f"{server.url}/xray", params={"a": "b"})

    [(path, headers)] = server.seen
    assert path == "/xray?a=b"
    assert "Content-Type" not in headers
    assert "Content-Length" not in headers
    assert headers["Accept-Encoding"] == "gzip"


def test_connections_are_kept(server: Server) -> None:
    with session(connections=1) as session_:
        for _ in range(3):
            session_.get(f"{server.url}/xray")
    assert len(server.seen) == 3
    assert len(server.connections) == 1


# Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file with a key and its own certificate for 127.0.0.1, made once a name."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("certificates")

    def certificate(name: str) -> Path:
        path = folder / f"{name}.pem"
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.example")])
            now = datetime.datetime.now(datetime.timezone.utc)
            made = (
                x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(key, hashes.SHA256())
            )
            secret = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
        return path

    return certificate


OK, REFUSED = True, False


@pytest.mark.parametrize(
    ("verify", "environment", "trust_env", "accepted"),
    [
        # The connection's word first, whatever the environment says.
        ("server", None, True, OK),
        ("server", "another", True, OK),
        ("another", "server", True, REFUSED),
        (False, "another", True, OK),
        (False, None, False, OK),
        # A connection that says nothing follows the environment, if that is trusted.
        (True, None, True, REFUSED),
        (True, "server", True, OK),
        (True, "server", False, REFUSED),
    ],
)
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_whose_certificates_count(
    certificates: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    verify: bool | str,
    environment: str | None,
    trust_env: bool,
    accepted: bool,
) -> None:
    if environment is not None:
        monkeypatch.setenv(variable, str(certificates(environment)))
    chosen = str(certificates(verify)) if isinstance(verify, str) else verify

    with serving(certificates("server")) as server, session(verify=chosen, trust_env=trust_env) as session_:
        if accepted:
            assert session_.get(f"{server.url}/xray").status_code == 200
        else:
            with pytest.raises(requests.exceptions.SSLError):
                session_.get(f"{server.url}/xray")
        assert len(server.seen) == accepted


def test_one_request_may_say_otherwise(certificates: Callable[[str], Path]) -> None:
    with serving(certificates("server")) as server, session(verify=str(certificates("another"))) as session_:
        assert session_.get(f"{server.url}/xray", verify=str(certificates("server"))).status_code == 200


def test_the_client_names_a_certificate_that_is_refused(certificates: Callable[[str], Path]) -> None:
    with serving(certificates("server")) as server, session() as session_, pytest.raises(TlsError):
        ask(session_, server)


# Proxies


def fetched_through(proxy: Server, session_: PlatformSession) -> bool:
    answer = session_.get("http://acme.example/xray")
    assert answer.status_code == 200
    return [path for path, _ in proxy.seen] == ["http://acme.example/xray"]


def test_the_connections_proxy_is_used(server: Server) -> None:
    with session(proxies={"http": server.url}) as session_:
        assert fetched_through(server, session_)


def test_the_environments_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    with session() as session_:
        assert fetched_through(server, session_)


def test_the_connections_proxy_wins_over_the_environments(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", other.url)
    with session(proxies={"http": server.url}) as session_:
        assert fetched_through(server, session_)
    assert other.seen == []


def test_an_environment_that_is_not_trusted_has_no_proxy(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", other.url)
    with session(trust_env=False) as session_:
        assert session_.get(f"{server.url}/xray").status_code == 200
    assert other.seen == []
