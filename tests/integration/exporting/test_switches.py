"""Whatever a server chooses, what is read is exactly what is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_curation.audit.endpoint import MAX_WIDTH
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import SimulatorSettings
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.exports import (
    END,
    START,
    TOKEN,
    Bucket,
    csv_of,
    export,
    simulated,
    truth_csv,
    truth_jsonl,
)

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

MIDDLE = START + timedelta(hours=30)

#: Values of each switch that change how answers look, but not what is true.
SWITCHES: dict[str, list[dict[str, Any]]] = {
    "seed": [{"seed": 7}],
    "events": [{"events": number} for number in (0, 1, 2, 60, 61, 119, 1500)],
    "now": [{"now": MIDDLE}, {"now": lambda: MIDDLE}],
    "retention": [{"now": END, "retention": timedelta(hours=30)}, {"now": END, "retention": timedelta(hours=1)}],
    "shape": [{"shape": shape} for shape in CHOICES["shape"]],
    "late_rate": [{"late_rate": 0.3, "now": END, "late_by": timedelta(hours=20)}],
    "max_width": [{"max_width": None}, {"max_width": MAX_WIDTH}],
    "end_bound": [{"end_bound": bound} for bound in CHOICES["end_bound"]],
    "json_rows": [{"json_rows": rows} for rows in (2, 3, 59, 60, 2000)],
    "rows_echo": [{"rows_echo": echo, "json_rows": 17} for echo in CHOICES["rows_echo"]],
    "csv_rows": [{"csv_rows": rows} for rows in (3, 17, 399, 400, 500_000)],
    "csv_over": [{"csv_over": over, "csv_rows": rows} for over in CHOICES["csv_over"] for rows in (3, 17)],
    "csv_count": [
        {"csv_count": counts, "csv_rows": rows} for counts in CHOICES["csv_count"] for rows in (10, 17, 400, 2000)
    ],
    "csv_incomplete_over": [{"csv_incomplete_over": over} for over in (70, 399, 400)],
    "last_page": [{"last_page": form} for form in CHOICES["last_page"]],
    "empty_page": [{"empty_page": form, "events": events} for form in CHOICES["empty_page"] for events in (0, 60)],
    "total_count": [{"total_count": False, "events": events} for events in (0, 1, 60, 61, 400)],
    "layout": [{"layout": layout} for layout in CHOICES["layout"]],
    "text": [{"text": text} for text in CHOICES["text"]],
    "meta_place": [{"meta_place": place} for place in CHOICES["meta_place"]],
    "error_body": [{"error_body": body, "csv_over": "refuse", "csv_rows": 17} for body in CHOICES["error_body"]],
    "short_page_every": [{"short_page_every": every} for every in (1, 2, 3)],
    "short_page_by": [{"short_page_every": every, "short_page_by": by} for every in (1, 3) for by in (2, 30, 58)],
    "csv_bom": [{"csv_bom": True}, {"csv_bom": True, "csv_rows": 17}],
    "csv_line_end": [
        {"csv_line_end": end, "csv_rows": rows} for end in CHOICES["csv_line_end"] for rows in (17, 500_000)
    ]
    + [{"csv_line_end": "crlf", "events": 0}],
    "csv_quoting": [{"csv_quoting": quoting} for quoting in CHOICES["csv_quoting"]],
    "csv_final_line_end": [{"csv_final_line_end": False, "csv_rows": rows} for rows in (17, 500_000)],
    "csv_id_column": [{"csv_id_column": place} for place in (1, 5, 26)],
    "csv_extra_column": [{"csv_extra_column": True}],
    "csv_zip_time": [{"csv_zip_time": time} for time in CHOICES["csv_zip_time"]],
    "context_path": [{"context_path": "/artifactory"}, {"context_path": "a/b"}],
    "gzip": [{"gzip": True}],
    "chunked": [{"chunked": True}, {"chunked": True, "gzip": True}],
    "content_type_refused": [{"content_type_refused": refused} for refused in (True, False)],
    "tells_entitlement": [{"tells_entitlement": False, "events": events} for events in (0, 400)],
    "version": [{"version": "3.82.0"}],
    "tokens": [{"tokens": (TOKEN,)}],
    "users": [{"users": {"auditor": "pässword: with % and / and @"}}],
    "latency": [{"latency": 0.002}],
    "latency_per_row": [{"latency_per_row": 0.0001}],
    "latency_per_skipped_row": [{"latency_per_skipped_row": 0.00005}],
    "capacity": [{"capacity": 1, "latency": 0.002, "retry_after": 0}],
    "over_capacity": [
        {"over_capacity": form, "capacity": 2, "latency": 0.002, "retry_after": 0} for form in CHOICES["over_capacity"]
    ],
    "cache_bytes": [{"cache_bytes": 0}],
}

#: Switches whose every value is tested elsewhere.
ELSEWHERE = {
    "start",  # by every test, and the combinations
    "end",
    "late_by",  # beside late_rate
    "certificate",  # test_requests
    "private_key",
    "login_url",  # test_faults
    "changes",  # test_changes
    "repeat_from",  # test_named_errors
    "entitled",
    "forbidden_tokens",
    "fault_rate",  # test_faults
    "fault_kinds",
    "fault_schedule",
    "faults_everywhere",
    "retry_after",
    "hang",
}


def _cases(last: int = 0) -> Iterator[Any]:
    """Every value of every switch, or the last few of each."""
    for name, values in SWITCHES.items():
        for value in values[-last:]:
            words = (f"{key}={getattr(each, 'value', each)}" for key, each in value.items() if not callable(each))
            yield pytest.param(value, id=f"{name}: {', '.join(words)}"[:80].encode("ascii", "replace").decode())


def test_every_switch_has_a_test() -> None:
    assert {field.name for field in fields(SimulatorSettings)} == SWITCHES.keys() | ELSEWHERE


def test_every_form_of_a_switch_has_a_test() -> None:
    for name, choices in CHOICES.items():
        assert {each[name] for values in SWITCHES.values() for each in values if name in each} == set(choices)


def hold_against_the_truth(simulator: Any, tmp_path: Path, dry_run: bool) -> None:
    """Read the window in every way that the hook has."""
    hook = CurationAuditHook()
    truth = list(simulator.truth(START, END, dry_run))
    assert hook.count_events(START, END, dry_run) == len(truth)
    assert list(hook.iter_events(START, END, dry_run)) == truth

    target = tmp_path / f"{dry_run}.zip"
    counts = hook.download_csv(START, END, target, dry_run)
    content = csv_of(target.read_bytes())
    assert content == truth_csv(simulator, dry_run=dry_run)
    assert counts["events"] == len(truth)
    assert counts["bytes"] == target.stat().st_size


def check_pages_against_the_truth(switch: dict[str, Any], truth: list[dict[str, Any]]) -> None:
    """Ask for single pages, and compare them with the events."""
    hook = CurationAuditHook()
    end = END - timedelta(seconds=1) if switch.get("end_bound") == "inclusive" else END
    envelope = hook.get_page(START, end, direction="desc", num_of_rows=2, include_total=True)
    assert envelope["data"] == truth[:-3:-1]
    assert envelope["meta"].get("total_count", len(truth)) == len(truth)
    second = hook.get_page(START.isoformat(), end.isoformat(), num_of_rows=2, offset=1)
    assert second["data"] == truth[1:3]
    assert hook.get_page(START, end, offset=len(truth))["data"] == []


@pytest.mark.parametrize("dry_run", [False, True], ids=["events", "dry-run"])
@pytest.mark.parametrize("switch", _cases())
def test_the_hook_reads_the_truth(switch: dict[str, Any], dry_run: bool, tmp_path: Path) -> None:
    with simulated(**switch) as simulator:
        hold_against_the_truth(simulator, tmp_path, dry_run)
        if not dry_run and "short_page_every" not in switch:
            check_pages_against_the_truth(switch, list(simulator.truth(START, END)))


@pytest.mark.parametrize("switch", _cases(last=2))
def test_an_export_holds_the_truth(switch: dict[str, Any], bucket: Bucket) -> None:
    with simulated(slice_rows=150, **switch) as simulator:
        jsonl = export(bucket)
        assert bucket.content(jsonl["key"]) == truth_jsonl(simulator)
        assert jsonl["events"] == simulator.count(START, END)

        table = export(bucket, file_format="csv")
        assert bucket.content(table["key"]) == truth_csv(simulator)
        assert table["events"] == simulator.count(START, END)
        assert table["actions"] == jsonl["actions"]
    assert bucket.uploads() == []
