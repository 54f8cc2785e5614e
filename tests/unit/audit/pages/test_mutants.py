"""Mutants of real answers: each one is a page, or an error of this provider that says what to do."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import CurationAuditError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.pages.csv_page import AnswerEnd, csv_page
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.pages.page import Page
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer
from airflow_provider_curation.audit.treatment import Treatment
from airflow_provider_curation.audit.window import Window
from tests.support.effort import effort
from tests.support.keys import PSEUDONYM_KEY

SAMPLES = Path(__file__).parents[2] / "simulator" / "samples"
#: All times of the samples.
WINDOW = Window.parse("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
MUTANTS = effort(100, 2000)
TREATMENT = Treatment(Pseudonymizer(("username", "user_mail"), PSEUDONYM_KEY), csv_safe=True)
WANTED = EventFilter.of(actions=["b*"], policies=["*"])
PIECES = [
    *(bytes([each]) for each in (0, 9, 10, 13, 34, 39, 44, 45, 48, 58, 91, 92, 93, 123, 125, 127, 128, 192, 237, 255)),
    b"null",
    b"1e400",
    b"-",
    b"9" * 5000,
    b"\\ud800",
    b"\\u0000",
    b'"id":',
    b"0001-01-01T00:00:00+14:00",
    b"\xef\xbb\xbf",
    b"[" * 3000,
    b'{"a":' * 300,
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x07",
    b"\xff" * 8,
    b"\x00" * 8,
]


def mutant(text: bytes, chance: random.Random) -> bytes:
    """Change a text in one to three places: bits, bytes, pieces that are put in, cut out, doubled or swapped."""
    changed = bytearray(text)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice([0, 1, 2, 4, 8, 40, 400]))
        match chance.randrange(5):
            case 0 if start < len(changed):
                changed[start] ^= 1 << chance.randrange(8)
            case 1:
                changed[start:end] = chance.choice(PIECES)
            case 2:
                del changed[start:end]
            case 3:
                changed[start:start] = changed[start:end]
            case _:
                changed[start:end] = chance.randbytes(end - start)
    return bytes(changed)


def check(page: Page) -> None:
    body = b"".join(page.chunks())
    assert body.decode().count("\n") >= page.tally.kept
    assert page.tally.read <= page.count


@pytest.mark.parametrize("name", ["audit_packages_2023.json", "audit_packages_2026.json", "audit_packages_empty.json"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_mutants_of_json(name: str, dry_run: bool) -> None:
    text = (SAMPLES / name).read_bytes()
    query = Query(WINDOW, 2000, dry_run=dry_run)
    pages = 0
    for seed in range(MUTANTS):
        chance = random.Random(f"{name} {seed}")
        answer = mutant(text if seed % 2 else json.dumps(json.loads(text), separators=(",", ":")).encode(), chance)
        treatment, wanted = chance.choice([None, TREATMENT]), chance.choice([None, WANTED])
        try:
            page = json_page(query, answer, wanted, chance.random() < 0.3, treatment, chance.random() < 0.3)
        except CurationAuditError:
            continue
        pages += 1
        check(page)
        for line in page.lines():
            json.loads(line)
    assert 0 < pages < MUTANTS


@pytest.mark.parametrize("inside", [False, True], ids=["zip", "content"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_mutants_of_csv(inside: bool, dry_run: bool) -> None:
    text = (SAMPLES / "audit_packages_2026.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        content = archive.read("audit_packages.csv")
    query = Query(WINDOW, 500_000, dry_run=dry_run, format="csv")
    pages = 0
    for seed in range(2 * MUTANTS):
        chance = random.Random(seed)
        file = io.BytesIO(b"" if inside else mutant(text, chance))
        if inside:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("audit_packages.csv", mutant(content, chance))
        treatment, wanted = chance.choice([None, TREATMENT]), chance.choice([None, WANTED])
        end = chance.choice([AnswerEnd(), AnswerEnd(0)])
        try:
            check(csv_page(query, file, wanted, chance.random() < 0.3, end, treatment))
        except CurationAuditError:
            continue
        pages += 1
    assert 0 < pages < 2 * MUTANTS
