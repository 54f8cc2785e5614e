"""What the documentation must not leave out."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_curation.audit import errors

ROOT = Path(__file__).parents[2]
TROUBLESHOOTING = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
DEPLOYING = (ROOT / "docs" / "how-to" / "deploying.md").read_text()

ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.CurationAuditError)
}
#: Bases, which no task ends with.
BASES = ("CurationAuditError", "RequestError")


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_in_troubleshooting_with_whether_it_is_retried(name: str) -> None:
    rows = re.findall(rf"^\| `{name}` \| (\w*) *\|", TROUBLESHOOTING, re.MULTILINE)

    assert rows == ["" if name in BASES else "yes" if ERRORS[name].retry_task else "no"]


def test_troubleshooting_names_no_error_that_is_not_there() -> None:
    assert set(re.findall(r"^\| `(\w+Error)` \|", TROUBLESHOOTING, re.MULTILINE)) == set(ERRORS)


def test_errors_that_the_pages_name_exist() -> None:
    assert set(re.findall(r"\{ERRORS\}\.(\w+)", DEPLOYING)) <= set(ERRORS)


def test_the_compatibility_table_is_that_of_the_last_matrix() -> None:
    command = [sys.executable, "matrix/table.py", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout


def test_every_page_is_in_the_index_once() -> None:
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs).with_suffix("")) for path in docs.rglob("*.md") if "_build" not in path.parts}
    trees = re.findall(r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)```", (docs / "index.md").read_text(), re.DOTALL)
    named = [page for tree in trees for page in tree.split()]
    assert len(named) == len(set(named))
    assert set(named) == pages - {"index"}
