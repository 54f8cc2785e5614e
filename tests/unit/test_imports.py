"""What imports what: the layers of the package, and what a DAG file pays for."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_curation

PACKAGE = Path(airflow_provider_curation.__file__).parent
NAME = airflow_provider_curation.__name__
MODULES = sorted(PACKAGE.rglob("*.py"))

#: The rooms of the house and what each may import of the package, beside itself; ``__init__`` holds the version.
#: Within ``audit``, an event goes from ``api`` through ``pages`` and ``reading`` to ``exporting`` or ``polling``.
AUDIT = {
    "audit": set(),
    "audit.api": {"audit"},
    "audit.pages": {"audit", "audit.api"},
    "audit.reading": {"audit", "audit.api", "audit.pages"},
    "audit.exporting": {"audit", "audit.api", "audit.pages", "audit.reading"},
    "audit.polling": {"audit", "audit.api", "audit.pages", "audit.reading"},
    "audit.evidence": {"audit"},
    "audit.reporting": {"audit", "audit.evidence"},
}
ALL_OF_AUDIT = set(AUDIT)
ALLOWED = {
    **AUDIT,
    "simulator": {"audit"},
    "compat": set(),
    "get_provider_info": set(),
    "links": {"compat"},
    "interval": {"audit"},
    "s3": {"audit", "audit.evidence"},
    "hooks": {*ALL_OF_AUDIT, "compat"},
    "alerts": set(),
    "command_line": {"audit", "audit.evidence"},
    "backfill": {*ALL_OF_AUDIT, "compat"},
    "deadline": {"compat"},
    "convert": {*ALL_OF_AUDIT, "s3"},
    "evidence": {*ALL_OF_AUDIT, "command_line", "hooks", "s3"},
    "report": {*ALL_OF_AUDIT, "command_line", "evidence", "hooks", "s3"},
    "watcher": {"audit.polling", "compat"},
    "triggers": {*ALL_OF_AUDIT, "compat", "hooks", "interval"},
    "transfers": {*ALL_OF_AUDIT, "compat", "hooks", "interval", "links", "s3", "triggers"},
    "sensors": {*ALL_OF_AUDIT, "compat", "hooks", "interval", "links", "triggers"},
    "operators": {*ALL_OF_AUDIT, "compat", "evidence", "hooks", "interval", "links", "report", "s3", "triggers"},
}
#: All that the simulator takes from the domain: it must not share the code that it tests.
OF_THE_SIMULATOR = ("audit.endpoint",)
#: Parts that know neither Airflow nor S3.
PURE = ("audit", "simulator")
#: The work of the transfer, which its operator wraps.
OF_THE_TRANSFER = ("transfers.export_job", "transfers.shielded", "transfers.progress")
BOTO = ("boto3", "botocore", "airflow.providers.amazon")


def name_of(path: Path) -> str:
    """A module's name within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """The modules that a module imports: everywhere, or only when it is imported itself."""
    for node in walk(ast.parse(path.read_text()), everywhere):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def walk(node: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    if not everywhere and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    yield node
    children = list(ast.iter_child_nodes(node))
    if not everywhere and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = list(node.orelse)
    for child in children:
        yield from walk(child, everywhere)


def is_in(name: str, parts: tuple[str, ...] | set[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def ours(path: Path, everywhere: bool = True) -> set[str]:
    """What a module imports of the package."""
    found = {name.removeprefix(f"{NAME}.") for name in imports(path, everywhere) if is_in(name, (NAME,))}
    return {name for name in found if (PACKAGE / name.split(".")[0]).exists() or not name.startswith("__")}


def room_of(name: str) -> str:
    """The innermost room that a module, or what is imported of it, is in."""
    rooms = [room for room in ALLOWED if is_in(name, (room,))]
    return max(rooms, key=len, default=name.split(".")[0])


def test_every_part_has_its_place() -> None:
    parts = {name_of(path).split(".")[0] for path in MODULES} - {"__init__"}
    assert parts <= set(ALLOWED)
    assert {room_of(name_of(path)) for path in MODULES} - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_in_one_direction(path: Path) -> None:
    room = room_of(name_of(path))
    if room == "__init__":
        assert ours(path) == set()
        return
    wrong = [name for name in ours(path) if room_of(name) not in {room} | ALLOWED[room]]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) == "simulator"], ids=name_of)
def test_the_simulator_shares_no_code_with_what_it_tests(path: Path) -> None:
    assert [name for name in ours(path) if not is_in(name, ("simulator", *OF_THE_SIMULATOR))] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = {name_of(path): path for path in MODULES}
    graph = {
        name: {
            module for imported in ours(path) for module in known if imported == module or is_in(imported, (module,))
        }
        for name, path in known.items()
    }
    for imported in graph.values():
        # What is imported of a module in a room is not imported of the room itself.
        imported -= {name for name in imported if any(other != name and is_in(other, (name,)) for other in imported)}
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"one": {"two"}, "two": {"one"}}).static_order())
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    "path", [path for path in MODULES if is_in(name_of(path), (*PURE, *OF_THE_TRANSFER))], ids=name_of
)
def test_the_domain_knows_neither_airflow_nor_s3(path: Path) -> None:
    assert [name for name in imports(path) if is_in(name, ("airflow", *BOTO))] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_boto_is_imported_inside_of_functions_only(path: Path) -> None:
    assert [name for name in imports(path, everywhere=False) if is_in(name, BOTO)] == []


