"""A running simulator: its life, its address, what is true of its events, and what it saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow_provider_curation.simulator.app import CurationApp, RequestRecord
from airflow_provider_curation.simulator.changes import Delete, Hide, Insert, NewId, Reveal
from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.serving import Server, serve
from airflow_provider_curation.simulator.settings import SimulatorSettings
from airflow_provider_curation.simulator.store import Rows

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
        """Listen and answer from now on; an ``OSError`` says why it cannot."""
        if self._server is not None:
            raise RuntimeError("the simulator runs already")
        self.app.stopping.clear()
        self._server = serve(self.app, self.host, self._wanted_port)
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
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the simulator does not run")
        return self._server.port

    @property
    def url(self) -> str:
        """The platform's URL, with the context path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.settings.certificate else "http"
        return f"{scheme}://{host}:{self.port}{self.settings.context_path}"

    def connection_uri(self, login: str | None = None, password: str | None = None) -> str:
        """The Airflow connection as a URI; without arguments the first accepted user or token is used."""
        login, password = self._credentials(login, password)
        user = f"{quote(login, safe='')}:{quote(password, safe='')}@" if login or password else ""
        return f"{_CONNECTION_TYPE.replace('_', '-')}://{user}{quote(self.url, safe='')}"

    def connection_json(self, login: str | None = None, password: str | None = None) -> str:
        """The same connection as JSON."""
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
        """The visible events with ``start <= created_at < end``, ascending, as the objects that are served."""
        return self.app.answers.objects(self._rows(start, end, dry_run), dry_run)

    def truth_lines(self, start: datetime, end: datetime, dry_run: bool = False) -> Iterator[bytes]:
        """The same events as the JSON bytes of a compact answer, one item an event."""
        return self.app.answers.lines(self._rows(start, end, dry_run), dry_run)

    def truth_csv(self, start: datetime, end: datetime, dry_run: bool = False) -> bytes:
        """The same events as the content of one CSV member, ascending, without any limit."""
        return self.app.answers.csv_content(self._rows(start, end, dry_run), dry_run)

    def count(self, start: datetime, end: datetime, dry_run: bool = False) -> int:
        """How many rows these are."""
        return self._rows(start, end, dry_run).total

    def _rows(self, start: datetime, end: datetime, dry_run: bool) -> Rows:
        for moment in (start, end):
            if moment.tzinfo is None:
                raise ValueError("start and end need a time zone")
        seconds = [int(moment.astimezone(timezone.utc).timestamp()) for moment in (start, end)]
        return self.app.store.rows(seconds[0], seconds[1], dry_run)

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
        """Let an event appear, after ``lag`` seconds; its id."""
        inserted = self.app.store.apply(Insert(created_at, fields, id, dry_run, lag))
        assert inserted is not None
        return inserted

    def delete(self, event: int | datetime) -> int:
        """Let the event of that id, or the first visible one at or after a time, disappear; its id."""
        deleted = self.app.store.apply(Delete(event))
        assert deleted is not None
        return deleted

    def hide(self, start: datetime, end: datetime) -> None:
        """Let the events with ``start <= created_at < end`` be invisible until ``reveal()``."""
        self.app.store.apply(Hide(start, end))

    def reveal(self) -> None:
        """Show everything that was hidden."""
        self.app.store.apply(Reveal())

    def fail_next(self, fault: Fault | str, times: int = 1) -> None:
        """Let the next requests suffer a fault."""
        self.app.faults.order(Fault(fault), times)

    def heal(self) -> None:
        """Let no further request suffer a fault, whatever was ordered, scheduled or chosen by rate."""
        self.app.faults.heal()

    # What it saw

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far (the latest 100,000), in the order of their answers."""
        return self.app.records

    def reset_log(self) -> None:
        """Forget the requests; their numbers, and so schedules, go on."""
        self.app.forget_records()
