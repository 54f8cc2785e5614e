"""Mutants are the same for a seed and differ from what they were; readings are as strict as they say."""

from __future__ import annotations

import gzip
import json
from random import Random

import pytest

from tests.fuzz import mutants
from tests.fuzz.readings import counted, envelope_of, rows_of_csv, rows_of_json, rows_of_zip

PAGE = json.dumps({"data": [{"id": 1, "name": "a"}, {"id": 2, "name": None}], "meta": {"total_count": 2}}).encode()
CSV = b"id,name\n1,a\n2,b\n"
ARCHIVE = mutants.zipped({"audit_packages.csv": CSV})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.mark.parametrize(
    ("ways", "body"),
    [(mutants.JSON, PAGE), (mutants.ZIP, ARCHIVE), ((mutants.head,), ANSWER)],
    ids=["json", "zip", "head"],
)
def test_a_seed_is_one_mutant_and_most_differ(ways: tuple[mutants.Mutate, ...], body: bytes) -> None:
    made = [[way(Random(seed), body) for way in ways for seed in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert sum(each != body for each in made[0]) > 0.8 * len(made[0])
    assert len(set(made[0])) > 0.2 * len(made[0])


def test_structure_is_changed_in_every_way() -> None:
    made = [mutants.json_structure(Random(seed), PAGE) for seed in range(2000)]
    assert any(each.count(b'"id":') > 2 for each in made), "a row or a name is there twice"
    assert any(b'"name"' not in each for each in made)
    assert any(b"[" * 100_000 in each for each in made)
    assert any(b"1" + b"0" * 5000 in each for each in made)
    assert any(b"NaN" in each for each in made)
    assert any(b"14:00" in each for each in made)


def test_a_name_can_stand_twice_in_an_archive() -> None:
    assert mutants.zipped([("a", b"1"), ("a", b"2")]).count(b"PK\x01\x02") == 2


def test_a_bomb_is_small_and_unpacks_to_its_size() -> None:
    bomb = mutants.gzip_bomb(2)
    assert len(bomb) < 10_000
    assert len(gzip.decompress(bomb)) > 2 << 20


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a": 1', b"null"])
def test_what_is_not_an_envelope_says_nothing(body: bytes) -> None:
    assert envelope_of(body) is None
    assert rows_of_json(body) is None


def test_rows_are_counted_with_their_names() -> None:
    assert rows_of_json(PAGE) == counted([{"id": 1, "name": "a"}, {"id": 2, "name": None}])
    assert rows_of_json(b'{"data": null}') == counted([])
    assert rows_of_zip(ARCHIVE) == rows_of_csv(CSV) == counted([{"id": "1", "name": "a"}, {"id": "2", "name": "b"}])
    assert rows_of_zip(ARCHIVE[:-5]) is None
