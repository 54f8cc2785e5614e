"""The hook: what a connection becomes, and what is sent of it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import requests
import urllib3

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.api.entitlement import server_version
from airflow_provider_curation.audit.errors import AnswerTooLargeError, InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.hooks.connection import CONNECT_SECONDS, HEADERS_EXTRA, READ_SECONDS
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import Simulator

ROOT = Path(__file__).parents[3]
VARIABLE = "AIRFLOW_CONN_CURATION_DEFAULT"
TOKEN = "made-up-token"

Connect = Callable[..., CurationAuditHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A hook of a connection with these fields, looked up as Airflow does."""

    def connect(**fields: Any) -> CurationAuditHook:
        chosen = {"conn_type": "jfrog_curation", "host": "https://acme.example", **fields}
        monkeypatch.setenv(VARIABLE, json.dumps(chosen))
        return CurationAuditHook()

    return connect


Sent = list[tuple[requests.PreparedRequest, dict[str, Any]]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Every request that a session sends, with how it sends it; each is answered with an empty object."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    seen: Sent = []

    def send(self: Any, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        seen.append((request, more))
        return answer(self, request, 200, b"{}")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return seen


def answer(adapter: Any, request: requests.PreparedRequest, status: int, body: bytes) -> requests.Response:
    raw = urllib3.HTTPResponse(io.BytesIO(body), status=status, preload_content=False)
    return adapter.build_response(request, raw)


# The platform's address


@pytest.mark.parametrize(
    ("fields", "url", "instance"),
    [
        ({"host": "acme.example"}, "https://acme.example", "acme.example"),
        ({"host": " acme.example/ "}, "https://acme.example", "acme.example"),
        ({"host": "https://acme.example/"}, "https://acme.example", "acme.example"),
        ({"host": "http://acme.example"}, "http://acme.example", "acme.example"),
        ({"host": "acme.example", "schema": "http"}, "http://acme.example", "acme.example"),
        ({"host": "https://acme.example", "schema": "http"}, "https://acme.example", "acme.example"),
        ({"host": "acme.example", "port": 8443}, "https://acme.example:8443", "acme.example_8443"),
        ({"host": "acme.example:8443"}, "https://acme.example:8443", "acme.example_8443"),
        ({"host": "http://acme.example:8082", "port": 1}, "http://acme.example:8082", "acme.example_8082"),
        ({"host": "acme.example/xray"}, "https://acme.example", "acme.example"),
        ({"host": "https://acme.example/xray/"}, "https://acme.example", "acme.example"),
        ({"host": "https://acme.example/platform"}, "https://acme.example/platform", "acme.example_platform"),
        (
            {"host": "https://acme.example:8443/a/platform/xray"},
            "https://acme.example:8443/a/platform",
            "acme.example_8443_a_platform",
        ),
        ({"host": "https://acme.example/x-ray"}, "https://acme.example/x-ray", "acme.example_x-ray"),
        ({"host": "http://[2001:db8::1]:8082"}, "http://[2001:db8::1]:8082", "2001_db8__1_8082"),
        ({"host": "[2001:db8::1]", "port": 8082}, "https://[2001:db8::1]:8082", "2001_db8__1_8082"),
        ({"host": "https://[2001:db8::1]/xray"}, "https://[2001:db8::1]", "2001_db8__1"),
        ({"host": "https://ACME.example"}, "https://acme.example", "acme.example"),
        # With the scheme's own port, it is the same server; forms send 0 for none.
        ({"host": "https://acme.example:443"}, "https://acme.example", "acme.example"),
        ({"host": "acme.example", "port": 443}, "https://acme.example", "acme.example"),
        ({"host": "acme.example", "port": 0}, "https://acme.example", "acme.example"),
        ({"host": "https://acme.example:443/platform/xray"}, "https://acme.example/platform", "acme.example_platform"),
        ({"host": "http://acme.example:80"}, "http://acme.example", "acme.example"),
        ({"host": "http://acme.example:443"}, "http://acme.example:443", "acme.example_443"),
    ],
)
def test_host(connect: Connect, fields: dict[str, Any], url: str, instance: str) -> None:
    hook = connect(**fields)

    assert hook.settings.base_url == url
    assert hook.instance == instance
    assert hook.audit_page_url.startswith(f"{url}/ui/")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(json.dumps({"conn_type": "jfrog_curation", "host": "https://acme.example:8443/platform",
                                 "password": TOKEN, "extra": {"page_size": 100, "verify": False}}), id="JSON"),
        pytest.param(json.dumps({"conn_type": "jfrog_curation", "host": "acme.example/platform", "schema": "https",
                                 "port": 8443, "password": TOKEN,
                                 "extra": '{"page_size": "100", "verify": "false"}'}), id="JSON with extras as text"),
        pytest.param(f"jfrog-curation://:{TOKEN}@{quote('https://acme.example:8443/platform', safe='')}"
                     "?page_size=100&verify=false", id="URI"),
        pytest.param(f"jfrog-curation://:{TOKEN}@{quote('https://acme.example:8443/platform', safe='')}"
                     f"?__extra__={quote(json.dumps({'page_size': 100, 'verify': False}))}", id="URI with __extra__"),
        pytest.param(f"jfrog-curation://:{TOKEN}@{quote('acme.example/platform', safe='')}:8443/https"
                     "?page_size=100&verify=False", id="URI with the scheme as a path"),
    ],
)  # fmt: skip
def test_forms_of_the_environment_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value)

    settings = CurationAuditHook(curation_conn_id="other").settings

    assert settings.base_url == "https://acme.example:8443/platform"
    assert (settings.page_size, settings.verify, settings.secrets) == (100, False, (TOKEN,))


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="curation_conn_id='nowhere': there is no such connection"):
        CurationAuditHook("nowhere").get_conn()


