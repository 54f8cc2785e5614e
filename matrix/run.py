"""Runs the tests on each Airflow with each Python, and keeps the results in results.json and the tables.

It needs no packages: any Python from 3.10 on runs it. It names the pairs whose interpreter is not on this machine,
leaves them out, and then ends with exit code 1 unless --allow-missing is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.json")
sys.path.insert(0, str(ROOT))

from matrix import table  # noqa: E402
from matrix.pairs import LEFT_OUT, PAIRS, SUITES, Pair  # noqa: E402

#: Seconds that a suite of one pair may take.
LONGEST = {"unit": 1200, "dags": 1200, "integration": 2400}


def interpreter(python: str) -> str | None:
    """Return the path of a Python of that minor version, on the PATH or of pyenv."""
    return next((each for each in candidates(python) if version_of(each) == python), None)


def candidates(python: str) -> Iterator[str]:
    for name in (f"python{python}", "python3"):
        if found := shutil.which(name):
            yield found
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(root.glob(f"versions/{python}.*/bin/python"), reverse=True))


def version_of(path: str) -> str | None:
    """Return its minor version; ``None`` if it does not start, such as pyenv's shim of a version that is not chosen."""
    code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def prepare(pair: Pair, python: str) -> bool:
    """Make the pair's virtual environment with `make venv`, and return whether that worked."""
    command = ["make", "--no-print-directory", "venv", f"AIRFLOW={pair.airflow}", f"PYTHON={python}"]
    return subprocess.run([*command, f"VENV={pair.venv}"], cwd=ROOT, check=False, timeout=1800).returncode == 0


def run(pair: Pair, suite: str, arguments: list[str]) -> dict[str, Any]:
    """Run a suite of a pair, and return its counts."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [f"{pair.venv}/bin/python", "-m", "pytest", "-q", "--tb=short", f"--junit-xml={report}", *arguments]
        begin = datetime.now(timezone.utc)
        try:
            code = subprocess.run([*command, *SUITES[suite]], cwd=ROOT, check=False, timeout=LONGEST[suite]).returncode
        except subprocess.TimeoutExpired:
            code = None
        seconds = round((datetime.now(timezone.utc) - begin).total_seconds())
        counts = count(report) if report.exists() else {}
    return {"ok": code == 0, **counts, "seconds": seconds, "date": f"{begin:%Y-%m-%d}", "commit": commit()}


def commit() -> str | None:
    """Return the tested commit, with a "+" if package, DAGs or tests have changed since; ``None`` outside of Git."""
    head = git("rev-parse", "--short=7", "HEAD")
    changed = git("status", "--porcelain", "--", "airflow_provider_curation", "dags", "tests")
    return f"{head}+" if head and changed else head


def git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def count(report: Path) -> dict[str, int]:
    suites = [suite.attrib for suite in ElementTree.parse(report).getroot().iter("testsuite")]
    total, failed, errors, skipped = (
        sum(int(suite[name]) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return {"passed": total - failed - errors - skipped, "failed": failed + errors, "skipped": skipped}


def versions(pair: Pair) -> dict[str, str]:
    """Return the exact versions in a pair's virtual environment."""
    code = (
        "import importlib.metadata as m, json, platform; "
        "print(json.dumps({'airflow': m.version('apache-airflow'), 'python': platform.python_version()}))"
    )
    answer = subprocess.run([f"{pair.venv}/bin/python", "-c", code], cwd=ROOT, capture_output=True, check=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def keep(pair: Pair, suite: str, outcome: dict[str, Any]) -> None:
    """Save a result at once, so that a run that is stopped keeps what it has."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    of_pair = results.setdefault(f"{pair.airflow} {pair.python}", {})
    of_pair["versions"] = versions(pair)
    of_pair[suite] = outcome
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    # Also at once: a test compares the documentation with the results.
    table.write()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--airflow", action="append", help="only this minor of Airflow; may be given again")
    parser.add_argument("--python", action="append", help="only this minor of Python; may be given again")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="only this suite; may be given again")
    parser.add_argument("--allow-missing", action="store_true", help="a missing interpreter is not a failure")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    chosen = parser.parse_args()
    pairs = [
        pair
        for pair in PAIRS
        if pair.airflow in (chosen.airflow or [pair.airflow]) and pair.python in (chosen.python or [pair.python])
    ]
    for pair, reason in LEFT_OUT.items():
        print(f"Left out: Airflow {pair.airflow} with Python {pair.python}: {reason}.")
    bad, missing = [], []
    # The first suite of every pair comes before the second of any, so that what is broken shows early.
    for suite in [name for name in SUITES if name in (chosen.suite or SUITES)]:
        for pair in pairs:
            name = f"Airflow {pair.airflow} with Python {pair.python}"
            python = interpreter(pair.python)
            if python is None:
                missing.append(name)
                print(f"\n!!! {name}: NOT RUN, there is no python{pair.python} on the path or in pyenv", flush=True)
                continue
            print(f"\n=== {name}: {suite}", flush=True)
            if not prepare(pair, python):
                bad.append(f"{name}: no virtual environment")
                continue
            outcome = run(pair, suite, chosen.pytest)
            keep(pair, suite, outcome)
            print(f"=== {name}: {suite}: {outcome}", flush=True)
            if not outcome["ok"]:
                bad.append(f"{name}: {suite}")
    for each in bad:
        print(f"FAILED {each}")
    for each in dict.fromkeys(missing):
        print(f"NOT RUN {each}")
    return 1 if bad or (missing and not chosen.allow_missing) else 0


if __name__ == "__main__":
    sys.exit(main())
