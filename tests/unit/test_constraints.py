"""The pins of the oldest versions against what the distribution's metadata lets in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.pyproject import project

LEAST = Path(__file__).parents[2] / "constraints" / "airflow-2.11-least.txt"


def required() -> list[Requirement]:
    distribution = project()
    # What makes time stamps needs a newer cryptography than the package does, and is not among the oldest versions.
    extras = {name: each for name, each in distribution["optional-dependencies"].items() if name != "timestamp"}
    optional = [each for extra in extras.values() for each in extra]
    return [Requirement(each) for each in [*distribution["dependencies"], *optional]]


@pytest.mark.parametrize("requirement", required(), ids=lambda each: each.name)
def test_the_least_versions_are_those_of_the_metadata(requirement: Requirement) -> None:
    [floor] = [each for each in requirement.specifier if each.operator == ">="]
    name = re.escape(canonicalize_name(requirement.name))
    [pin] = re.findall(rf"^{name}==([^\s;]+)", LEAST.read_text(), re.MULTILINE)
    # Releases that were withdrawn may lie between, as requests 2.32.0 and 2.32.1.
    least = Version(floor.version).release
    assert Version(pin).release[: len(least)] == least


@pytest.mark.xdist_group("made_once")
def test_tests_of_a_group_share_a_worker(request: pytest.FixtureRequest) -> None:
    """pytest 9.2 silently breaks this for xdist 3.8, and then each worker makes what a group shares."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("only workers of xdist have groups")
    assert request.node.nodeid.endswith("@made_once")
