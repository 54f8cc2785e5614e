"""Reads and checks an Airflow connection of type ``jfrog_curation``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from requests.auth import AuthBase, HTTPBasicAuth

from airflow_provider_curation.audit.api.session import BearerAuth
from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.limits import Limits

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
MOST_CONCURRENCY = 8
#: The extra that holds headers: Airflow masks what has "secret" in its name, in its forms and its API.
HEADERS_EXTRA = "secret_headers"

#: The most seconds that sockets accept on every platform.
_LONGEST_TIMEOUT = 1_000_000
_DEFAULT_PORTS = {"https": 443, "http": 80}
#: How Airflow's forms, URIs and people write true and false.
_SWITCH = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is used here; the same on Airflow 2.11 and 3."""

    conn_id: str
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ConnectionSettings:
    """A connection's fields, as the session and the client need them.

    :param base_url: scheme, host, port and context path, without a trailing ``/xray``.
    :param timeout: seconds to connect, and between two bytes of an answer.
    :param page_size: events a JSON page, 1 to 2000.
    :param concurrency: pages in flight, 1 to 8.
    :param limits: what one answer may cost.
    :param secrets: values that must not appear in logs and errors.
    """

    base_url: str
    auth: AuthBase | None = field(default=None, repr=False)
    timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: dict[str, str] = field(default_factory=dict, repr=False)
    trust_env: bool = True
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    page_size: int = JSON_ROWS
    concurrency: int = 4
    limits: Limits = field(default_factory=Limits)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, connection: AirflowConnection) -> ConnectionSettings:
        """Read a connection.

        :raises InvalidArgumentError: for an invalid field; the message names the field, not the connection, whose id
            is random while Airflow tests it.
        """
        extras = _Extras(connection.extra_dejson)
        headers = extras.headers()
        proxies = extras.proxies()
        login, password = connection.login or "", connection.password or ""
        basic = b64encode(f"{login}:{password}".encode()).decode() if login and password else ""
        return cls(
            base_url=base_url(connection),
            auth=_auth(connection),
            timeout=extras.timeout(),
            verify=extras.verify(),
            cert=extras.cert(),
            proxies=proxies,
            trust_env=extras.boolean("trust_env", True),
            headers=headers,
            page_size=extras.integer("page_size", JSON_ROWS, 1, JSON_ROWS),
            concurrency=extras.integer("concurrency", 4, 1, MOST_CONCURRENCY),
            limits=extras.limits(),
            secrets=_as_sent(password, basic, *headers.values(), *_proxy_passwords(proxies)),
        )

    @property
    def instance(self) -> str:
        """The server's name in keys and manifests: its host, with port and context path if it has them."""
        parts = urlsplit(self.base_url)
        name = (
            f"{parts.hostname or ''}{parts.path}"
            if parts.port is None
            else f"{parts.hostname}_{parts.port}{parts.path}"
        )
        return name.strip("/").replace("/", "_").replace(":", "_")

    @property
    def host(self) -> str:
        """The server's host, with its port and context path if it has them: for people."""
        return self.base_url.partition("://")[2]

    @property
    def sends_in_clear(self) -> bool:
        """Whether credentials are sent over a network without TLS."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and bool(self.auth or self.headers) and not _is_loopback(parts.hostname or "")


def base_url(connection: AirflowConnection) -> str:
    """Return the platform's URL of a connection whose host may have a scheme, a port, a context path and ``/xray``.

    The scheme's default port is left out, since it is the same server with and without it; so is 0, which Airflow's
    forms send for an empty port.
    """
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise InvalidArgumentError(
            "The connection has no host: set it to the platform's URL, such as https://acme.jfrog.io."
        )
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port or connection.port
    except ValueError:
        raise InvalidArgumentError(
            "The connection has a host whose port is not a number, or that is not a URL; use https://acme.jfrog.io."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(
            "The connection has a host that is not an http or https URL; use https://acme.jfrog.io."
        )
    if parts.username or parts.password:
        raise InvalidArgumentError("The connection has credentials in its host; put them into login and password.")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/xray")
    shown_port = "" if not port or port == _DEFAULT_PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{name}{shown_port}{path}"


def _auth(connection: AirflowConnection) -> AuthBase | None:
    if connection.login:
        # Send names and passwords outside Latin-1 as UTF-8; requests would refuse them as text.
        return HTTPBasicAuth(connection.login.encode(), (connection.password or "").encode())
    if not connection.password:
        return None
    token = connection.password.strip()
    if not _is_header_value(token):
        raise InvalidArgumentError(
            "The connection has a password that is not a token: line breaks, or characters that no token has. Copy the "
            "token again, or give the login if it is a password."
        )
    return BearerAuth(token)


def _is_header_value(value: str) -> bool:
    return value.isprintable() and all(ord(each) < 256 for each in value) and value == value.strip()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy_passwords(proxies: Mapping[str, str]) -> list[str]:
    """Return the passwords in proxies' URLs, as written and as sent."""
    found: list[str] = []
    for proxy in proxies.values():
        try:
            parts = urlsplit(proxy)
        except ValueError:
            raise InvalidArgumentError("The connection has an extra 'proxies' that is not made of URLs.") from None
        if parts.password:
            login, password = unquote(parts.username or ""), unquote(parts.password)
            found += [parts.password, password, b64encode(f"{login}:{password}".encode()).decode()]
    return found


