"""The HTTP session: what it sends, and to which host."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from airflow_provider_curation.audit.api.deadline import DeadlineAdapter
from airflow_provider_curation.audit.limits import Limits

#: Each redirect may take as long as an answer's deadline.
_MOST_REDIRECTS = 5


class BearerAuth(AuthBase):
    """An access, identity or reference token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PlatformSession(requests.Session):
    """A pooled session that follows redirects only on the same host.

    :param auth: added to every request; never sent to another host.
    :param verify: check the server's certificate: a boolean, or the path of a CA bundle.
    :param cert: path of the client's certificate, or of certificate and key.
    :param proxies: by scheme.
    :param trust_env: follow the environment's proxies, CA bundle and ``.netrc``.
    :param headers: sent with every request.
    :param connections: the most connections to keep open.
    :param answer_deadline: seconds from a request to the last byte of its answer.
    """

    def __init__(
        self,
        *,
        auth: AuthBase | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        trust_env: bool = True,
        headers: Mapping[str, str] | None = None,
        connections: int = 8,
        answer_deadline: float = Limits.answer_deadline,
    ) -> None:
        super().__init__()
        self.auth = auth
        self.verify = verify
        self.cert = cert
        self.proxies = dict(proxies or {})
        self.trust_env = trust_env
        self.max_redirects = _MOST_REDIRECTS
        self.headers["Accept-Encoding"] = "gzip"
        self.headers.update(headers or {})
        for scheme in ("http://", "https://"):
            self.mount(scheme, DeadlineAdapter(answer_deadline, connections))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where to continue; nothing for another host, so that the redirect itself is the answer."""
        try:
            target = super().get_redirect_target(resp)
            if target is None or not _same_host(resp.url, urljoin(resp.url, target)):
                return None
        except ValueError:
            # A Location that is not a URL, or not UTF-8.
            return None
        # requests would read a redirect's whole body, however long it is.
        resp._content = b""
        resp.close()
        return target

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Send the same credentials after a redirect; requests would replace them with an entry of ``.netrc``."""

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: Any,
    ) -> Any:
        """Keep the environment's CA bundle and proxies from overriding the connection's own, as requests lets them."""
        settings: Any = super().merge_environment_settings(url, proxies or {}, stream, verify, cert)
        if verify is None and self.verify is not True:
            settings["verify"] = self.verify
        settings["proxies"].update({**self.proxies, **(proxies or {})})
        return settings


def host_of(url: str) -> str | None:
    """Return a URL's host, with its port if it has one; ``None`` if it is not a URL with a host."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    except ValueError:
        return None


def _same_host(asked: str, target: str) -> bool:
    before, after = urlsplit(asked), urlsplit(target)
    if before.hostname != after.hostname:
        return False
    if (before.scheme, before.port) == (after.scheme, after.port):
        return True
    upgraded = (before.scheme, after.scheme) == ("http", "https")
    return upgraded and before.port in (None, 80) and after.port in (None, 443)
