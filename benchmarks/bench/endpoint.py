"""The audit endpoint in a process of its own: the simulator's core, with its pages rendered beforehand.

Run it as `python -m bench.endpoint --events 200000 --start … --end …`. It prints its port as JSON when it is ready, and
ends when its standard input does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator import CurationApp, SimulatorSettings
from airflow_provider_curation.simulator.events import stamp
from airflow_provider_curation.simulator.replies import Reply, Request, json_reply
from airflow_provider_curation.simulator.serving import Server
from bench.processes import serve_until_closed

TOKEN = "bench-token"
#: More events than these are rendered when they are asked for: a million is 0.7 GB.
RENDERED_EVENTS = 400_000
CACHE_BYTES = 1024 * 1024 * 1024


class Endpoint(CurationApp):
    """Also answers `/stats`, the requests since the last reset, and `/control`, which resets and sets the latency."""

    def handle(self, request: Request) -> Reply:
        if request.path == "/stats":
            return json_reply(200, self._stats())
        if request.path == "/control":
            latency_ms = float(dict(parse_qsl(request.query_string))["latency_ms"])
            self.settings = replace(self.settings, latency=latency_ms / 1000)
            self.forget_records()
            return json_reply(200, {})
        return super().handle(request)

    def _stats(self) -> dict[str, int]:
        """Return counts; `windows` is the number of distinct time ranges whose rows were asked for."""
        audit = [record for record in self.records if record.path == AUDIT_PATH]
        asked = [record.params for record in audit if record.params.get("num_of_rows") != "1"]
        return {
            "requests": len(audit),
            "rows": sum(record.rows for record in audit),
            "most_in_flight": max((record.in_flight for record in self.records), default=0),
            "windows": len({(params["created_at_start"], params["created_at_end"]) for params in asked}),
        }

    def render(self) -> None:
        """Put every row of JSON into the cache."""
        data = self.store.dataset
        window = {"created_at_start": stamp(data.start), "created_at_end": stamp(data.end)}
        for offset in range(0, data.count, 2000):
            query = urlencode({**window, "num_of_rows": 2000, "offset": offset, "direction": "asc"})
            super().handle(Request("GET", AUDIT_PATH, query, {"Authorization": f"Bearer {TOKEN}"}))
        self.forget_records()


def settings(events: int, start: datetime, end: datetime, **more: Any) -> SimulatorSettings:
    """Return a tenant with so many events in `[start, end)`."""
    return SimulatorSettings(events=events, start=start, end=end, tokens=(TOKEN,), cache_bytes=CACHE_BYTES, **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--start", type=datetime.fromisoformat, required=True, help="RFC 3339")
    parser.add_argument("--end", type=datetime.fromisoformat, required=True, help="RFC 3339")
    parser.add_argument("--gzip", action="store_true", help="compress for clients that accept it")
    chosen = parser.parse_args()
    endpoint = Endpoint(settings(chosen.events, chosen.start, chosen.end, gzip=chosen.gzip))
    if chosen.events <= RENDERED_EVENTS:
        endpoint.render()
    server = Server(endpoint, "127.0.0.1", 0)
    Thread(target=server.run, daemon=True).start()
    serve_until_closed(server.port)


if __name__ == "__main__":
    main()