# Credentials


def authorization(hook: CurationAuditHook) -> str | None:
    prepared = hook.get_conn().prepare_request(requests.Request("GET", "https://acme.example/xray"))
    return prepared.headers.get("Authorization")


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({"login": "ana", "password": "made-up"}, "Basic " + b64encode(b"ana:made-up").decode()),
        ({"login": "añá", "password": "pä:ss☃"}, "Basic " + b64encode("añá:pä:ss☃".encode()).decode()),
        ({"login": "ana"}, "Basic " + b64encode(b"ana:").decode()),
        ({"password": TOKEN}, f"Bearer {TOKEN}"),
        ({"password": f"{TOKEN}\n"}, f"Bearer {TOKEN}"),
        ({}, None),
    ],
)
def test_credentials(connect: Connect, fields: dict[str, Any], header: str | None) -> None:
    assert authorization(connect(**fields)) == header


def test_a_netrc_file_does_not_replace_the_token(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine acme.example login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))

    assert authorization(connect(password=TOKEN)) == f"Bearer {TOKEN}"
    assert authorization(connect(extra={"trust_env": False})) is None


def test_credentials_are_shown_nowhere(connect: Connect) -> None:
    secret = "made-up-and-secret"
    hook = connect(
        password=secret,
        extra={"secret_headers": {"X-Gateway": f"{secret}-2"}, "proxies": f"http://user:{secret}-3@proxy.example:3128"},
    )

    assert secret not in repr(hook.settings)
    basic = b64encode(f"user:{secret}-3".encode()).decode()
    assert set(hook.settings.secrets) == {secret, f"{secret}-2", f"{secret}-3", basic}


@pytest.mark.parametrize("password", [f"{TOKEN}\n", f" {TOKEN} "])
def test_a_token_is_known_as_it_is_sent(password: str, connect: Connect) -> None:
    hook = connect(password=password)
    assert authorization(hook) == f"Bearer {TOKEN}"
    assert set(hook.settings.secrets) == {TOKEN, password}


