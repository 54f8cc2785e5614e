"""Mutants of what is stored: a verification finds every one, and ends with a report or a named error."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import traceback
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from airflow_provider_curation.audit.errors import CurationAuditError
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.evidence import verify_archive
from tests.fuzz import mutants
from tests.support.archives import KEY, RING, START, Exporter, MemoryArchive, TruthClient

DAYS = 2
END = START + timedelta(days=DAYS)


@dataclass(frozen=True)
class Case:
    """A mutant of one file of a sealed and signed archive."""

    seed: int
    part: str = "file"

    @classmethod
    def draw(cls, seed: int) -> Case:
        return cls(seed)


@lru_cache(maxsize=1)
def _archive() -> Path:
    """A small archive in a folder: two days, each with its manifest, and a seal."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    memory = MemoryArchive()
    exporter = Exporter(TruthClient(40, Window(START, END)))
    for window in Window(START, END).split(timedelta(days=1)):
        exporter.export(memory, window)
    for key, body in memory.objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    report = verify_archive(folder / "curation", START, END, key_ring=RING, signer=KEY, seal=True)
    assert not report.findings, report.summary()
    return folder / "curation"


def carry_out(case: Case) -> tuple[str, list[str]]:
    """Damage one file, verify the archive, and return how it ended and what must not have happened."""
    random = Random(f"files {case.seed}")
    root = _archive()
    path = random.choice(sorted(each for each in root.rglob("*") if each.is_file()))
    before = path.read_bytes()
    damaged = _damaged(random, path, before)
    # A period of its own is taken from the seals, which may be what is damaged.
    period: list[Any] = [START, END] if random.random() < 0.8 else []
    try:
        path.write_bytes(damaged)
        report = verify_archive(root, *period, key_ring=RING)
        text = json.dumps(report.as_dict()) + report.summary()
    except CurationAuditError as error:
        return type(error).__name__, ["a period was given, and nothing was verified"] if period else []
    except Exception as error:
        said = traceback.format_exception_only(error)[-1].strip()[:200]
        return type(error).__name__, [f"{path.name}: {said}, which is not a named error"]
    finally:
        path.write_bytes(before)
    if damaged == before:
        return "not damaged", ["a finding, and nothing is damaged"] if report.findings else []
    verdicts = [] if report.findings else [f"{path.name} is damaged, and nothing was found"]
    if "PRIVATE KEY" in text:
        verdicts.append("the report holds the key")
    return "found" if report.findings else "overlooked", verdicts


def _damaged(random: Random, path: Path, body: bytes) -> bytes:
    if path.suffix in (".gz", ".zip"):
        return random.choice(mutants.BYTES)(random, body)
    return random.choice(mutants.JSON)(random, body)
