"""What the operator leaves in S3 and tells Airflow."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatch
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_curation import __version__
from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.compat import AirflowSkipException, Asset, airflow_version
from airflow_provider_curation.links import CurationAuditLink, S3ManifestLink, S3ObjectLink
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.simulator import Delete, Simulator
from airflow_provider_curation.transfers import curation_audit_to_s3, progress
from tests.support.exports import (
    END,
    REAL_STORE,
    START,
    Bucket,
    QuickEvent,
    csv_rows,
    export,
    operator,
    simulated,
    truth_csv,
    truth_jsonl,
)

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

FORMATS = pytest.mark.parametrize("file_format", ["jsonl", "csv"])


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A server that nobody changes."""
    with simulated() as simulator:
        yield simulator


@pytest.fixture
def log_text(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Everything that was logged so far, by either of Airflow's ways."""
    caplog.set_level("INFO")
    seen: list[str] = []

    def text() -> str:
        captured = capfd.readouterr()
        seen.extend((captured.out, captured.err))
        return caplog.text + "".join(seen)

    return text


# Keys


def test_the_default_key(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, s3_prefix="curation", s3_key=DEFAULT_KEY)
    folder = f"instance=127.0.0.1_{server.port}/stream=events/format=jsonl/dt=2025-11-03"
    below = f"{folder}/20251103T000000Z_20251105T000000Z.jsonl.gz"
    assert result["key"] == f"curation/{below}"
    assert result["manifest_key"] == f"curation/_manifests/{below}.json"
    assert result["uri"] == f"s3://{bucket.name}/{result['key']}"
    assert bucket.objects() == [result["manifest_key"], result["key"]]
    dry = export(bucket, s3_prefix="curation", s3_key=DEFAULT_KEY, dry_run=True, file_format="csv")
    assert dry["key"] == result["key"].replace("=events/", "=dry_run/").replace("=jsonl/", "=csv/").replace(
        ".jsonl.gz", ".csv.zip"
    )


def test_a_full_url_names_the_bucket(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, s3_bucket=None, s3_key=f"s3://{bucket.name}/a/{{stream}}/{{file_format}}{{suffix}}")
    assert result["uri"] == f"s3://{bucket.name}/a/events/jsonl.jsonl.gz"
    assert bucket.objects() == [result["manifest_key"], result["key"]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"s3_bucket": ""}, "s3_bucket"),
        ({"s3_key": "{nothing}"}, "s3_key"),
        ({"s3_key": "folder/"}, "s3_key"),
        ({"s3_key": "s3://other/key"}, "s3_bucket"),
        ({"file_format": "avro"}, "file_format"),
        ({"file_format": "csv", "compression": "zstd"}, "compression"),
        ({"compression": "lzma"}, "compression"),
        ({"on_expired": "ignore"}, "on_expired"),
        ({"actions": "blocked"}, "actions"),
        ({"policies": []}, "policies"),
        ({"start": "2025-11-03T00:00:00"}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"end": START}, "start"),
        ({"curation_conn_id": "there_is_none"}, "curation_conn_id"),
    ],
)
def test_bad_input_is_named_before_any_request(
    arguments: dict[str, Any], word: str, server: Simulator, bucket: Bucket
) -> None:
    server.reset_log()
    with pytest.raises(errors.InvalidArgumentError, match=word):
        export(bucket, **arguments)
    assert server.requests == []
    bucket.assert_untouched()


# Bytes


