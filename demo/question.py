"""A query over the demo's archive: what was blocked, by package type."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from evidence import Archive, Day

if TYPE_CHECKING:
    from airflow_provider_curation.simulator import Simulator

COLUMNS = "{'action': 'VARCHAR', 'package_type': 'VARCHAR'}"
SQL = """SELECT package_type, count(*) AS blocked
FROM read_json('stream=events/**/*.jsonl.gz', columns = {columns})
WHERE action = 'blocked' GROUP BY ALL ORDER BY blocked DESC, package_type"""


def show_query(archive: Archive, tenant: Simulator, day: Day, title: Callable[[str], None]) -> bool:
    """Ask DuckDB what was blocked, print its answer, and return whether it is what the simulated server knows."""
    title("6. Query it: what was blocked, by package type?")
    statement = SQL.format(columns=COLUMNS)
    print(f"DuckDB, on a copy of the archive:\n\n{statement}\n")
    with tempfile.TemporaryDirectory(prefix="curation-demo-copy-") as folder:
        for key in archive.sizes:
            if key.endswith(".jsonl.gz") and "/stream=events/" in key:
                path = Path(folder) / key
                path.parent.mkdir(parents=True)
                path.write_bytes(archive.read(key))
        root = f"{folder}/*/*/stream=events"
        try:
            answer = duckdb.execute(statement.replace("stream=events", root, 1)).fetchall()
        except duckdb.IOException as error:
            # There is no such file.
            print(f"{error}\nUNTRUE  There is a JSONL export of events.")
            return False
    print("\n".join(f"{package_type:<15} {count:>7,}" for package_type, count in answer))
    events = tenant.truth(day.start, day.end)
    blocked = Counter(event["package_type"] for event in events if event["action"] == "blocked")
    true = dict(answer) == blocked
    print(f"\n{'true   ' if true else 'UNTRUE '} These are the {blocked.total():,} events that the server blocked.")
    return true
