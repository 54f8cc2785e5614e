"""The provider's metadata against Airflow's schemas, the distribution's metadata and the code that it names."""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.metadata
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_provider_curation
from airflow_provider_curation import get_provider_info as module
from tests.support.pyproject import project

INFO: dict[str, Any] = module.get_provider_info()
DISTRIBUTION = "airflow-provider-curation"


def airflow_schema(name: str) -> dict[str, Any]:
    import airflow

    # `airflow` may be a namespace package, so that it has no `__file__`.
    paths = [Path(folder) / name for folder in airflow.__path__]
    return json.loads(next(path for path in paths if path.exists()).read_text())


def named_classes() -> Iterator[str]:
    yield from (connection["hook-class-name"] for connection in INFO["connection-types"])
    yield from INFO["extra-links"]


def named_modules() -> Iterator[str]:
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for entry in INFO.get(kind, []):
            yield from entry["python-modules"]
    yield from (entry["python-module"] for entry in INFO["transfers"])


def test_is_what_the_installed_airflow_asks_for() -> None:
    jsonschema.validate(INFO, airflow_schema("provider_info.schema.json"))


def test_connection_form_is_what_airflow_3_asks_for() -> None:
    properties = airflow_schema("provider.yaml.schema.json")["properties"]
    if "conn-fields" not in properties["connection-types"]["items"]["properties"]:
        pytest.skip("this Airflow builds the form from the hook's methods")
    for part in ("connection-types", "integrations", "hooks", "operators", "transfers"):
        jsonschema.validate(INFO[part], properties[part])


def test_connection_form_on_airflow_2_has_the_same_fields() -> None:
    pytest.importorskip("wtforms")
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook as hook

    [connection] = copy.deepcopy(INFO["connection-types"])
    behaviour = hook.get_ui_field_behaviour()
    # Airflow 2.11 cannot test a connection whose form has no field for the extras.
    assert behaviour.pop("hidden_fields") == []
    assert connection["ui-field-behaviour"].pop("hidden-fields") == ["extra"]

    assert set(hook.get_connection_form_widgets()) == set(connection["conn-fields"])
    assert {key.replace("_", "-"): value for key, value in behaviour.items()} == connection["ui-field-behaviour"]


def test_package_name_is_the_distributions() -> None:
    assert INFO["package-name"] == project()["name"] == DISTRIBUTION
    # A checkout that is on the path without being installed has no metadata to compare with.
    if DISTRIBUTION in {d.metadata["Name"] for d in importlib.metadata.distributions()}:
        assert importlib.metadata.version(DISTRIBUTION) == airflow_provider_curation.__version__


def test_entry_points_lead_to_this_package() -> None:
    points = project()["entry-points"]
    assert points["apache_airflow_provider"] == {"provider_info": f"{module.__name__}:get_provider_info"}


@pytest.mark.parametrize("source", [module, airflow_provider_curation], ids=lambda m: m.__name__)
def test_imports_nothing(source: Any) -> None:
    tree = ast.parse(inspect.getsource(source))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_is_a_pure_literal() -> None:
    [function] = [n for n in ast.parse(inspect.getsource(module)).body if isinstance(n, ast.FunctionDef)]
    returned = function.body[-1]
    assert isinstance(returned, ast.Return)
    assert ast.literal_eval(returned.value) == INFO  # type: ignore[arg-type]


@pytest.mark.parametrize("path", named_classes())
def test_named_class_exists(path: str) -> None:
    module_name, class_name = path.rsplit(".", 1)
    assert inspect.isclass(getattr(importlib.import_module(module_name), class_name))


@pytest.mark.parametrize("name", named_modules())
def test_named_module_exists(name: str) -> None:
    importlib.import_module(name)


def test_integrations_named_are_described() -> None:
    from airflow.providers.amazon.get_provider_info import get_provider_info as amazon

    ours = {integration["integration-name"] for integration in INFO["integrations"]}
    amazons = {integration["integration-name"] for integration in amazon()["integrations"]}  # type: ignore[no-untyped-call]
    for transfer in INFO["transfers"]:
        assert transfer["source-integration-name"] in ours
        assert transfer["target-integration-name"] in amazons
    assert {hook["integration-name"] for hook in INFO["hooks"]} <= ours


def test_hook_agrees_on_the_connection_type() -> None:
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook as hook

    [connection] = INFO["connection-types"]

    assert hook.conn_type == connection["connection-type"] == "jfrog_curation"
    assert hook.hook_name == connection["hook-name"] == "JFrog Curation"
    assert hook.default_conn_name == "curation_default"
    assert hook.conn_name_attr == "curation_conn_id"