@pytest.mark.parametrize(
    ("file_format", "compression", "suffix"),
    [
        ("jsonl", None, ".jsonl.gz"),
        ("jsonl", "gzip", ".jsonl.gz"),
        ("jsonl", "zip", ".jsonl.zip"),
        ("jsonl", "zstd", ".jsonl.zst"),
        ("jsonl", "none", ".jsonl"),
        ("csv", None, ".csv.zip"),
        ("csv", "zip", ".csv.zip"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["events", "dry-run"])
def test_every_format_holds_the_truth(
    file_format: str, compression: str | None, suffix: str, dry_run: bool, server: Simulator, bucket: Bucket
) -> None:
    result = export(bucket, file_format=file_format, compression=compression, dry_run=dry_run)
    assert result["key"] == f"export{suffix}"
    content = bucket.content(result["key"])
    truth = truth_csv if file_format == "csv" else truth_jsonl
    assert content == truth(server, dry_run=dry_run)
    manifest = bucket.manifest(result["key"])
    assert manifest["content_sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["stream"] == ("dry_run" if dry_run else "events")


@FORMATS
def test_a_second_run_writes_the_same_bytes(file_format: str, server: Simulator, bucket: Bucket) -> None:
    first = export(bucket, file_format=file_format)
    bodies = [bucket.body(key) for key in bucket.objects()]
    assert export(bucket, file_format=file_format) == {**first, "uploaded": False}
    assert [bucket.body(key) for key in bucket.objects()] == bodies


def test_gzip_and_zip_bear_no_time_and_no_name(server: Simulator, bucket: Bucket) -> None:
    packed = bucket.body(export(bucket)["key"])
    assert packed[4:8] == b"\0\0\0\0"
    assert not packed[3] & 0b1000
    archive = bucket.body(export(bucket, file_format="csv")["key"])
    with zipfile.ZipFile(BytesIO(archive)) as file:
        assert [info.date_time for info in file.infolist()] == [(1980, 1, 1, 0, 0, 0)]


@FORMATS
def test_an_empty_window_is_proof_of_absence(file_format: str, bucket: Bucket) -> None:
    with simulated(events=0) as simulator:
        result = export(bucket, file_format=file_format)
        truth = truth_csv(simulator) if file_format == "csv" else b""
    assert bucket.content(result["key"]) == truth
    if file_format == "csv":
        assert truth.startswith(b"id,created_at,")
        assert truth.count(b"\n") == 1
    assert (result["events"], result["rows"], result["actions"]) == (0, 0, {})
    manifest = bucket.manifest(result["key"])
    assert (manifest["total_before"], manifest["total_after"], manifest["reconciled"]) == (0, 0, True)
    assert manifest["first_id"] is manifest["last_id"] is None


# The manifest


@FORMATS
def test_the_manifest_is_true(file_format: str, server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, file_format=file_format, settle_time=timedelta(minutes=7))
    body, content = bucket.body(result["key"]), bucket.content(result["key"])
    truth = list(server.truth(START, END))
    rows = csv_rows(content) if file_format == "csv" else content.splitlines()
    policies = [{policy["policy_name"] for policy in event["policies"] or ()} for event in truth]
    manifest = bucket.manifest(result["key"])
    checksum = manifest.pop("checksum")
    if REAL_STORE:
        # Ceph's gateway keeps none.
        assert checksum is None
    else:
        # Of the one part.
        parts = base64.b64encode(hashlib.sha256(hashlib.sha256(body).digest()).digest()).decode()
        assert checksum == {"algorithm": "SHA256", "type": "COMPOSITE", "value": parts}
    exported_at = datetime.fromisoformat(manifest.pop("exported_at").replace("Z", "+00:00"))
    assert timedelta(0) <= datetime.now(timezone.utc) - exported_at < timedelta(minutes=1)
    assert manifest == {
        "start": "2025-11-03T00:00:00Z",
        "end": "2025-11-05T00:00:00Z",
        "stream": "events",
        "instance": f"127.0.0.1_{server.port}",
        "bucket": bucket.name,
        "key": result["key"],
        "format": file_format,
        "compression": "zip" if file_format == "csv" else "gzip",
        "events_read": len(truth),
        "events": len(truth),
        "rows": len(rows),
        "actions": dict(Counter(event["action"] for event in truth)),
        "package_types": dict(Counter(event["package_type"] for event in truth)),
        "policies": dict(Counter(name for names in policies for name in names)),
        "first_id": truth[0]["id"],
        "first_created_at": truth[0]["created_at"],
        "last_id": truth[-1]["id"],
        "last_created_at": truth[-1]["created_at"],
        "ids_digest": str(IdsDigest.of([event["id"] for event in truth])),
        "total_before": len(truth),
        "total_after": len(truth),
        "reconciled": True,
        "reconciled_why": "the server counted 400 events before and after reading, and as many were read",
        "filters": {},
        "personal_data": {"csv_safe": False, "pseudonymized": [], "pseudonym_key_id": None},
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_size": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "settle_seconds": 420,
        "provider_version": __version__,
        "airflow_version": airflow_version(),
        "dag_run": {},
        "manifest_version": 1,
        "etag": bucket.head(result["key"])["ETag"].strip('"'),
        "version_id": None,
        "encryption": {},
        "object_lock": {},
        "replaces": None,
        "replaced": None,
        "derived_from": None,
        "writer": None,
    }


def test_the_manifest_names_the_run(server: Simulator, bucket: Bucket) -> None:
    run = {"dag_id": "audit", "run_id": "scheduled__1", "task_id": "export", "map_index": -1, "try_number": 2}
    task_instance = SimpleNamespace(**run, xcom_push=lambda **pushed: None)
    result = operator(bucket).execute({"ti": task_instance})
    assert bucket.manifest(result["key"])["dag_run"] == run


@pytest.mark.parametrize(
    "filters",
    [
        {"actions": ["blocked"]},
        {"actions": ["block*", "passed"]},
        {"package_types": ["npm", "Py*"]},
        {"repositories": ["*npm*"]},
        {"policies": ["*"]},
        {"actions": ["blocked"], "package_types": ["*"], "policies": ["*a*"]},
        {"actions": ["there is no such action"]},
    ],
    ids=str,
)
def test_filters_keep_the_same_events_in_both_formats(
    filters: dict[str, list[str]], server: Simulator, bucket: Bucket
) -> None:
    jsonl, table = export(bucket, **filters), export(bucket, file_format="csv", **filters)
    truth = list(server.truth(START, END))
    wanted = [event for event in truth if _wanted(event, filters)]
    assert [json.loads(line) for line in bucket.content(jsonl["key"]).splitlines()] == wanted
    rows = csv_rows(bucket.content(table["key"]))
    assert list(dict.fromkeys(int(row["id"]) for row in rows)) == [event["id"] for event in wanted]
    assert len(rows) == table["rows"]
    every_row = csv_rows(truth_csv(server))
    assert rows == [row for row in every_row if int(row["id"]) in {event["id"] for event in wanted}]
    for result in (jsonl, table):
        manifest = bucket.manifest(result["key"])
        assert manifest["filters"] == filters
        assert (manifest["events_read"], manifest["events"]) == (len(truth), len(wanted))
        assert manifest["reconciled"] is True
        assert result["actions"] == dict(Counter(event["action"] for event in wanted))


def _wanted(event: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    policies = event["policies"] or []
    values = {
        "actions": [event["action"]],
        "package_types": [event["package_type"]],
        "repositories": [event["curated_repository_name"]],
        "policies": [str(policy[key]) for policy in policies for key in ("policy_name", "policy_id")],
    }
    return all(any(fnmatch(value, pattern) for value in values[name] for pattern in patterns)
               for name, patterns in filters.items())  # fmt: skip


# How S3 stores it


@pytest.mark.skipif(bool(REAL_STORE), reason="needs a store with TLS")
def test_sse_goes_to_the_object_and_the_manifest(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, encrypt=True)
    for key in (result["key"], result["manifest_key"]):
        assert bucket.head(key)["ServerSideEncryption"] == "AES256"


@pytest.mark.skipif(bool(REAL_STORE), reason="needs a store with TLS")
def test_extra_arguments_go_to_the_object_and_the_manifest(server: Simulator, bucket: Bucket) -> None:
    extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "made-up-key-id", "Metadata": {"team": "audit"}}
    result = export(bucket, s3_extra_args=extra)
    for key in (result["key"], result["manifest_key"]):
        head = bucket.head(key)
        assert head["ServerSideEncryption"] == "aws:kms"
        assert "made-up-key-id" in head["SSEKMSKeyId"]
        assert head["Metadata"]["team"] == "audit"
    assert bucket.head(result["manifest_key"])["ContentType"] == "application/json"
    assert extra.keys() == {"ServerSideEncryption", "SSEKMSKeyId", "Metadata"}


def test_the_acl_goes_to_the_object_and_the_manifest(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, acl_policy="public-read")
    # moto forgets the ACL of a multipart upload.
    keys = (result["key"], result["manifest_key"]) if REAL_STORE else (result["manifest_key"],)
    for key in keys:
        grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=key)["Grants"]
        assert "READ" in [grant["Permission"] for grant in grants]
    private = export(bucket, s3_key="private{suffix}")
    assert len(bucket.client.get_object_acl(Bucket=bucket.name, Key=private["manifest_key"])["Grants"]) < len(grants)


# What was there before


def test_replace_false_keeps_what_is_there(server: Simulator, bucket: Bucket) -> None:
    first = export(bucket, replace=False)
    with pytest.raises(errors.ObjectExistsError, match="replace=False"):
        export(bucket, replace=False)
    assert bucket.manifest(first["key"])["sha256"] == first["sha256"]


@FORMATS
def test_an_export_never_shrinks_what_is_there(file_format: str, bucket: Bucket) -> None:
    with simulated() as simulator:
        first = export(bucket, file_format=file_format)
        bodies = [bucket.body(key) for key in bucket.objects()]
        simulator.delete(START + timedelta(hours=20))
        with pytest.raises(errors.ShrinkError, match="400 events, and would be replaced by 399"):
            export(bucket, file_format=file_format)
        assert [bucket.body(key) for key in bucket.objects()] == bodies
        assert bucket.uploads() == []

        smaller = export(bucket, file_format=file_format, allow_shrink=True)
        assert (first["events"], smaller["events"]) == (400, 399)
        simulator.insert(START + timedelta(hours=2))
        assert export(bucket, file_format=file_format)["events"] == 400


@FORMATS
@pytest.mark.parametrize("dry_run", [False, True], ids=["events", "dry-run"])
def test_a_late_event_does_not_make_up_for_one_that_is_gone(file_format: str, dry_run: bool, bucket: Bucket) -> None:
    arguments: dict[str, Any] = {"file_format": file_format, "dry_run": dry_run}
    with simulated() as simulator:
        first = export(bucket, **arguments)
        bodies = [bucket.body(key) for key in bucket.objects()]
        gone = next(iter(simulator.truth(START + timedelta(hours=20), END, dry_run)))["id"]
        simulator.delete(gone)
        for _ in range(first["events"] - simulator.count(START, END, dry_run)):
            simulator.insert(START + timedelta(hours=30), dry_run=dry_run)
        with pytest.raises(errors.ShrinkError, match="are gone"):
            export(bucket, **arguments)
        assert [bucket.body(key) for key in bucket.objects()] == bodies


def test_a_rerun_that_keeps_nothing_still_states_the_new_count(bucket: Bucket) -> None:
    arguments: dict[str, Any] = {"compression": "none", "actions": ["nothing"]}
    with simulated() as simulator:
        first = export(bucket, **arguments)
        assert (first["bytes"], export(bucket, **arguments)["uploaded"]) == (0, False)
        simulator.insert(START + timedelta(hours=2))
        again = export(bucket, **arguments)
        manifest = bucket.manifest(again["key"])
        assert (again["uploaded"], manifest["events_read"], manifest["total_after"]) == (True, 401, 401)


def test_an_export_of_another_window_is_no_replacement(server: Simulator, bucket: Bucket) -> None:
    first = export(bucket)
    with pytest.raises(errors.ShrinkError, match="another window"):
        export(bucket, end=END + timedelta(days=1))
    assert bucket.manifest(first["key"])["sha256"] == first["sha256"]


def test_filters_that_want_less_are_no_replacement(server: Simulator, bucket: Bucket) -> None:
    first = export(bucket)
    with pytest.raises(errors.ShrinkError, match="with filters"):
        export(bucket, actions=["blocked"])
    assert bucket.manifest(first["key"])["sha256"] == first["sha256"]


def test_an_upload_left_open_is_aborted_on_its_own_key_only(server: Simulator, bucket: Bucket) -> None:
    for key in ("export.jsonl.gz", "export.jsonl.gz", "export.jsonl.gz.other", "another"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    export(bucket)
    assert sorted(bucket.uploads()) == ["another", "export.jsonl.gz.other"]


def test_events_that_disappear_at_the_last_count_leave_the_old_object(bucket: Bucket) -> None:
    with simulated() as simulator:
        export(bucket)
        requests = len(simulator.requests)
        bodies = [bucket.body(key) for key in bucket.objects()]
    change = {number: Delete(START) for number in range(requests, requests + 200)}
    with simulated(changes=change), pytest.raises((errors.IncompleteExportError, errors.ShrinkError)):
        export(bucket)
    assert [bucket.body(key) for key in bucket.objects()] == bodies


# Time


@pytest.fixture
def recent() -> Iterator[tuple[Simulator, datetime, datetime]]:
    """A server with events of the last days, and yesterday's window."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    start, end = now - timedelta(days=2), now - timedelta(days=1)
    with simulated(start=now - timedelta(days=4), end=now) as simulator:
        yield simulator, start, end


def test_an_expired_window_fails(recent: Any, bucket: Bucket) -> None:
    simulator, start, end = recent
    with pytest.raises(errors.ExpiredWindowError, match="on_expired"):
        export(bucket, start=start, end=end, retention=timedelta(hours=47))
    assert simulator.requests == []
    bucket.assert_untouched()
    assert export(bucket, start=start, end=end, retention=timedelta(hours=49))["events"] > 0


def test_an_expired_window_is_skipped(recent: Any, bucket: Bucket) -> None:
    _, start, end = recent
    with pytest.raises(AirflowSkipException):
        export(bucket, start=start, end=end, retention=timedelta(hours=47), on_expired="skip")
    bucket.assert_untouched()


def test_an_expired_window_is_exported_with_a_warning(recent: Any, bucket: Bucket, log_text: Callable[[], str]) -> None:
    simulator, start, end = recent
    result = export(bucket, start=start, end=end, retention=timedelta(hours=47), on_expired="warn")
    assert bucket.content(result["key"]) == truth_jsonl(simulator, start, end)
    assert "on_expired='warn'" in log_text()


def test_the_default_retention_is_thirty_days(bucket: Bucket) -> None:
    start = datetime.now(timezone.utc) - timedelta(days=31)
    with simulated(), pytest.raises(errors.ExpiredWindowError):
        export(bucket, start=start, end=start + timedelta(hours=1), retention=RETENTION)


def test_a_window_of_the_future_is_refused(server: Simulator, bucket: Bucket) -> None:
    now = datetime.now(timezone.utc)
    with pytest.raises(errors.FutureWindowError, match="more than a day ahead"):
        export(bucket, start=now, end=now + timedelta(days=1, minutes=1))
    with pytest.raises(errors.FutureWindowError):
        export(bucket, start=now, end=now + timedelta(days=30), deferrable=True)


class Clock(datetime):
    """The operator's clock, which is put forward rather than waited for."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(Clock, "ahead", timedelta(0))
    monkeypatch.setattr(curation_audit_to_s3, "datetime", Clock)
    return Clock


def test_an_unsettled_window_is_waited_for_in_the_worker(
    recent: Any, bucket: Bucket, clock: type[Clock], log_text: Callable[[], str]
) -> None:
    simulator, start, _ = recent
    end = datetime.now(timezone.utc).replace(microsecond=0)
    waits: list[float] = []

    class Waiting(QuickEvent):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            assert simulator.requests == []
            waits.append(timeout)
            clock.ahead += timedelta(seconds=timeout)
            return self.is_set()

    exporting = operator(bucket, start=start, end=end, settle_time=timedelta(hours=1), deferrable=False)
    vars(exporting)["_stop"] = Waiting()
    result = exporting.execute({})
    assert clock.now(timezone.utc) >= end + timedelta(hours=1)
    # On a slow machine some of the hour has passed by itself.
    assert 1800 < sum(waits) <= 3600
    assert max(waits) <= 60
    assert bucket.content(result["key"]) == truth_jsonl(simulator, start, end)
    assert "settles in" in log_text()


def test_an_unsettled_window_is_waited_for_in_the_triggerer(recent: Any, bucket: Bucket, clock: type[Clock]) -> None:
    simulator, start, _ = recent
    end = datetime.now(timezone.utc).replace(microsecond=0)
    arguments = {"start": start, "end": end, "settle_time": timedelta(hours=1), "deferrable": True}
    with pytest.raises(TaskDeferred) as deferred:
        export(bucket, **arguments)
    assert simulator.requests == []
    bucket.assert_untouched()
    assert deferred.value.method_name == "execute_complete"
    path, _ = deferred.value.trigger.serialize()
    assert "trigger" in path.lower()

    # Another worker goes on with a new operator, at a time when the window has settled.
    clock.ahead = timedelta(hours=1)
    result = operator(bucket, **arguments).execute_complete({}, None)
    assert bucket.content(result["key"]) == truth_jsonl(simulator, start, end)


def test_a_settled_window_is_not_deferred(server: Simulator, bucket: Bucket) -> None:
    assert export(bucket, deferrable=True)["events"] == 400


# The window


def test_the_window_is_the_run_s_interval(server: Simulator, bucket: Bucket) -> None:
    context: Any = {"data_interval_start": START, "data_interval_end": END}
    result = operator(bucket, start=None, end=None).execute(context)
    assert (result["start"], result["end"]) == ("2025-11-03T00:00:00Z", "2025-11-05T00:00:00Z")
    with pytest.raises(errors.UndefinedWindowError, match="CronDataIntervalTimetable"):
        operator(bucket, start=None, end=None).execute({"data_interval_start": START, "data_interval_end": START})
    with pytest.raises(errors.UndefinedWindowError):
        operator(bucket, start=None, end=None).execute({})


def test_any_time_zone_names_the_same_window(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, start="2025-11-03T02:00:00+02:00", end="2025-11-04T19:00:00-05:00")
    assert bucket.content(result["key"]) == truth_jsonl(server)
    assert (result["start"], result["end"]) == ("2025-11-03T00:00:00Z", "2025-11-05T00:00:00Z")


def test_a_window_wider_than_the_server_answers(bucket: Bucket) -> None:
    end = START + timedelta(days=20)
    with simulated(events=800, end=end) as simulator:
        jsonl, table = export(bucket, end=end), export(bucket, end=end, file_format="csv")
        assert bucket.content(jsonl["key"]) == truth_jsonl(simulator, START, end)
        assert bucket.content(table["key"]) == truth_csv(simulator, START, end)


# What Airflow is told


def test_the_result(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, file_format="csv")
    body = bucket.body(result["key"])
    truth = list(server.truth(START, END))
    actions = Counter(event["action"] for event in truth)
    said = [f"{len(truth)} events", *(f"{count} {action}" for action, count in sorted(actions.items())), "reconciled"]
    assert result == {
        "uri": f"s3://{bucket.name}/export.csv.zip",
        "bucket": bucket.name,
        "key": "export.csv.zip",
        "manifest_key": "_manifests/export.csv.zip.json",
        "start": "2025-11-03T00:00:00Z",
        "end": "2025-11-05T00:00:00Z",
        "stream": "events",
        "format": "csv",
        "events": len(truth),
        "rows": len(csv_rows(truth_csv(server))),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "actions": dict(actions),
        "uploaded": True,
        "summary": f"[2025-11-03T00:00:00Z, 2025-11-05T00:00:00Z): {', '.join(said)}",
    }
    assert json.loads(json.dumps(result)) == result


class OutletEvents(dict[str, Any]):
    """The events of a task's outlets; Airflow finds them by an asset's address, since assets need not be hashable."""

    def __getitem__(self, asset: Any) -> Any:
        return self.setdefault(asset.uri, SimpleNamespace(extra={}))


def test_outlets_and_links_get_the_result(server: Simulator, bucket: Bucket) -> None:
    asset = Asset("s3://audit-archive/curation")
    events = OutletEvents()
    pushed: dict[str, Any] = {}
    task_instance = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    result = operator(bucket, outlets=[asset]).execute({"outlet_events": events, "ti": task_instance})
    assert events[asset].extra == result
    assert len(events) == 1
    store = f"{bucket.client.meta.endpoint_url}/{bucket.name}"
    assert pushed == {
        S3ObjectLink.xcom_key: f"{store}/{result['key']}",
        S3ManifestLink.xcom_key: f"{store}/{result['manifest_key']}",
        CurationAuditLink.xcom_key: f"{server.url}/ui/package-curation/audit",
    }


@FORMATS
def test_no_person_is_named_in_the_result_or_the_log(
    file_format: str, server: Simulator, bucket: Bucket, log_text: Callable[[], str]
) -> None:
    result = export(bucket, file_format=file_format)
    people = {event[key] for event in server.truth(START, END) for key in ("username", "user_mail")} - {"", None}
    assert people
    text = log_text() + json.dumps(result) + json.dumps(bucket.manifest(result["key"]))
    assert "Exported 400 events" in text
    assert not [person for person in people if person in text]


def test_progress_is_logged(bucket: Bucket, log_text: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = progress.ProgressLog.__init__.__defaults__
    assert defaults == (10.0,)
    monkeypatch.setattr(progress.ProgressLog.__init__, "__defaults__", (0.05,))
    with simulated(slice_rows=60, latency=0.05):
        export(bucket)
    text = log_text()
    assert " of 400 events, " in text
    assert " events/s, " in text
    assert re.search(r"about \d+ seconds? left", text)


def test_a_stop_before_the_start_exports_nothing(server: Simulator, bucket: Bucket) -> None:
    stopped = operator(bucket)
    stopped.on_kill()
    with pytest.raises(errors.StoppedError):
        stopped.execute({})
    bucket.assert_untouched()


def test_memory_holds_no_export(bucket: Bucket) -> None:
    """Many slices, small pages: what is read is written on the way, part by part."""
    with simulated(events=3000, slice_rows=200, page_size=100) as simulator:
        result = export(bucket, compression="gzip")
        assert gzip.decompress(bucket.body(result["key"])) == truth_jsonl(simulator)
