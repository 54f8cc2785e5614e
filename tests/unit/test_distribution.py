"""What is built: the wheel's metadata as a package index shows it, and what the sdist holds."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return folder


@pytest.fixture(scope="module")
def metadata(built: Path) -> Message:
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(wheel.read(name))


def test_every_link_of_the_readme_leads_somewhere_from_a_package_index(metadata: Message) -> None:
    readme = metadata.get_payload()
    assert isinstance(readme, str)
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_links_of_the_readme_exist(metadata: Message) -> None:
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_the_wheel_registers_nothing_with_pytest(built: Path) -> None:
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert wheel.read(name).decode().split("\n")[0] == "[apache_airflow_provider]"
        assert b"pytest" not in wheel.read(name)


def test_the_sdist_holds_tests_docs_and_dags(built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        folders = {name.split("/")[1] for name in sdist.getnames() if "/" in name}
    assert {"airflow_provider_curation", "dags", "docs", "tests", "README.md", "CHANGELOG.md", "LICENSE"} <= folders
    assert not {name for name in folders if name.startswith(".venv")}