def _as_sent(*secrets: str) -> tuple[str, ...]:
    """Return secrets as given, and stripped of white space, as a token is sent."""
    return tuple(dict.fromkeys(form for secret in secrets for form in (secret, secret.strip()) if form))


class _Extras:
    """A connection's extras with their types, even if a form or a URI has them as text."""

    def __init__(self, extras: Mapping[str, Any]) -> None:
        self._extras = extras

    def _value(self, name: str) -> Any:
        value = self._extras.get(name)
        if isinstance(value, str):
            text = value.strip()
            try:
                return json.loads(text) if text else None
            except (ValueError, RecursionError):
                return text
        return value

    def _refuse(self, name: str, wanted: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"The connection has an extra {name!r} that is not {wanted}.")

    def _switch(self, name: str) -> Any:
        """Return a boolean, however it is written; any other value unchanged."""
        text = self._extras.get(name)
        known = _SWITCH.get(text.strip().lower()) if isinstance(text, str) else None
        return self._value(name) if known is None else known

    def boolean(self, name: str, default: bool) -> bool:
        value = self._switch(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._refuse(name, "true or false")
        return value

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        value = self._value(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refuse(name, f"a whole number from {least} to {most}")
        return value

    def limits(self) -> Limits:
        given = {each.name: self._value(each.name) for each in fields(Limits)}
        try:
            return Limits(**{name: value for name, value in given.items() if value is not None})
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"The connection has an extra that cannot be used: {error}") from None

    def headers(self) -> dict[str, str]:
        if self._extras.get("headers"):
            raise InvalidArgumentError(
                f"The connection has an extra 'headers', which Airflow would show unmasked: name it {HEADERS_EXTRA!r}, "
                "which Airflow masks."
            )
        headers = self.mapping(HEADERS_EXTRA)
        for name, value in headers.items():
            if not name.isascii() or not name or not _is_header_value(name) or not _is_header_value(value):
                raise self._refuse(HEADERS_EXTRA, "made of names and values that HTTP can send as headers")
        return headers

    def mapping(self, name: str) -> dict[str, str]:
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._refuse(name, "an object of names and values")
        return {str(key): str(item) for key, item in value.items()}

    def proxies(self) -> dict[str, str]:
        value = self._value("proxies")
        return {"http": value, "https": value} if isinstance(value, str) else self.mapping("proxies")

    def timeout(self) -> tuple[float, float]:
        value = self._value("timeout")
        if value is None:
            return CONNECT_SECONDS, READ_SECONDS
        both = value if isinstance(value, list) else [value, value]
        numbers = [number for number in both if isinstance(number, int | float) and not isinstance(number, bool)]
        if len(both) != 2 or len(numbers) != 2 or not all(0 < number <= _LONGEST_TIMEOUT for number in numbers):
            raise self._refuse("timeout", "a number of seconds, or [connect, read] in seconds, above zero")
        return float(numbers[0]), float(numbers[1])

    def verify(self) -> bool | str:
        value = self._switch("verify")
        if value is None:
            return True
        if not isinstance(value, bool | str):
            raise self._refuse("verify", "true, false or the path of a CA bundle")
        return value

    def cert(self) -> str | tuple[str, str] | None:
        value = self._value("cert")
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, list) and len(value) == 2 and all(isinstance(path, str) for path in value):
            return value[0], value[1]
        raise self._refuse("cert", "the path of a certificate, or [certificate, key]")