#: Modules of Airflow that are the same from 2.11 to 3.3. What is not among them belongs into compat.
SAME_ON_EVERY_AIRFLOW = (
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.http.hooks.http",
)
#: The connection form of Airflow 2.
FORM_OF_AIRFLOW_2 = ("flask_appbuilder", "flask_babel", "wtforms")


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) != "compat"], ids=name_of)
def test_version_dependent_imports_are_in_one_module(path: Path) -> None:
    named = [name for name in imports(path) if is_in(name, ("airflow",))]
    assert [name for name in named if not is_in(name, SAME_ON_EVERY_AIRFLOW)] == []
    form = [name for name in imports(path) if is_in(name, FORM_OF_AIRFLOW_2)]
    assert form == [] or name_of(path) == "hooks.connection_form"
    # Nor is there a question which Airflow this is.
    asked = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [node for node in asked if node.module == "airflow" or "AIRFLOW_V" in ast.unparse(node)]


def test_the_walk_sees_what_it_must(tmp_path: Path) -> None:
    source = """
        import boto3
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import botocore
        else:
            import one
        class Any:
            import two
            def method(self):
                import three
        try:
            import four
        except ImportError:
            import five
    """
    path = tmp_path / "module.py"
    path.write_text(textwrap.dedent(source))

    now = {"boto3", "typing.TYPE_CHECKING", "one", "two", "four", "five"}
    assert set(imports(path, everywhere=False)) == now
    assert set(imports(path)) == now | {"botocore", "three"}


# What is loaded in truth


def loaded(code: str, home: Path) -> set[str]:
    """The modules that a new interpreter has after it ran some code, beyond those from before a line `# before`."""
    before, _, after = code.partition("# before")
    program = f"""
import sys, json
{textwrap.dedent(before) if after else ""}
known = set(sys.modules)
{textwrap.dedent(after or before)}
print(json.dumps(sorted(set(sys.modules) - known)))
"""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout.splitlines()[-1]))


def names(part: str) -> list[str]:
    return [
        f"{NAME}.{name_of(path)}"
        for path in MODULES
        if name_of(path).split(".")[0] == part and path.stem not in ("__main__", "pytest_plugin")
    ]


@pytest.mark.parametrize("part", PURE)
def test_the_domain_loads_neither_airflow_nor_s3(part: str, tmp_path: Path) -> None:
    modules = loaded("\n".join(f"import {name}" for name in names(part)), tmp_path)

    assert set(names(part)) <= modules
    assert {name for name in modules if is_in(name, ("airflow", *BOTO))} == set()


def test_a_dag_file_loads_neither_boto_nor_the_client(tmp_path: Path) -> None:
    """Beyond what Airflow's own operator base has loaded: DAG files are parsed again and again."""
    modules = loaded(
        f"""
        from airflow.providers.common.compat.sdk import DAG, BaseOperator, Asset
        # before
        from {NAME}.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
        CurationAuditToS3Operator(task_id="export", s3_bucket="audit-archive")
        """.replace("\n        ", "\n"),
        tmp_path,
    )

    assert f"{NAME}.transfers.curation_audit_to_s3" in modules
    heavy = (*BOTO, "requests", "urllib3", "msgspec", "tenacity", "zstandard", "airflow.providers.http")
    assert {name for name in modules if is_in(name, heavy)} == set()
    of_ours = {name.removeprefix(f"{NAME}.") for name in modules if is_in(name, (NAME,))}
    assert not {name for name in of_ours if is_in(name, ("hooks", "simulator", "audit.api.client", "audit.reading"))}


def test_a_hook_loads_no_boto(tmp_path: Path) -> None:
    modules = loaded(f"from {NAME}.hooks.curation_audit import CurationAuditHook", tmp_path)

    assert f"{NAME}.hooks.curation_audit" in modules
    # Airflow itself may read what the amazon provider says of itself.
    assert {name for name in modules if is_in(name, ("boto3", "botocore", "airflow.providers.amazon.aws"))} == set()


def test_the_pytest_plugin_costs_those_nothing_who_do_not_use_it(tmp_path: Path) -> None:
    modules = loaded(f"import pytest\n# before\nimport {NAME}.simulator.pytest_plugin", tmp_path)

    assert {name for name in modules if is_in(name, ("airflow", "http.server", "requests", f"{NAME}.audit"))} == set()
