"""Writes the compatibility tables of README.md and the documentation from results.json; --check only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from matrix.pairs import LEFT_OUT, PAIRS, TITLES, Pair  # noqa: E402

BEGIN, END = "<!-- compatibility: begin -->", "<!-- compatibility: end -->"


def short(results: dict[str, Any]) -> str:
    """Return a table with a row for each Airflow, and the Pythons that passed."""
    rows = ["| Airflow | " + " | ".join(TITLES.values()) + " |", "|---|" + "---|" * len(TITLES)]
    for airflow in dict.fromkeys(pair.airflow for pair in PAIRS):
        pairs = [pair for pair in PAIRS if pair.airflow == airflow]
        cells = []
        for suite in TITLES:
            passed = [pair.python for pair in pairs if of(results, pair).get(suite, {}).get("ok")]
            ran = any(suite in of(results, pair) for pair in pairs)
            cells.append("Python " + ", ".join(passed) if passed else "none passed" if ran else "not run")
        rows.append(f"| {airflow} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def full(results: dict[str, Any]) -> str:
    """Return a table with a row for each pair, with exact versions and counts; then the pairs left out."""
    rows = ["| Airflow | Python | " + " | ".join(TITLES.values()) + " |", "|---|---|" + "---|" * len(TITLES)]
    for pair in PAIRS:
        held = of(results, pair)
        versions = held.get("versions", {"airflow": pair.airflow, "python": pair.python})
        cells = [cell(held.get(suite)) for suite in TITLES]
        rows.append(f"| {versions['airflow']} | {versions['python']} | " + " | ".join(cells) + " |")
    rows += ["", "Left out:", ""]
    rows += [f"- Airflow {pair.airflow} with Python {pair.python}: {reason}." for pair, reason in LEFT_OUT.items()]
    return "\n".join(rows)


def of(results: dict[str, Any], pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = results.get(f"{pair.airflow} {pair.python}", {})
    return found


def cell(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return "not run"
    if "passed" not in outcome:
        return "**did not end**"
    failed = f", **{outcome['failed']} failed**" if outcome["failed"] else ""
    skipped = f", {outcome['skipped']} skipped" if outcome["skipped"] else ""
    tested = f" at {outcome['commit']}" if outcome.get("commit") else ""
    return f"{outcome['passed']} passed{failed}{skipped}{tested}"


def written(text: str, table: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"The marks {BEGIN} and {END} are missing.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def write(check: bool = False) -> int:
    """Write both tables, or only name those that are out of date; return the exit code."""
    results = json.loads(Path(__file__).with_name("results.json").read_text())
    stale = []
    for name, table in (("README.md", short(results)), ("docs/reference/compatibility.md", full(results))):
        path = ROOT / name
        text = path.read_text()
        if (new := written(text, table)) != text:
            stale.append(name)
            if not check:
                path.write_text(new)
    if check and stale:
        names = " and ".join(stale)
        print(f"The compatibility table of {names} is out of date with matrix/results.json: run `make matrix-table`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(write("--check" in sys.argv[1:]))
