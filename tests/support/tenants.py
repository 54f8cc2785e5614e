"""One small tenant, and a short way to ask it without sockets."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator import Simulator
from airflow_provider_curation.simulator.replies import Reply, Request

START = datetime(2026, 3, 9, tzinfo=timezone.utc)
END = datetime(2026, 3, 12, tzinfo=timezone.utc)


class Tenant:
    """A simulator that is asked directly, with the ordinary parameters filled in."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def ask(self, path: str = AUDIT_PATH, headers: dict[str, str] | None = None, **params: Any) -> Reply:
        """One request; a parameter that is None is left out."""
        if path == AUDIT_PATH:
            params = {"created_at_start": z(START), "created_at_end": z(END), "direction": "asc"} | params
        given = {key: value for key, value in params.items() if value is not None}
        return self.simulator.app.handle(Request("GET", path, urlencode(given), headers or {}))

    def page(self, **params: Any) -> dict[str, Any]:
        reply = self.ask(**{"num_of_rows": 2000, **params})
        assert reply.status == 200, reply.body
        page: dict[str, Any] = json.loads(reply.body)
        return page

    def data(self, **params: Any) -> list[dict[str, Any]]:
        return self.page(**params)["data"] or []

    def error(self, **params: Any) -> tuple[int, str]:
        reply = self.ask(**params)
        return reply.status, json.loads(reply.body)["error"]

    def archive(self, **params: Any) -> tuple[str, bytes]:
        """The name and content of the member of a CSV answer."""
        reply = self.ask(**{"format": "csv", "num_of_rows": 500_000, **params})
        assert reply.status == 200, reply.body
        with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
            (name,) = archive.namelist()
            return name, archive.read(name)

    def records(self, **params: Any) -> list[dict[str, str]]:
        return records(self.archive(**params)[1])

    def truth(self, dry_run: bool = False) -> list[dict[str, Any]]:
        return list(self.simulator.truth(START, END, dry_run))


def z(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def records(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