# Extras


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {"timeout": (CONNECT_SECONDS, READ_SECONDS), "verify": True, "cert": None, "proxies": {}, "headers": {},
              "trust_env": True, "page_size": 2000, "concurrency": 4}),
        ({"timeout": 30}, {"timeout": (30.0, 30.0)}),
        ({"timeout": "2.5"}, {"timeout": (2.5, 2.5)}),
        ({"timeout": [3, 60]}, {"timeout": (3.0, 60.0)}),
        ({"timeout": "[3, 60]"}, {"timeout": (3.0, 60.0)}),
        ({"timeout": ""}, {"timeout": (CONNECT_SECONDS, READ_SECONDS)}),
        ({"timeout": None}, {"timeout": (CONNECT_SECONDS, READ_SECONDS)}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "False"}, {"verify": False}),
        ({"verify": " true "}, {"verify": True}),
        ({"verify": "/etc/ssl/made-up.pem"}, {"verify": "/etc/ssl/made-up.pem"}),
        ({"cert": "client.pem"}, {"cert": "client.pem"}),
        ({"cert": ["client.pem", "client.key"]}, {"cert": ("client.pem", "client.key")}),
        ({"cert": '["client.pem", "client.key"]'}, {"cert": ("client.pem", "client.key")}),
        ({"proxies": "http://proxy.example:3128"},
         {"proxies": {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}}),
        ({"proxies": {"https": "http://proxy.example:3128"}}, {"proxies": {"https": "http://proxy.example:3128"}}),
        ({"proxies": '{"https": "http://proxy.example:3128"}'}, {"proxies": {"https": "http://proxy.example:3128"}}),
        ({"trust_env": "false"}, {"trust_env": False}),
        ({"secret_headers": {"X-Gateway": 1}}, {"headers": {"X-Gateway": "1"}}),
        ({"secret_headers": '{"X-Gateway": "one"}'}, {"headers": {"X-Gateway": "one"}}),
        ({"page_size": 1, "concurrency": 8}, {"page_size": 1, "concurrency": 8}),
        ({"page_size": "500", "concurrency": "1"}, {"page_size": 500, "concurrency": 1}),
    ],
    ids=str,
)  # fmt: skip
def test_extras(connect: Connect, extra: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = connect(extra=extra).settings
    assert {name: getattr(settings, name) for name in expected} == expected


def test_the_session_has_them(connect: Connect) -> None:
    extra = {
        "verify": "ca.pem",
        "cert": ["client.pem", "client.key"],
        "proxies": "http://proxy.example:3128",
        "trust_env": False,
        "concurrency": 3,
    }
    session = connect(extra=extra).get_conn()

    assert (session.verify, session.cert, session.trust_env) == ("ca.pem", ("client.pem", "client.key"), False)
    assert session.proxies == {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}
    assert session.get_adapter("https://acme.example")._pool_maxsize == 3  # type: ignore[attr-defined]


def test_of_the_extras_only_headers_are_sent(connect: Connect, sent: Sent) -> None:
    extra = {
        "secret_headers": {"X-Gateway": "open"},
        "api_key": "made-up-key",
        "Authorization": "made-up-authorization",
        "X-Other": "made-up-other",
        "page_size": 100,
        "proxies": {},
        "stream": True,
        "allow_redirects": False,
        "max_redirects": 3,
        "check_response": False,
    }
    hook = connect(password=TOKEN, extra=extra)

    hook.run("/xray/api/v1/system/version")
    hook.get_conn().get("https://acme.example/xray")
    server_version(hook.client)

    for request, _ in sent:
        from airflow import __version__ as airflow_version

        agent = f"airflow-provider-curation/{__version__} apache-airflow/{airflow_version}"
        assert dict(request.headers) == {
            "User-Agent": agent,
            "Accept-Encoding": "gzip",
            "Accept": "*/*",
            "Connection": "keep-alive",
            "X-Gateway": "open",
            "Authorization": f"Bearer {TOKEN}",
        }
        assert "made-up-key" not in str(request.url)
    assert len(sent) == 3


SWITCHES = {
    True: [True, "true", "True", " TRUE ", "y", "Y", "yes", "on", "t", "1"],
    False: [False, "false", "n", "no", "off", "f", "0"],
}


@pytest.mark.parametrize(("value", "on"), [(value, on) for on, values in SWITCHES.items() for value in values])
def test_every_way_to_write_a_switch(connect: Connect, value: Any, on: bool) -> None:
    settings = connect(extra={"trust_env": value, "verify": value}).settings
    assert (settings.trust_env, settings.verify) == (on, on)


@pytest.mark.parametrize("value", ["", " ", None])
def test_a_switch_that_is_empty_has_its_default(connect: Connect, value: Any) -> None:
    settings = connect(extra={"trust_env": value, "verify": value}).settings
    assert (settings.trust_env, settings.verify) == (True, True)


def test_limits_are_extras(connect: Connect) -> None:
    extra = {"max_answer_bytes": "1000", "max_nesting": 3, "answer_deadline": "2.5", "max_line_bytes": ""}
    hook = connect(extra=extra)
    assert hook.settings.limits == Limits(max_answer_bytes=1000, max_nesting=3, answer_deadline=2.5)
    assert hook.client.limits == hook.settings.limits


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"extra": {"timeout": "soon"}}, "extra 'timeout'"),
        ({"extra": {"timeout": [1, float("inf")]}}, "extra 'timeout'"),
        ({"extra": {"trust_env": "perhaps"}}, "extra 'trust_env'"),
        ({"extra": {"page_size": 2001}}, "extra 'page_size'"),
        ({"extra": {"max_nesting": 0}}, "max_nesting=0"),
        ({"extra": {"answer_deadline": "soon"}}, "answer_deadline='soon'"),
        ({"extra": {"proxies": "http://[made-up-secret"}}, "extra 'proxies'"),
        ({"extra": {"secret_headers": {"X": "made-up-secret\n"}}}, "extra 'secret_headers'"),
        ({"extra": {"headers": {"X": "made-up-secret"}}}, "name it 'secret_headers'"),
        ({"password": "made-up-secret\nmade-up"}, "password that is not a token"),
        ({"password": "made-up-secret ☃"}, "password that is not a token"),
        ({"host": "https://ana:made-up-secret@acme.example"}, "credentials"),
        ({"host": "https://[acme"}, "host"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_and_not_the_id_of_a_test(connect: Connect, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(said)) as caught:
        connect(**fields).get_conn()
    assert "The connection 'curation_default' has" in str(caught.value)
    connected, message = connect(**fields).test_connection()
    assert not connected
    assert said in message
    assert "curation_default" not in message
    assert "made-up-secret" not in f"{caught.value} {message}"


@pytest.mark.parametrize(
    ("host", "fields", "told"),
    [
        ("http://acme.example", {"password": TOKEN}, True),
        ("http://acme.example", {"login": "ana"}, True),
        ("http://acme.example", {"extra": {"secret_headers": {"X": "1"}}}, True),
        ("http://10.0.0.1:8082", {"password": TOKEN}, True),
        ("http://acme.example", {}, False),
        ("https://acme.example", {"password": TOKEN}, False),
        ("http://localhost:8082", {"password": TOKEN}, False),
        ("http://127.0.0.5", {"password": TOKEN}, False),
        ("http://[::1]:8082", {"password": TOKEN}, False),
    ],
)
def test_credentials_in_clear_are_told(
    connect: Connect, host: str, fields: dict[str, Any], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    connect(host=host, **fields).get_conn()
    assert ("unencrypted" in caplog.text) is told


def test_the_basic_value_is_a_secret(connect: Connect) -> None:
    hook = connect(login="ana", password="made-up")
    assert set(hook.settings.secrets) == {"made-up", b64encode(b"ana:made-up").decode()}


def test_airflow_masks_the_extra_headers() -> None:
    """By the name of the extra, as its forms and its API do."""
    try:
        from airflow.sdk.log import redact
    except ImportError:
        from airflow.utils.log.secrets_masker import redact  # type: ignore[no-redef]
    assert "seen-by-all" not in str(redact({HEADERS_EXTRA: {"X-Gateway-Key": "seen-by-all"}}))
    assert "seen-by-all" in str(redact({"headers": {"X-Gateway-Key": "seen-by-all"}}))


# The session, and HttpHook's own run()


def test_one_session_for_the_hooks_life(connect: Connect, sent: Sent) -> None:
    hook = connect(password=TOKEN)
    session = hook.get_conn()

    hook.run("/xray/api/v1/system/version")
    hook.get_conn(headers={"X-Once": "1"})

    assert hook.get_conn() is session
    assert "X-Once" not in session.headers
    assert connect(password=TOKEN).get_conn() is not session


def test_run_uses_our_authorization_time_outs_and_address(connect: Connect, sent: Sent) -> None:
    hook = connect(host="https://acme.example/platform/xray", password=TOKEN, extra={"timeout": [3, 60]})

    answer = hook.run("/xray/api/v1/system/version", data={"a": "b"}, headers={"X-Once": "1"})

    [(request, how)] = sent
    assert answer.status_code == 200
    assert request.url == "https://acme.example/platform/xray/api/v1/system/version?a=b"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["X-Once"] == "1"
    assert how["timeout"] == (3.0, 60.0)
    assert how["verify"] is True


def test_run_takes_options_for_one_request(connect: Connect, sent: Sent) -> None:
    hook = connect(password=TOKEN, extra={"verify": "ca.pem"})

    hook.run("/xray", extra_options={"timeout": 7})
    hook.run("/xray")

    assert [how["timeout"] for _, how in sent] == [7, (CONNECT_SECONDS, READ_SECONDS)]
    assert [how["verify"] for _, how in sent] == ["ca.pem", "ca.pem"]


def test_run_raises_for_an_error_without_logging_its_body(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def send(self: Any, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        return answer(self, request, 403, b"personal@acme.example")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)

    with pytest.raises(requests.HTTPError):
        connect(password=TOKEN).run("/xray")
    assert "personal" not in caplog.text


def test_run_has_the_limits_of_the_connection(connect: Connect, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", lambda self, request, **more: answer(self, request, 200, b"x" * 101)
    )
    for status in (True, False):
        with pytest.raises(AnswerTooLargeError, match="max_json_bytes=100"):
            connect(password=TOKEN, extra={"max_json_bytes": 100}).run(
                "/artifactory", extra_options={"check_response": status}
            )
    assert connect(password=TOKEN, extra={"max_json_bytes": 101}).run("/artifactory").text == "x" * 101


def test_get_page_has_the_limits_of_the_connection(
    connect: Connect, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"data":[{"a":{}}],"meta":{}}'
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", lambda self, request, **more: answer(self, request, 200, body)
    )
    window = "2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z"
    assert connect(password=TOKEN).get_page(*window)["data"] == [{"a": {}}]
    with pytest.raises(AnswerTooLargeError, match="max_json_objects=3"):
        connect(password=TOKEN, extra={"max_json_objects": 3}).get_page(*window)


@pytest.mark.parametrize("number", ["9" * 5000, "1e400"], ids=["digits", "exponent"])
def test_a_number_that_python_cannot_hold_is_named(connect: Connect, number: str) -> None:
    """An export keeps such an event as it is; a dict cannot."""
    hook, window = connect(host="acme.example"), Window.parse("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    page = SimpleNamespace(lines=lambda: [b'{"id":1,"unknown":' + number.encode() + b"}"])
    reader: Any = SimpleNamespace(pages=lambda: [page])

    with pytest.raises(UnexpectedAnswerError, match=r"2026-11-01.* a value that Python cannot hold \(.*out of range"):
        list(hook._iter_events(reader, window))


def test_get_page_has_the_connections_time_outs(connect: Connect, sent: Sent) -> None:
    with pytest.raises(UnexpectedAnswerError):
        connect(password=TOKEN, extra={"timeout": [3, 60]}).get_page("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
    assert sent[0][1]["timeout"] == (3.0, 60.0)


# The connection's test


def test_test_connection_says_version_and_entitlement(curation_simulator_factory: Callable[..., Simulator]) -> None:
    curation_simulator_factory(events=10, tokens=(TOKEN,), version="3.131.4")
    assert CurationAuditHook().test_connection()[0] is True
    assert "Xray 3.131.4, entitled to Curation" in CurationAuditHook().test_connection()[1]


@pytest.mark.parametrize(
    ("settings", "connected", "said"),
    [
        ({"entitled": False}, True, "Warning: it is not entitled"),
        ({"tells_entitlement": False}, True, "Warning: the server does not say"),
        ({"tokens": ("another-token",)}, False, "401"),
        ({"tokens": ("another-token",), "forbidden_tokens": (TOKEN,)}, False, "403"),
        ({"version": "3.80.0"}, False, "404"),
    ],
    ids=str,
)
def test_test_connection_tells_what_is_wrong(
    settings: dict[str, Any],
    connected: bool,
    said: str,
    curation_simulator_factory: Callable[..., Simulator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = curation_simulator_factory(**{"events": 10, "tokens": (TOKEN,), **settings})
    monkeypatch.setenv(VARIABLE, simulator.connection_json(password=TOKEN))

    status, message = CurationAuditHook().test_connection()

    assert (status, said in message, TOKEN in message) == (connected, True, False), message


def test_test_connection_names_a_bad_connection(connect: Connect) -> None:
    for hook, said in (
        (connect(host=""), "has no host"),
        (CurationAuditHook("nowhere"), "there is no such connection"),
    ):
        status, message = hook.test_connection()
        assert status is False
        assert said in message


# What Airflow asks of a hook's class


def test_form_of_airflow_2() -> None:
    pytest.importorskip("flask_appbuilder", reason="Airflow 3 reads the form from the provider's metadata")
    from wtforms import BooleanField, Form, IntegerField, PasswordField, StringField

    widgets = CurationAuditHook.get_connection_form_widgets()

    kinds = {name: field.field_class for name, field in widgets.items()}
    assert kinds == {
        "timeout": StringField,
        "verify": StringField,
        "cert": StringField,
        "proxies": StringField,
        "trust_env": BooleanField,
        "secret_headers": PasswordField,
        "page_size": IntegerField,
        "concurrency": IntegerField,
        "max_answer_bytes": IntegerField,
        "max_json_bytes": IntegerField,
        "max_json_objects": IntegerField,
        "max_line_bytes": IntegerField,
        "max_nesting": IntegerField,
        "answer_deadline": IntegerField,
    }
    form = type("ConnectionForm", (Form,), dict(widgets))
    for data, valid in (({}, True), ({"page_size": 2000, "concurrency": 8}, True), ({"page_size": 2001}, False),
                        ({"concurrency": 0}, False)):  # fmt: skip
        from werkzeug.datastructures import MultiDict

        assert form(MultiDict(data)).validate() is valid, data


def test_field_behaviour_of_airflow_2() -> None:
    behaviour = CurationAuditHook.get_ui_field_behaviour()
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
    assert "password" in behaviour["relabeling"]


def test_connections_make_the_hook(tmp_path: Path) -> None:
    """`Connection.get_hook()`, with the provider installed as far as Airflow can tell."""
    metadata = tmp_path / "site" / "airflow_provider_curation-0.dist-info"
    metadata.mkdir(parents=True)
    about = ("Metadata-Version: 2.1", "Name: airflow-provider-curation", f"Version: {__version__}", "")
    (metadata / "METADATA").write_text("\n".join(about))
    (metadata / "entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info = airflow_provider_curation.get_provider_info:get_provider_info\n"
    )
    code = """
        import json
        from airflow.models import Connection

        found = []
        for connection in (
            Connection(conn_id="by_uri", uri="jfrog-curation://:made-up@acme.example"),
            Connection(conn_id="by_fields", conn_type="jfrog_curation", host="acme.example"),
        ):
            hook = connection.get_hook()
            found.append([type(hook).__name__, hook.curation_conn_id])
        print(json.dumps(found))
    """
    path = os.pathsep.join([str(ROOT), str(metadata.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == [
        ["CurationAuditHook", "by_uri"],
        ["CurationAuditHook", "by_fields"],
    ]
