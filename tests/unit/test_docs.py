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

ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()

ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.CurationAuditError)
}
#: Bases, which no task ends with.
BASES = ("ArchiveError", "CurationAuditError", "RequestError")


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_in_troubleshooting_with_whether_it_is_retried(name: str) -> None:
    rows = re.findall(rf"^\| `{name}` \| (\w*) *\|", TROUBLESHOOTING, re.MULTILINE)

    assert rows == ["" if name in BASES else "yes" if ERRORS[name].retry_task else "no"]


def test_troubleshooting_names_no_error_that_is_not_there() -> None:
    assert set(re.findall(r"^\| `(\w+Error)` \|", TROUBLESHOOTING, re.MULTILINE)) == set(ERRORS)


def test_errors_that_the_pages_name_exist() -> None:
    assert set(re.findall(r"\{ERRORS\}\.(\w+)", DEPLOYING)) <= set(ERRORS)


def invariants() -> list[tuple[str, list[str], list[str]]]:
    """Each invariant of the architecture page, the files that keep it, and the tests that fail without it."""
    _, table = ARCHITECTURE.split("| invariant | kept by |", 1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].splitlines()[2:]]
    return [(name, re.findall(r"`([^`]+)`", files), re.findall(r"`([^`]+)`", tests)) for name, files, tests in rows]


def test_there_are_twelve_invariants() -> None:
    assert len({name for name, _, _ in invariants()}) == len(invariants()) == 12


@pytest.mark.parametrize(("files", "tests"), [pytest.param(*row[1:], id=row[0]) for row in invariants()])
def test_files_and_tests_of_each_invariant_exist(files: list[str], tests: list[str]) -> None:
    assert files
    assert tests
    for file in files:
        assert (ROOT / "airflow_provider_curation" / file).is_file(), file
    for test in tests:
        file, name = test.split("::")
        source = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^(?:async )?def {re.escape(name)}\(", source, re.MULTILINE), test


def test_rooms_and_files_of_the_architecture_page_exist() -> None:
    [listed] = re.findall(r"^\| room \|.*\n((?:\|.*\n)+)", ARCHITECTURE, re.MULTILINE)
    rooms = [room for row in listed.splitlines()[1:] for room in re.findall(r"`([^`]+)`", row.split("|")[1])]
    named = rooms + re.findall(r"`((?:\w+/)*\w+(?:/|\.py))`", ARCHITECTURE.split("## The way of an event")[1])
    package = ROOT / "airflow_provider_curation"
    missing = [name for name in named if not ((package / name).exists() or (ROOT / name).exists())]
    assert not missing


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


def test_readme_and_front_page_show_the_same_dag() -> None:
    example = (ROOT / "docs" / "examples" / "first_dag.py").read_text()
    [shown] = re.findall(r"# \[START first_dag\]\n(.*)# \[END first_dag\]", example, re.DOTALL)
    assert f"```python\n{shown}```" in (ROOT / "README.md").read_text()
    assert "examples/first_dag.py" in (ROOT / "docs" / "index.md").read_text()


#: What users import, by module; each must be in the reference.
PUBLIC = {
    "hooks.curation_audit": ["CurationAuditHook"],
    "transfers.curation_audit_to_s3": ["CurationAuditToS3Operator"],
    "operators.curation_audit_report": ["CurationAuditReportOperator"],
    "operators.curation_audit_verify": ["CurationAuditVerifyOperator"],
    "sensors.curation_audit": ["CurationBlockedEventsSensor"],
    "triggers.curation_audit": ["CurationBlockedEventsTrigger"],
}


def public_names() -> list[str]:
    """Every operator, hook, sensor and trigger that is defined, and what the modules of plain functions export."""
    package = ROOT / "airflow_provider_curation"
    names = [f"{module}.{name}" for module, exported in PUBLIC.items() for name in exported]
    for path in sorted(package.glob("*.py")):
        [*exported] = re.findall(r"^__all__ = \[(.*?)\]", path.read_text(), re.MULTILINE | re.DOTALL)
        names += [f"{path.stem}.{name}" for found in exported for name in re.findall(r'"(\w+)"', found)]
    # What compat exports is for the package alone.
    return [name for name in names if not name.startswith(("__init__", "compat"))]


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_in_the_reference(name: str) -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text()
    assert re.search(rf"auto\w+:: airflow_provider_curation\.{re.escape(name)}$", text, re.MULTILINE), name


def test_every_operator_hook_sensor_and_trigger_is_public() -> None:
    rooms = ("hooks", "operators", "sensors", "transfers", "triggers", "plugins")
    kinds = re.compile(r"^class (Curation\w+(?:Hook|Operator|Sensor|Trigger))\b", re.MULTILINE)
    package = ROOT / "airflow_provider_curation"
    defined = {
        name for room in rooms for path in (package / room).glob("*.py") for name in kinds.findall(path.read_text())
    }
    assert defined == {name for names in PUBLIC.values() for name in names}


def test_each_row_of_the_threat_model_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "evidence.md").read_text()
    section = page.partition("## Threat model")[2].partition("\n## ")[0]
    _, _, *rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for who, what, measure, _, shown in rows:
        named = re.findall(r"`(test_\w+)`", shown)
        # Of what nothing here stops, nothing is claimed.
        assert named or measure == "the bucket's own access rules", f"{who}: {what}"
        for name in named:
            assert len(re.findall(rf"^def {name}\(", sources, re.MULTILINE)) == 1, name
