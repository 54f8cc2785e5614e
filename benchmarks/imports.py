"""What importing the operator adds to the time of parsing a DAG file, in milliseconds over Airflow's own import.

python benchmarks/imports.py            median of 11
python benchmarks/imports.py --slowest 15    and which modules the time goes to
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import facts
from bench.processes import ROOT, run

OPERATOR = "airflow_provider_curation.transfers.curation_audit_to_s3"
#: What a DAG file may import at its top; there is no aim for the hook, which tasks import when they run.
AIMED = (OPERATOR, "airflow_provider_curation.sensors.curation_audit")
MODULES = (*AIMED, "airflow_provider_curation.hooks.curation_audit")
AIM_MS = 50.0
#: Seconds that one interpreter may take.
TIMEOUT = 120

#: What a DAG file imports in any case, on Airflow 3 and 2.
BASE = """
try:
    from airflow.sdk import DAG, BaseOperator, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models import BaseOperator
"""

PROBE = (
    BASE
    + """
import importlib, json, sys, time
began = time.perf_counter()
importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - began
print(json.dumps({"ms": seconds * 1000, "boto": sorted({"boto3", "botocore"} & set(sys.modules))}))
"""
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=11, help="interpreters for each module (11)")
    parser.add_argument(
        "--slowest", type=int, default=0, metavar="N", help="list the N slowest modules of the operator's"
    )
    args = parser.parse_args()
    print(facts.about())
    met = True
    with tempfile.TemporaryDirectory(prefix="curation-bench-") as folder:
        for module in MODULES:
            met = _report(module, args.times, folder) and met
        if args.slowest:
            print(f"\nSelf time of the slowest modules in {OPERATOR}:")
            print("\n".join(_slowest(OPERATOR, args.slowest, folder)))
    return 0 if met else 1


def _report(module: str, times: int, folder: str) -> bool:
    try:
        # The first run compiles.
        probes = [json.loads(_python(["-c", PROBE, module], folder).stdout.splitlines()[-1]) for _ in range(times + 1)]
    except subprocess.CalledProcessError as fault:
        print(f"{module}: not measured: {fault.stderr.strip().splitlines()[-1]}")
        return module != OPERATOR
    milliseconds = sorted(probe["ms"] for probe in probes[1:])
    boto = probes[-1]["boto"]
    met = median(milliseconds) < AIM_MS and not boto
    verdict = f"{'met' if met else 'MISSED'} (under {AIM_MS:.0f} ms, no boto)" if module in AIMED else "no aim"
    print(
        f"{module}: {median(milliseconds):.0f} ms over Airflow's own import (median of {times}, {milliseconds[0]:.0f} "
        f"to {milliseconds[-1]:.0f}), imports {' and '.join(boto) or 'no boto3, no botocore'}: {verdict}"
    )
    return met or module not in AIMED


def _slowest(module: str, count: int, folder: str) -> list[str]:
    """Return the lines of `-X importtime` for what the module adds, the slowest first."""
    code = BASE + "import sys\nprint('----', file=sys.stderr, flush=True)\nimport " + module
    lines = _python(["-X", "importtime", "-c", code], folder).stderr.partition("----\n")[2].splitlines()
    cells = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    ordered = sorted(((int(own), name.strip()) for own, _, name in cells), reverse=True)
    return [f"{own / 1000:7.1f} ms  {name}" for own, name in ordered[:count]]


def _python(arguments: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(Path(folder, "pycache")),
        "AIRFLOW_HOME": str(Path(folder, "airflow")),
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=True)


if __name__ == "__main__":
    run(main)
