"""The hook: gives access to the paged audit API with a connection's credentials."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.http.hooks.http import HttpHook
from requests import HTTPError

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.api.bounded_session import BoundedSession
from airflow_provider_curation.audit.api.client import AuditClient
from airflow_provider_curation.audit.api.entitlement import is_entitled, server_version
from airflow_provider_curation.audit.api.query import Direction, Query
from airflow_provider_curation.audit.api.retry import RetryPolicy
from airflow_provider_curation.audit.api.session import PlatformSession
from airflow_provider_curation.audit.endpoint import AUDIT_PATH, JSON_ROWS, REQUEST_WIDTH
from airflow_provider_curation.audit.errors import (
    Asked,
    CurationAuditError,
    InvalidArgumentError,
)
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.exporting.window_export import WindowExport, export_until_whole
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.envelope import json_envelope
from airflow_provider_curation.audit.pages.event import event_of
from airflow_provider_curation.audit.polling.poller import Poller
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.reading.counts import check_entitled
from airflow_provider_curation.audit.reading.json_source import JsonSource
from airflow_provider_curation.audit.reading.reader import WindowReader
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.compat import AirflowNotFoundException, airflow_version, mask_secret
from airflow_provider_curation.hooks.connection import ConnectionSettings
from airflow_provider_curation.hooks.connection_form import field_behaviour, form_widgets

if TYPE_CHECKING:
    from requests import Response

    from airflow_provider_curation.compat import Connection

log = logging.getLogger(__name__)

#: How errors of a connection's fields begin.
_CONNECTION = "The connection"
#: The page of the platform's user interface that shows audit events.
AUDIT_PAGE = "/ui/package-curation/audit"


class CurationAuditHook(HttpHook):
    """Reads JFrog Curation's audit events through a connection of type ``jfrog_curation``.

    It uses HttpHook's names for a connection's fields (host, schema, port, ``timeout``, ``verify``, ``cert``,
    ``proxies``, ``trust_env``). Of the extras, it sends only ``secret_headers``.

    :param curation_conn_id: the connection's id. Login and password are sent as Basic, a password alone as Bearer.
    :param retry: how requests are retried; the default takes up to about two minutes.
    :param connection: the connection itself, if it was looked up already, as in a trigger.
    """

    conn_name_attr = "curation_conn_id"
    default_conn_name = "curation_default"
    conn_type = "jfrog_curation"
    hook_name = "JFrog Curation"

    def __init__(
        self,
        curation_conn_id: str = default_conn_name,
        retry: RetryPolicy | None = None,
        connection: Connection | None = None,
    ) -> None:
        super().__init__(method="GET", http_conn_id=curation_conn_id)
        self.curation_conn_id = curation_conn_id
        self._retry = retry
        self._connection = connection

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's extra fields, for Airflow 2.11; Airflow 3 reads the provider's metadata."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form's own fields are shown, for Airflow 2.11."""
        return field_behaviour()

    # The connection

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection's fields, read once.

        :raises InvalidArgumentError: if there is no such connection, or a field of it cannot be used.
        """
        try:
            connection = self._connection or self.get_connection(self.curation_conn_id)
        except AirflowNotFoundException as error:
            raise no_connection(self.curation_conn_id) from error
        try:
            settings = ConnectionSettings.of(connection)
        except InvalidArgumentError as error:
            named = str(error).replace(_CONNECTION, f"{_CONNECTION} {self.curation_conn_id!r}", 1)
            raise InvalidArgumentError(named) from None
        for secret in settings.secrets:
            mask_secret(secret)
        return settings

    @cached_property
    def _session(self) -> PlatformSession:
        settings = self.settings
        if settings.sends_in_clear:
            log.warning(
                "The connection sends its credentials unencrypted to %s; anybody on the way can read them. Use https.",
                settings.base_url,
            )
        agent = f"airflow-provider-curation/{__version__} apache-airflow/{airflow_version()}"
        return BoundedSession(
            settings.limits,
            secrets=settings.secrets,
            auth=settings.auth,
            verify=settings.verify,
            cert=settings.cert,
            proxies=settings.proxies,
            trust_env=settings.trust_env,
            headers={"User-Agent": agent, **settings.headers},
            connections=settings.concurrency,
        )

    @cached_property
    def client(self) -> AuditClient:
        """The connection's client; created once, and shared by several threads."""
        return self._new_client(self._retry)

    def _new_client(self, retry: RetryPolicy | None) -> AuditClient:
        settings = self.settings
        return AuditClient(
            self._session,
            settings.base_url,
            timeout=settings.timeout,
            retry=retry,
            secrets=settings.secrets,
            limits=settings.limits,
            concurrency=settings.concurrency,
        )

    def get_conn(
        self, headers: dict[Any, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> PlatformSession:
        """Return the session: one for the hook's life, with the connection's credentials, TLS settings and proxies.

        :param headers: ignored here; :meth:`run` adds them to its request.
        :param extra_options: options of the request that :meth:`run` sends; time-outs default to the connection's.
        """
        self._set_base_url(None)
        self.merged_extra = {"timeout": self.settings.timeout, **(extra_options or {})}
        return self._session

    def _set_base_url(self, connection: Connection | None) -> None:
        self.base_url = self.settings.base_url
        self._base_url_initialized = True

    def check_response(self, response: Response) -> None:
        """Raise ``requests.HTTPError`` for a status that is not a success; it names the status and nothing else.

        HttpHook's own method writes the body into the log, which may repeat credentials or name people.
        """
        if response.status_code >= 400:
            raise HTTPError(f"{self.settings.host} answered {response.status_code}", response=response)

    @property
    def instance(self) -> str:
        """The server's name in keys and manifests."""
        return self.settings.instance

    @property
    def audit_page_url(self) -> str:
        """The address of the platform's page of audit events."""
        return self.settings.base_url + AUDIT_PAGE

    def test_connection(self) -> tuple[bool, str]:
        """Authenticate, ask for one event, and return whether that worked, with the server's host and version."""
        try:
            settings = self.settings
        except InvalidArgumentError as error:
            # Airflow tests a form's content under a random id, which would mean nothing to the user.
            return False, str(error).replace(f"{_CONNECTION} {self.curation_conn_id!r}", _CONNECTION, 1)
        try:
            client = self._new_client(RetryPolicy(attempts=2, longest_wait=1.0, longest_retry_after=1.0))
            now = datetime.now(timezone.utc)
            query = Query(Window.parse(now - timedelta(days=1), now), 1, direction="desc")
            client.read_json(query, partial(json_envelope, query, limits=settings.limits))
            version, entitled = server_version(client), is_entitled(client)
        except CurationAuditError as error:
            return False, f"{settings.host}: {error}"
        server = f"Connected to {settings.host}, Xray {version or 'of unknown version'}"
        if settings.sends_in_clear:
            server += " (over http: the credentials are sent unencrypted)"
        if entitled is None:
            return True, f"{server}. Warning: the server does not say whether it is entitled to Curation."
        if not entitled:
            return True, f"{server}. Warning: it is not entitled to Curation, so exports will be refused."
        return True, f"{server}, entitled to Curation."

    # The audit events

    def get_page(
        self,
        start: datetime | str,
        end: datetime | str,
        order_by: str = "id",
        direction: Direction = "asc",
        num_of_rows: int = JSON_ROWS,
        offset: int = 0,
        include_total: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Send one request and return its envelope, ``{"data": [...], "meta": {...}}``; an empty page's data is ``[]``.

        :param start: first moment of the window, inclusive: an aware datetime or an ISO 8601 string.
        :param end: end of the window, exclusive; at most 168 hours after the start.
        :param num_of_rows: events asked for, 1 to 2000.
        :param offset: events to skip.
        :param include_total: ask the server to count the window's events, as ``meta.total_count``.
        :param dry_run: one event per dry-run policy, instead of real events.
        :raises RequestError: its subclasses name the fault.
        """
        query = Query(Window.parse(start, end), num_of_rows, offset, order_by, direction, include_total, dry_run)
        return self.client.read_json(query, partial(json_envelope, query, limits=self.settings.limits))

    def count_events(self, start: datetime | str, end: datetime | str, dry_run: bool = False) -> int:
        """Return the number of distinct events in a window of any width.

        :raises NotEntitledError: if it counts none and is not entitled to Curation.
        """
        window = Window.parse(start, end)
        source = self._json_source(dry_run)
        total = 0
        for part in window.split(REQUEST_WIDTH):
            count = source.count(part, threading.Event()).total
            if count is None:
                # The server does not count, so read the events and count them here.
                reader = WindowReader(source, part)
                count = sum(page.tally.read for page in reader.pages())
            total += count
        if not total:
            check_entitled(partial(is_entitled, self.client), window)
        return total

    def iter_events(
        self, start: datetime | str, end: datetime | str, dry_run: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield each event of a window of any width once, as a dict, in ascending id (one slice of time after another).

        Events are yielded once their slice was read completely; memory does not grow with the window.

        :raises InvalidWindowError: immediately, for an invalid window.
        :raises IncompleteExportError: at the end, if the events do not add up to the server's count.
        :raises UnexpectedAnswerError: if an event has a number that Python cannot hold. An export keeps it as it is.
        """
        window = Window.parse(start, end)
        return self._iter_events(WindowReader(self._json_source(dry_run), window), window)

    def _iter_events(self, reader: WindowReader, window: Window) -> Iterator[dict[str, Any]]:
        asked = Asked(AUDIT_PATH, window)
        for page in reader.pages():
            for line in page.lines():
                yield event_of(asked, line)

    def download_csv(
        self, start: datetime | str, end: datetime | str, path: str | os.PathLike[str], dry_run: bool = False
    ) -> dict[str, Any]:
        """Write one zip with one ``audit_packages.csv`` to a path, and return its figures.

        The file appears at the path, replacing an existing one, only after it was verified.

        :return: ``events``, ``rows`` (without the header), the zip's ``bytes`` and ``sha256``, and ``actions``: the
            number of events by action.
        :raises IncompleteExportError: if the events do not add up to the server's count, in several readings.
        """
        return self._write_file(FileFormat.of("csv", None), Window.parse(start, end), Path(path), dry_run)

    def to_parquet(
        self, start: datetime | str, end: datetime | str, path: str | os.PathLike[str], dry_run: bool = False
    ) -> dict[str, Any]:
        """Write one Parquet file to a path, and return its figures, as :meth:`download_csv` does.

        The columns are those of an export with ``file_format="parquet"``.

        :return: ``events``, ``rows``, the file's ``bytes`` and ``sha256``, and ``actions``: the number of events by
            action.
        :raises MissingPackageError: without the extra ``parquet``.
        :raises IncompleteExportError: if the events do not add up to the server's count, in several readings.
        """
        return self._write_file(FileFormat.of("parquet", None), Window.parse(start, end), Path(path), dry_run)

    def _write_file(self, file_format: FileFormat, window: Window, target: Path, dry_run: bool) -> dict[str, Any]:
        def keep(export: WindowExport) -> None:
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
                try:
                    reader = export.open()
                    while chunk := reader.read(1 << 20):
                        file.write(chunk)
                    file.close()
                    os.replace(file.name, target)
                except BaseException:
                    os.unlink(file.name)
                    raise

        export = export_until_whole(partial(self.new_export, window, file_format, dry_run=dry_run), keep)
        tally = export.tally
        return {
            "events": tally.kept,
            "rows": tally.rows,
            "bytes": export.object.bytes,
            "sha256": export.object.sha256,
            "actions": dict(sorted(tally.actions.items())),
        }

    def new_export(
        self,
        window: Window,
        file_format: FileFormat,
        *,
        dry_run: bool = False,
        wanted: EventFilter | None = None,
        treatment: Treatment | None = None,
        stop: threading.Event | None = None,
        check: Callable[[WindowExport], None] | None = None,
        retention: timedelta | None = None,
    ) -> WindowExport:
        """Return one try at exporting a window, with this connection's page size and pages in flight."""
        return WindowExport(
            self.client,
            window,
            file_format,
            dry_run=dry_run,
            wanted=wanted,
            treatment=treatment,
            page_size=self.settings.page_size,
            stop=stop,
            check=check,
            retention=retention,
        )

    def new_poller(self, search: Search, state: Mapping[str, Any] | None = None) -> Poller:
        """Return a poller for new events; with the state of an earlier one, it continues where that one stopped."""
        settings = self.settings
        return Poller.of(self.client, search, page_size=settings.page_size, state=state)

    def _json_source(self, dry_run: bool) -> JsonSource:
        settings = self.settings
        return JsonSource(self.client, dry_run=dry_run, rows=settings.page_size)


def no_connection(conn_id: str) -> InvalidArgumentError:
    """Return the error for a connection that does not exist."""
    return InvalidArgumentError(
        f"curation_conn_id={conn_id!r}: there is no such connection. Create one of type "
        f"{CurationAuditHook.conn_type!r} with the platform's URL as host and a token as password."
    )
