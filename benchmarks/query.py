"""What does an archive cost to query: five questions over a month, JSON lines against Parquet.

python benchmarks/query.py                     a month of a million events, each question three times
python benchmarks/query.py --events 30000      does everything work?

The events are the simulator's, in daily files as the provider writes them; the questions are those of
docs/examples/questions.sql, asked with DuckDB on all cores. Both formats must give the same answers.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from bench import facts, table
from bench.contention import Busy
from bench.processes import run

from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.simulator import Simulator, SimulatorSettings

MONTH = Window(datetime(2026, 3, 1, tzinfo=timezone.utc), datetime(2026, 3, 31, tzinfo=timezone.utc))
QUESTIONS = Path(__file__).parents[1] / "docs" / "examples" / "questions.sql"
#: Those over the stream `events` that read different columns.
ASKED = (1, 2, 6, 7, 9)
FORMATS = ("jsonl", "parquet")
HEADER = ("question", "JSONL.gz, s", "Parquet, s", "times faster", "rows")

_DUCKDB_TYPES = {"int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN", "timestamp[us, tz=UTC]": "TIMESTAMPTZ"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the month (1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (3)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    chosen = parser.parse_args()
    print(f"DuckDB {duckdb.__version__}, {facts.about()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as name:
        sizes = _write(Path(name), chosen.events)
        before = Busy.now(())
        rows, agreed = _ask(name, chosen.rounds)
        others = Busy.now(()).cores_of_others(before, 0.0)
    rows.append(["size, MB", *(f"{sizes[each] / 1e6:.1f}" for each in FORMATS), _ratio(*sizes.values()), ""])
    print((table.markdown if chosen.markdown else table.terminal)(HEADER, rows))
    if others is not None:
        print(f"\nOther processes kept {others:.1f} cores busy meanwhile.")
    if not agreed:
        print("WRONG: the two formats give different answers", file=sys.stderr)
    return 0 if agreed else 1


def _write(root: Path, events: int) -> dict[str, int]:
    """Write the month in both formats, and return the bytes of each."""
    server = Simulator(SimulatorSettings(events=events, start=MONTH.start, end=MONTH.end))
    sizes = dict.fromkeys(FORMATS, 0)
    for day in MONTH.split(timedelta(days=1)):
        lines = [line + b"\n" for line in server.truth_lines(day.start, day.end)]
        for name in FORMATS:
            file_format = FileFormat.of(name, None)
            fields = {"instance": "acme.jfrog.io", "file_format": name, "suffix": file_format.suffix}
            path = root / DEFAULT_KEY.format(start=day.start, end=day.end, stream="events", **fields)
            path.parent.mkdir(parents=True, exist_ok=True)
            sizes[name] += path.write_bytes(b"".join(file_format.encoder()(lines)))
    return sizes


def _ask(root: str, rounds: int) -> tuple[list[list[str]], bool]:
    """Ask each question of each format in turn; return the rows, and whether all agreed."""
    views = {
        "parquet": f"SELECT * FROM read_parquet('{root}/instance=*/stream=events/format=parquet/*/*.parquet')",
        "jsonl": f"SELECT * FROM read_json('{root}/instance=*/stream=events/format=jsonl/*/*.jsonl.gz', "
        f"format = 'newline_delimited', columns = {_columns()})",
    }
    _, *parts = re.split(r"^-- (\d+)\. (.*)$", QUESTIONS.read_text(), flags=re.MULTILINE)
    rows, agreed = [], True
    for number, question, statement in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if int(number) not in ASKED:
            continue
        seconds: dict[str, list[float]] = {name: [] for name in FORMATS}
        answers: dict[str, list[Any]] = {}
        for _ in range(rounds):
            for name in FORMATS:
                took, answers[name] = _timed(views[name], statement)
                seconds[name].append(took)
        slow, fast = (median(seconds[name]) for name in FORMATS)
        agreed = agreed and sorted(map(repr, answers["jsonl"])) == sorted(map(repr, answers["parquet"]))
        rows.append([question, f"{slow:.2f}", f"{fast:.3f}", _ratio(slow, fast), f"{len(answers['parquet']):,}"])
    return rows, agreed


def _timed(view: str, statement: str) -> tuple[float, list[Any]]:
    """Ask one question in a new database, which has cached nothing."""
    with duckdb.connect() as database:
        database.execute(f"SET TimeZone = 'UTC'; CREATE VIEW events AS {view}")
        began = time.perf_counter()
        answer = database.execute(statement).fetchall()
        return time.perf_counter() - began, answer


def _columns() -> str:
    """The columns of JSON lines for DuckDB; without them, it reads everything twice."""
    columns = {field.name: _duckdb_type(field.type) for field in parquet.schema() if field.name != "other"}
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"


def _duckdb_type(kind: Any) -> str:
    if str(kind) in _DUCKDB_TYPES:
        return _DUCKDB_TYPES[str(kind)]
    fields = ", ".join(f"{each.name} {_duckdb_type(each.type)}" for each in kind.value_type if each.name != "other")
    return f"STRUCT({fields})[]"


def _ratio(slow: float, fast: float) -> str:
    return f"{slow / fast:.1f}"


if __name__ == "__main__":
    run(main)
