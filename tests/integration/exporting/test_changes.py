"""Events that come and go while they are read: the final truth is exported, or nothing is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import Delete, Hide, Insert, NewId, Reveal
from tests.support.exports import END, START, Bucket, export, simulated, truth_csv, truth_jsonl

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

EARLY, LATE = START + timedelta(hours=9), END - timedelta(hours=3)
ONE_CHANGE: dict[str, Any] = {
    "an event appears between others": Insert(EARLY, id=NewId.BETWEEN),
    "an event appears between the last ones": Insert(LATE, id=NewId.BETWEEN),
    "a late event appears with the next id": Insert(EARLY),
    "an event appears at the start": Insert(START, id=NewId.BETWEEN),
    "an early event disappears": Delete(EARLY),
    "a late event disappears": Delete(LATE),
    "many events disappear": Hide(EARLY, LATE),
}
#: As many come as go: counts alone cannot tell when both happen behind the reader.
TWO_CHANGES: dict[str, Any] = {
    "one disappears and one appears": (Delete(EARLY), Insert(LATE, id=NewId.BETWEEN)),
    "one appears and one disappears": (Insert(EARLY, id=NewId.BETWEEN), Delete(LATE)),
}
#: As many requests as an export of this size sends, and more: changes at later requests never happen.
REQUESTS = range(1, 10)
SERVER: dict[str, Any] = {"events": 90, "page_size": 30, "csv_rows": 30, "concurrency": 3}


def hold(bucket: Bucket, file_format: str, exact: bool = True, **server: Any) -> str:
    """Export, and hold the object against what is true in the end."""
    with simulated(**SERVER, **server) as simulator:
        try:
            result = export(bucket, file_format=file_format)
        except IncompleteExportError:
            bucket.assert_untouched()
            return "refused"
        truth = truth_csv(simulator) if file_format == "csv" else truth_jsonl(simulator)
        content = bucket.content(result["key"])
        if exact:
            assert content == truth
        else:
            assert sorted(content.splitlines()) == sorted(truth.splitlines())
        assert bucket.manifest(result["key"])["total_after"] == simulator.count(START, END)
        return "exported"


@pytest.mark.parametrize("change", ONE_CHANGE.values(), ids=ONE_CHANGE)
def test_a_change_at_any_request(change: Any, bucket: Bucket) -> None:
    outcomes = []
    for number in REQUESTS:
        outcomes.append(hold(bucket, "jsonl", changes={number: change}))
        bucket.clear()
    assert "exported" in outcomes


@pytest.mark.parametrize("name", ["an event appears between others", "an early event disappears"])
def test_a_change_at_any_request_of_csv(name: str, bucket: Bucket) -> None:
    outcomes = []
    for number in REQUESTS:
        outcomes.append(hold(bucket, "csv", changes={number: ONE_CHANGE[name]}))
        bucket.clear()
    assert "exported" in outcomes


@pytest.mark.parametrize("changes", TWO_CHANGES.values(), ids=TWO_CHANGES)
def test_two_changes_that_even_out_lose_no_event_that_stayed(changes: Any) -> None:
    # Pages one by one, so that changes happen between two of them.
    server = {**SERVER, "page_size": 12, "concurrency": 1}
    with simulated(**server) as simulator:
        before = {event["id"] for event in simulator.truth(START, END)}
    exported = 0
    for number in range(1, 16):
        with simulated(**server, changes={number: changes}) as simulator:
            try:
                ids = [event["id"] for event in CurationAuditHook().iter_events(START, END)]
            except IncompleteExportError:
                continue
            after = {event["id"] for event in simulator.truth(START, END)}
            assert ids == sorted(set(ids))
            assert before & after <= set(ids) <= before | after
            assert len(ids) == len(after)
            exported += 1
    assert exported


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_late_events_appear_at_any_request(file_format: str, bucket: Bucket) -> None:
    outcomes = []
    for number in REQUESTS:
        outcomes.append(hold(bucket, file_format, changes={1: Hide(EARLY, LATE), number + 1: Reveal()}))
        bucket.clear()
    assert "exported" in outcomes


def test_a_change_while_a_slice_of_several_is_read(bucket: Bucket) -> None:
    # An event of an early slice with the highest id of all: windows come in order of time, ids in order within each.
    outcomes = []
    for number in REQUESTS:
        outcomes.append(hold(bucket, "jsonl", exact=False, slice_rows=40, changes={number: Insert(EARLY)}))
        bucket.clear()
    assert "exported" in outcomes


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_a_tenant_that_never_rests_is_refused(file_format: str, bucket: Bucket) -> None:
    never = {number: Insert(EARLY, id=NewId.BETWEEN) for number in range(1, 300)}
    assert hold(bucket, file_format, changes=never) == "refused"


@pytest.mark.parametrize("change", ONE_CHANGE.values(), ids=ONE_CHANGE)
def test_iterating_gives_the_truth_or_an_error(change: Any) -> None:
    exported = 0
    for number in REQUESTS:
        with simulated(**SERVER, changes={number: change}) as simulator:
            try:
                events = list(CurationAuditHook().iter_events(START, END))
            except IncompleteExportError:
                continue
            assert events == list(simulator.truth(START, END))
            exported += 1
    assert exported
