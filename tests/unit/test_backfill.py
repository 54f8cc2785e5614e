"""The exports that a long range is made of, and the summary of them."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation import backfill
from airflow_provider_curation.audit.errors import (
    ExpiredWindowError,
    InvalidArgumentError,
    InvalidWindowError,
    MissingExportsError,
)
from airflow_provider_curation.backfill import export_windows, summarize_exports
from airflow_provider_curation.compat import AirflowFailException

DAY = timedelta(days=1)


@pytest.fixture
def midnight() -> datetime:
    """A day that has settled."""
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - DAY


def results_of(exports: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    return [
        {
            "start": export["start"],
            "end": export["end"],
            "stream": "dry_run" if export["dry_run"] else "events",
            "format": export["file_format"],
            "events": 10,
            "bytes": 100,
        }
        for export in exports
    ]


# The exports


def test_a_range_is_made_of_days(midnight: datetime) -> None:
    exports = export_windows(midnight - 3 * DAY, midnight)

    assert [export["start"][8:] for export in exports] == [
        f"{midnight - days * DAY:%d}T00:00:00Z" for days in (3, 2, 1)
    ]
    assert {(export["dry_run"], export["file_format"]) for export in exports} == {(False, "jsonl")}
    assert json.loads(json.dumps(exports)) == exports


def test_each_window_is_exported_in_each_stream_and_format(midnight: datetime) -> None:
    exports = export_windows(
        # As the fields of Airflow's trigger form write it.
        f"{midnight - DAY:%Y-%m-%dT%H:%M:%S.000Z}",
        f"{midnight:%Y-%m-%dT%H:%M:%S.000Z}",
        timedelta(hours=12),
        streams=["events", "dry_run"],
        formats=["jsonl", "csv"],
    )

    assert len(exports) == 8
    assert len({tuple(export.items()) for export in exports}) == 8
    assert exports[0]["end"] == exports[4]["start"]


def test_what_is_left_out_is_a_warning(midnight: datetime, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        export_windows(midnight - 60 * DAY, midnight + 10 * DAY)

    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the server has forgotten it" in record.getMessage()
    assert "not settled" in record.getMessage()


def test_a_server_that_keeps_more_is_believed(midnight: datetime, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        exports = export_windows(midnight - 60 * DAY, midnight, retention=timedelta(days=90))

    assert len(exports) == 60
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"streams": []}, "streams="),
        ({"streams": "events"}, "streams='events'"),
        ({"streams": ["events", "events"]}, "streams="),
        ({"formats": ["xml"]}, r"formats=\['xml'\].*jsonl and csv"),
        ({"step": timedelta()}, "step="),
        ({"step": 24}, "step=24 is not a duration"),
        ({"retention": 30}, "retention=30 is not a duration"),
        ({"settle_time": timedelta(minutes=-5)}, "settle_time="),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_cannot_be_used_are_named(arguments: dict[str, Any], message: str, midnight: datetime) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        export_windows(midnight - DAY, midnight, **arguments)
    assert isinstance(caught.value, AirflowFailException)  # no retry repairs it


@pytest.mark.parametrize(("start", "end"), [("2026-11-02", "2026-11-03"), ("tomorrow", "2026-11-03T00:00:00Z")])
def test_times_that_cannot_be_read_are_refused(start: str, end: str) -> None:
    with pytest.raises(InvalidWindowError, match="start="):
        export_windows(start, end)


def test_a_range_that_is_forgotten_ends_the_task() -> None:
    with pytest.raises(ExpiredWindowError) as caught:
        export_windows("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z")
    assert isinstance(caught.value, AirflowFailException)


def test_more_than_airflow_maps_is_refused_before_it_does(midnight: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "24")
    hour = timedelta(hours=1)

    assert len(export_windows(midnight - DAY, midnight, hour)) == 24
    with pytest.raises(InvalidArgumentError, match=r"in steps of 1 hour makes 48 exports.*at most 24 .*longer step"):
        export_windows(midnight - DAY, midnight, hour, formats=["jsonl", "csv"])


def test_a_number_of_exports_beyond_memory_is_refused_at_once(midnight: datetime) -> None:
    with pytest.raises(InvalidArgumentError, match="max_map_length"):
        export_windows(midnight - 10_000 * DAY, midnight, timedelta(seconds=1), retention=20_000 * DAY)


# The summary


def test_the_summary_adds_up(midnight: datetime) -> None:
    exports = export_windows(midnight - 3 * DAY, midnight)

    assert summarize_exports(exports, results_of(exports), midnight - 3 * DAY, midnight) == {
        "start": exports[0]["start"],
        "end": exports[-1]["end"],
        "exports": 3,
        "events": 30,
        "bytes": 300,
        "note": "",
    }


def test_the_summary_counts_an_event_once_in_each_stream(midnight: datetime) -> None:
    exports = export_windows(midnight - 3 * DAY, midnight, streams=["events", "dry_run"], formats=["jsonl", "csv"])

    summary = summarize_exports(exports, results_of(exports))

    assert (summary["exports"], summary["events"], summary["bytes"]) == (12, 60, 1200)


def test_the_summary_says_what_was_left_out(midnight: datetime, caplog: pytest.LogCaptureFixture) -> None:
    start, end = midnight - 60 * DAY, midnight + 10 * DAY
    exports = export_windows(start, end)
    caplog.clear()

    with caplog.at_level(logging.WARNING):
        summary = summarize_exports(exports, results_of(exports), start, end)

    assert "forgotten" in summary["note"]
    assert "not settled" in summary["note"]
    assert summary["note"] in caplog.text


def test_a_missing_export_is_named(midnight: datetime) -> None:
    exports = export_windows(midnight - 3 * DAY, midnight, formats=["jsonl", "csv"])
    results = results_of(exports)
    results[3] = None

    with pytest.raises(MissingExportsError) as caught:
        summarize_exports(exports, results)

    assert isinstance(caught.value, AirflowFailException)
    missing = f"[{exports[3]['start']}, {exports[3]['end']}) events csv"
    assert str(caught.value).startswith(f"1 of 6 exports are missing: {missing}. ")


@pytest.mark.parametrize("field", ["start", "end", "stream", "format"])
def test_another_export_s_result_is_none(field: str, midnight: datetime) -> None:
    exports = export_windows(midnight - 2 * DAY, midnight)
    results = results_of(exports)
    results[1] = {**(results[1] or {}), field: "another"}

    with pytest.raises(MissingExportsError, match="1 of 2"):
        summarize_exports(exports, results)


def test_many_missing_exports_are_counted(midnight: datetime) -> None:
    exports = export_windows(midnight - DAY, midnight, timedelta(minutes=30))

    with pytest.raises(MissingExportsError, match=r"48 of 48 exports are missing: .*, and 28 more"):
        summarize_exports(exports, [None] * 48)


@pytest.mark.parametrize("exports", [None, []])
def test_a_range_that_was_not_split_is_missing_whole(exports: Any) -> None:
    with pytest.raises(MissingExportsError, match="never split"):
        summarize_exports(exports, [])


def test_results_of_other_exports_are_refused(midnight: datetime) -> None:
    exports = export_windows(midnight - 2 * DAY, midnight)

    with pytest.raises(InvalidArgumentError, match="1 results were given for 2 exports"):
        summarize_exports(exports, results_of(exports)[:1])


def test_streams_and_formats_are_the_operator_s(midnight: datetime) -> None:
    from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
    from airflow_provider_curation.transfers.planning import file_format

    for export in export_windows(midnight - DAY, midnight, streams=backfill.STREAMS, formats=backfill.FORMATS):
        operator = CurationAuditToS3Operator(task_id="export", s3_bucket="audit-archive", **export)
        assert file_format(operator).name == export["file_format"]
