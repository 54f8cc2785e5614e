"""Faults of the network and the server that pass change no byte of an export."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_curation.simulator import PASSING_FAULTS, Fault
from tests.support.exports import Bucket, export, simulated

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

#: Every fault that another try cures; the slow ones are cut short by the connection's time-out.
CURABLE = (*PASSING_FAULTS, Fault.LOGIN_PAGE, Fault.REDIRECT)
FORMATS = pytest.mark.parametrize("file_format", ["jsonl", "csv"])


def exported(bucket: Bucket, file_format: str, **server: Any) -> tuple[bytes, dict[str, Any], list[Any]]:
    """The object, its manifest and the requests behind it."""
    with simulated(seed=3, page_size=40, slice_rows=150, csv_rows=40, **server) as simulator:
        # The key and the manifest name the server, whose port differs from run to run.
        result = export(bucket, file_format=file_format, allow_shrink=True)
        manifest = bucket.manifest(result["key"])
        for name in ("instance", "exported_at", "replaces"):
            del manifest[name]
        return bucket.body(result["key"]), manifest, simulator.requests


@FORMATS
@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_the_requests_fails(file_format: str, seed: int, bucket: Bucket) -> None:
    body, manifest, _ = exported(bucket, file_format)
    # The seed of the faults is that of the events: their kinds are turned around instead.
    kinds = CURABLE[seed * 3 :] + CURABLE[: seed * 3]
    faulty, faulty_manifest, requests = exported(bucket, file_format, fault_rate=0.2, fault_kinds=kinds)
    assert sum(each.fault is not None for each in requests) >= 2
    assert faulty == body
    assert faulty_manifest == manifest


@FORMATS
@pytest.mark.parametrize("fault", [*CURABLE, Fault.HANG, Fault.STALL], ids=lambda fault: fault.value)
def test_each_fault_in_turn(file_format: str, fault: Fault, bucket: Bucket) -> None:
    body, manifest, _ = exported(bucket, file_format)
    slow = fault in (Fault.HANG, Fault.STALL)
    # A slow fault costs its time-out, so few requests suffer from it.
    schedule = dict.fromkeys((3, 4) if slow else range(1, 60, 4), fault)
    extra = {"timeout": [0.5, 0.3]} if slow else {}
    faulty, faulty_manifest, requests = exported(
        bucket, file_format, fault_schedule=schedule, extra=extra, hang=2.0, faults_everywhere=True
    )
    assert any(each.fault is not None for each in requests)
    assert not [each for each in requests if "login" in each.path], "a redirect to another host is not followed"
    assert faulty == body
    assert faulty_manifest == manifest


@FORMATS
@pytest.mark.parametrize("total_count", [True, False])
@pytest.mark.parametrize("fault", [Fault.EMPTY_PAGE, Fault.ZERO_TOTAL], ids=lambda fault: fault.value)
def test_an_answer_without_its_events_or_its_count_makes_no_hole(
    file_format: str, fault: Fault, total_count: bool, bucket: Bucket
) -> None:
    """Wherever it comes, once: the export is whole."""
    _, manifest, requests = exported(bucket, file_format, total_count=total_count)
    assert manifest["events"] == 400
    for at in range(1, min(len(requests), 9) + 1):
        _, faulty_manifest, _ = exported(bucket, file_format, total_count=total_count, fault_schedule={at: fault})
        # A false answer is written anew by the simulator, so its bytes may differ while its events do not.
        for name in ("events_read", "events", "ids_digest", "actions", "total_before", "total_after", "reconciled"):
            assert faulty_manifest[name] == manifest[name]


def test_a_fault_that_lasts_is_named_and_leaves_nothing(bucket: Bucket) -> None:
    schedule = dict.fromkeys(range(5, 200), Fault.UNAVAILABLE)
    with pytest.raises(Exception, match="503 Service Unavailable"):
        exported(bucket, "jsonl", fault_schedule=schedule)
    bucket.assert_untouched()
