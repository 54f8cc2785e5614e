"""A running simulator: its life, its address, its true events, and the requests it saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow_provider_curation.simulator.app import CurationApp, RequestRecord
from airflow_provider_curation.simulator.changes import Delete, Hide, Insert, NewId, Reveal
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.serving import Server
from airflow_provider_curation.simulator.settings import SimulatorSettings
from airflow_provider_curation.simulator.store import Rows, epoch_second

if TYPE_CHECKING:
    from typing_extensions import Self

_CONNECTION_TYPE: Final = "jfrog_curation"


class Simulator:
    """A running server of the audit endpoint; a context manager, or ``start()`` and ``stop()``.

    ``host`` is the address to listen on, ``port`` 0 takes a free one. Times given to its methods are aware datetimes.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.settings = settings or SimulatorSettings()
        self.app = CurationApp(self.settings)
        self.host = host
        self._wanted_port = port
        self._server: Server | None = None
        self._thread: Thread | None = None

    # Life

    def start(self) -> Self:
        """Listen and answer from now on.

        :raises OSError: it cannot listen there.
        """
        if self._server is not None:
            raise RuntimeError("the simulator is already running")
        self.app.stopping.clear()
        self._server = Server(self.app, self.host, self._wanted_port)
        self._thread = Thread(target=self._server.run, name="curation-simulator", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop at once: stalled requests and idle connections are cut."""
        if self._server is None or self._thread is None:
            return
        self.app.stopping.set()
        self._server.shut()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Where it is

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        if self._server is None:
            raise RuntimeError("the simulator is not running")
        return self._server.port

    @property
    def url(self) -> str:
        """Return the platform's URL, with the context path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.settings.certificate else "http"
        return f"{scheme}://{host}:{self.port}{self.settings.context_path}"

    def connection_uri(self, login: str | None = None, password: str | None = None) -> str:
        """Return the Airflow connection as a URI; without arguments, with the first accepted token or user."""
        login, password = self._credentials(login, password)
        user = f"{quote(login, safe='')}:{quote(password, safe='')}@" if login or password else ""
        return f"{_CONNECTION_TYPE.replace('_', '-')}://{user}{quote(self.url, safe='')}"

    def connection_json(self, login: str | None = None, password: str | None = None) -> str:
        """Return the same connection as JSON."""
        login, password = self._credentials(login, password)
        fields = {"conn_type": _CONNECTION_TYPE, "host": self.url, "login": login, "password": password}
        return json.dumps({key: value for key, value in fields.items() if value})

    def _credentials(self, login: str | None, password: str | None) -> tuple[str, str]:
        if login is None and password is None:
            if self.settings.tokens:
                return "", self.settings.tokens[0]
            return next(iter(self.settings.users.items()), ("", ""))
        return login or "", password or ""

    # What is true

    def truth(self, start: datetime, end: datetime, dry_run: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the visible events with ``start <= created_at < end``, ascending, as the objects that are served."""
        return self.app.answers.objects(self._rows(start, end, dry_run), dry_run)

    def truth_lines(self, start: datetime, end: datetime, dry_run: bool = False) -> Iterator[bytes]:
        """Yield the same events as the JSON bytes of a compact answer, one item for each event."""
        return self.app.answers.lines(self._rows(start, end, dry_run), dry_run)

    def truth_csv(self, start: datetime, end: datetime, dry_run: bool = False) -> bytes:
        """Return the same events as the content of one CSV member, ascending, without any limit."""
        return self.app.answers.csv_content(self._rows(start, end, dry_run), dry_run)

    def count(self, start: datetime, end: datetime, dry_run: bool = False) -> int:
        """Return how many rows these are."""
        return self._rows(start, end, dry_run).total

    def _rows(self, start: datetime, end: datetime, dry_run: bool) -> Rows:
        return self.app.store.rows(epoch_second(start), epoch_second(end), dry_run)

    # What happens to it

    def insert(
        self,
        created_at: datetime,
        *,
        id: int | NewId = NewId.NEXT,
        dry_run: bool = False,
        lag: float = 0.0,
        **fields: Any,
    ) -> int:
        """Add an event that becomes visible after ``lag`` seconds, and return its id."""
        inserted = self.app.store.apply(Insert(created_at, fields, id, dry_run, lag))
        assert inserted is not None
        return inserted

    def delete(self, event: int | datetime) -> int:
        """Delete the event of that id, or the first visible one at or after a time, and return its id."""
        deleted = self.app.store.apply(Delete(event))
        assert deleted is not None
        return deleted

    def hide(self, start: datetime, end: datetime) -> None:
        """Hide the events with ``start <= created_at < end`` until ``reveal()``."""
        self.app.store.apply(Hide(start, end))

    def reveal(self) -> None:
        """Show everything that was hidden."""
        self.app.store.apply(Reveal())

    def fail_next(self, fault: Fault | str, times: int = 1) -> None:
        """Give the next requests a fault."""
        self.app.faults.order(Fault(fault), times)

    def heal(self) -> None:
        """End all faults: those ordered, those scheduled and those by rate."""
        self.app.faults.heal()

    # What it saw

    @property
    def requests(self) -> list[RequestRecord]:
        """Return the requests so far (the latest 100,000), in the order of their answers."""
        return self.app.records

    def reset_log(self) -> None:
        """Forget the requests; their numbers, and so the schedules, continue."""
        self.app.forget_records()
