"""Never worse: what an export may replace, by what the older manifest says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import ShrinkError
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.replacement import (
    Held,
    Plan,
    Present,
    check_replacement,
    may_be_unchanged,
)
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, START, Exporter, MemoryArchive, TruthClient, stored

WINDOW = Window(START, START + DAY)
PERSONAL = {"pseudonymized": [], "pseudonym_key_id": None, "csv_safe": False}


@pytest.fixture(scope="module")
def made() -> StoredManifest:
    archive = MemoryArchive()
    exporter = Exporter(TruthClient(50, WINDOW))
    return stored(archive, exporter.export(archive, WINDOW))


def plan(**changes: Any) -> Plan:
    chosen = {
        "window": WINDOW,
        "series": ("acme", "events", "jsonl"),
        "compression": "gzip",
        "filters": {},
        "personal_data": PERSONAL,
        "object_lock": {},
        **changes,
    }
    return Plan(**chosen)


def present(made: StoredManifest | None, **changes: Any) -> Present:
    facts = made.facts if made else {"size": 1, "etag": "x"}
    return Present(**{"uri": "s3://b/k", "size": facts["size"], "etag": facts["etag"], "manifest": made, **changes})


NOTHING = Held(0, {}, {}, IdsDigest())


def held(made: StoredManifest) -> Held:
    """The same as a manifest says."""
    facts = made.facts
    return Held(facts["events"], facts["actions"], facts["package_types"], IdsDigest.parse(facts["ids_digest"]))


def with_ids(before: Held, added: list[int]) -> Held:
    """The same, and more events."""
    ids = IdsDigest.of(added)
    ids.add(before.ids)
    return dataclasses.replace(before, events=before.events + len(added), ids=ids)


OTHERS: dict[str, dict[str, Any]] = {
    "another window": {"window": Window(START, START + 2 * DAY)},
    "acme events jsonl": {"series": ("acme", "dry_run", "jsonl")},
    "filters": {"filters": {"actions": ["blocked"]}},
    "username pseudonymized": {
        "personal_data": {"pseudonymized": ["username"], "pseudonym_key_id": "0" * 16, "csv_safe": False}
    },
    "csv_safe": {"personal_data": {**PERSONAL, "csv_safe": True}},
}


@pytest.mark.parametrize("text", OTHERS)
def test_something_else_is_refused_before_it_is_read(made: StoredManifest, text: str) -> None:
    with pytest.raises(ShrinkError, match=text):
        check_replacement(present(made), plan(**OTHERS[text]))
    assert not may_be_unchanged(present(made), plan(**OTHERS[text]))


def test_fewer_events_are_refused_with_or_without_the_object(made: StoredManifest) -> None:
    for size in (made.facts["size"], None):
        there = present(made, size=size)
        check_replacement(there, plan(), held(made))
        check_replacement(there, plan(), with_ids(held(made), added=[7]))
        with pytest.raises(ShrinkError, match="replaced by 49"):
            check_replacement(there, plan(), dataclasses.replace(held(made), events=49))


def test_an_object_without_a_manifest_is_replaced_while_the_server_remembers() -> None:
    there = present(None)
    for whole in (plan(), plan(filters={"actions": ["a"]})):
        check_replacement(there, whole, NOTHING)
    check_replacement(present(None, size=None), plan(expired=True), NOTHING)
    with pytest.raises(ShrinkError, match="without a manifest"):
        check_replacement(there, plan(expired=True))


def test_only_what_s3_still_holds_can_be_unchanged(made: StoredManifest) -> None:
    assert may_be_unchanged(present(made), plan())
    assert not may_be_unchanged(present(made, etag="other"), plan())
    assert not may_be_unchanged(present(made, size=None), plan())
    assert not may_be_unchanged(present(made), plan(compression="zstd"))
    assert not may_be_unchanged(present(made), plan(object_lock={"legal_hold": True}))


def of_ids(ids: set[int]) -> Held:
    return Held(len(ids), {}, {}, IdsDigest.of(sorted(ids)))


def of_ids_before(made: StoredManifest, ids: set[int]) -> Present:
    facts = {**made.facts, "events": len(ids), "actions": {}, "package_types": {}}
    return present(dataclasses.replace(made, facts={**facts, "ids_digest": str(of_ids(ids).ids)}))


IDS = st.sets(st.integers(1, 10**12), min_size=1, max_size=40)


@given(data=st.data(), ids=IDS, expired=st.booleans())
def test_as_many_others_are_refused(made: StoredManifest, data: st.DataObject, ids: set[int], expired: bool) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(ids)), min_size=1, max_size=3))
    late = data.draw(st.sets(st.integers(10**12 + 1, 2 * 10**12), min_size=len(gone), max_size=len(gone)))
    with pytest.raises(ShrinkError, match="by their ids, events that were exported are gone"):
        check_replacement(of_ids_before(made, ids), plan(expired=expired), of_ids(ids - gone | late))


@given(ids=IDS, late=st.sets(st.integers(10**12 + 1, 2 * 10**12), max_size=40))
def test_late_events_are_taken_while_the_server_remembers(made: StoredManifest, ids: set[int], late: set[int]) -> None:
    before = of_ids_before(made, ids)
    check_replacement(before, plan(), of_ids(ids | late))
    if len(late) <= 2:
        check_replacement(before, plan(expired=True), of_ids(ids | late))
    else:
        with pytest.raises(ShrinkError, match="more than 2 late events"):
            check_replacement(before, plan(expired=True), of_ids(ids | late))


@given(data=st.data(), ids=IDS)
def test_one_or_two_more_prove_that_all_are_there(made: StoredManifest, data: st.DataObject, ids: set[int]) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(ids)), min_size=1, max_size=1))
    more = data.draw(st.integers(2, 3))
    late = data.draw(st.sets(st.integers(10**12 + 1, 2 * 10**12), min_size=more, max_size=more))
    with pytest.raises(ShrinkError, match="are gone"):
        check_replacement(of_ids_before(made, ids), plan(), of_ids(ids - gone | late))


@pytest.mark.parametrize("names", ["actions", "package_types"])
def test_fewer_of_a_kind_are_refused(made: StoredManifest, names: str) -> None:
    now = with_ids(held(made), [7, 9, 11])
    name, count = max(made.facts[names].items())
    check_replacement(present(made), plan(), now)
    counts: Any = {**made.facts[names], name: count - 1, "another": 4}
    with pytest.raises(ShrinkError, match=f"holds {count} events with '{name}' in {names}"):
        check_replacement(present(made), plan(), dataclasses.replace(now, **{names: counts}))


@pytest.mark.parametrize("digest", [None, 7, "x", "1:2", "1:2:3:zz", "1:2:3:4:5"])
def test_a_manifest_without_a_digest_counts_for_what_it_says(made: StoredManifest, digest: Any) -> None:
    before = present(dataclasses.replace(made, facts={**made.facts, "ids_digest": digest, "actions": ["x"]}))
    check_replacement(before, plan(), held(made))
    with pytest.raises(ShrinkError, match="cannot show"):
        check_replacement(before, plan(expired=True), held(made))
