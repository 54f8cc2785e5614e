"""What an Airflow connection of type ``jfrog_curation`` says, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from requests.auth import AuthBase, HTTPBasicAuth

from airflow_provider_curation.audit.api.session import BearerAuth
from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.audit.errors import InvalidArgumentError

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
MOST_CONCURRENCY = 8


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is read here; the same on Airflow 2.11 and 3."""

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
    """A connection's fields, as the session and the client take them.

    :param base_url: scheme, host, port and context path, without a trailing ``/xray``.
    :param timeout: seconds to connect, and between two bytes of an answer.
    :param page_size: events a JSON page, 1 to 2000.
    :param concurrency: pages in flight, 1 to 8.
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
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, connection: AirflowConnection) -> ConnectionSettings:
        """Read a connection.

        :raises InvalidArgumentError: for a field that cannot be used; the message names the connection and the field.
        """
        extras = _Extras(connection.conn_id, connection.extra_dejson)
        headers = extras.mapping("headers")
        proxies = extras.proxies()
        proxy_passwords = (urlsplit(proxy).password or "" for proxy in proxies.values())
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
            secrets=_as_sent(connection.password or "", *headers.values(), *proxy_passwords),
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


def base_url(connection: AirflowConnection) -> str:
    """Return the platform's URL of a connection whose host may have a scheme, a port, a context path and ``/xray``."""
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise InvalidArgumentError(
            f"The connection {connection.conn_id!r} has no host: set it to the platform's URL, such as https://acme.jfrog.io."
        )
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(url)
    try:
        port = parts.port or connection.port
    except ValueError:
        raise InvalidArgumentError(
            f"The connection {connection.conn_id!r} has a host whose port is no number."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(
            f"The connection {connection.conn_id!r} has a host that makes no http or https URL; use https://acme.jfrog.io."
        )
    if parts.username or parts.password:
        raise InvalidArgumentError(
            f"The connection {connection.conn_id!r} has credentials in its host; put them into login and password."
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/xray")
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{path}"


def _auth(connection: AirflowConnection) -> AuthBase | None:
    if connection.login:
        # Names and passwords outside of Latin-1 are sent in UTF-8, which requests would refuse.
        return HTTPBasicAuth(connection.login.encode(), (connection.password or "").encode())
    return BearerAuth(connection.password.strip()) if connection.password else None


def _as_sent(*secrets: str) -> tuple[str, ...]:
    """Return secrets as they were given and without the white space around them, as a token is sent."""
    return tuple(dict.fromkeys(form for secret in secrets for form in (secret, secret.strip()) if form))


class _Extras:
    """A connection's extras: typed, also where a form or a URI gave them as text."""

    def __init__(self, conn_id: str, extras: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._extras = extras

    def _value(self, name: str) -> Any:
        value = self._extras.get(name)
        if isinstance(value, str):
            text = value.strip()
            try:
                return json.loads(text.lower() if text.lower() in ("true", "false") else text) if text else None
            except ValueError:
                return text
        return value

    def _refuse(self, name: str, wanted: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"The connection {self._conn_id!r} has an extra {name!r} that is not {wanted}.")

    def boolean(self, name: str, default: bool) -> bool:
        value = self._value(name)
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
        if len(both) != 2 or len(numbers) != 2 or min(numbers) <= 0:
            raise self._refuse("timeout", "a number of seconds, or [connect, read] in seconds, above zero")
        return float(numbers[0]), float(numbers[1])

    def verify(self) -> bool | str:
        value = self._value("verify")
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
