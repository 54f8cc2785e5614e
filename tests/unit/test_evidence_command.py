"""The command that verifies a copy: its exit status means one thing each, and its output cannot be forged."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.evidence import __main__ as command
from tests.support.archives import DAY, START, Exporter, MemoryArchive, TruthClient, manifest_key, rewrite

PERIOD = ["--start", "2025-01-01T00:00:00Z", "--end", "2025-01-03T00:00:00Z"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of two days, unsigned and filtered."""
    archive, exporter = MemoryArchive(), Exporter(TruthClient(20, Window(START, START + 2 * DAY)), "copy", None)
    for number in range(2):
        key = exporter.export(archive, Window(START + number * DAY, START + (number + 1) * DAY))
        rewrite(archive, key, None, filters={"actions": ["\x1b[2J\x1b[HNothing is missing.\n"]})
    for name, body in archive.objects.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    assert manifest_key(key) in archive.objects
    return tmp_path / "copy"


def test_findings_are_1_and_forge_no_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(copy), *PERIOD]) == 1
    said = capsys.readouterr().out
    assert "2 filtered" in said
    assert all(line.isprintable() for line in said.splitlines())
    assert not [line for line in said.splitlines() if line.startswith("Nothing")]


def test_nothing_missing_is_0_and_says_what_was_ignored(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(copy), *PERIOD, "--ignore", "filtered"]) == 0
    assert "Ignored, as asked: 2 filtered." in capsys.readouterr().out
    assert command.main([str(copy), *PERIOD, "--ignore", "filtered", "--expected", "events/jsonl"]) == 1
    assert "no unfiltered export covers it" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--start", "2025-01-01T00:00:00Z", "--end", "2099-01-01T00:00:00Z"],
        [*PERIOD, "--ignore", "no_exports"],
        [*PERIOD, "--expected", "events"],
        [*PERIOD, "--retired", "acme"],
        [*PERIOD, "--alias", "acme"],
        [*PERIOD, "--read", "some"],
    ],
)
def test_what_cannot_be_verified_is_2(arguments: list[str], copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(copy), *arguments]) == 2
    assert capsys.readouterr().out == ""


def test_a_folder_inside_an_archive_is_2(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(copy / "instance=acme"), *PERIOD]) == 2
    assert f"is a folder of the archive whose root is '{copy}'" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), KeyError("x\x1b[2J"), OSError("gone")])
def test_an_error_that_nobody_expects_is_2(
    error: Exception, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(command, "verify_archive", fail)
    assert command.main([str(copy), *PERIOD]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{type(error).__name__}: ")
    assert "\x1b" not in said
