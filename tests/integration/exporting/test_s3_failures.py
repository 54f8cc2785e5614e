"""S3 fails at any one call: nothing is left of the export, and the next try succeeds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import ArchiveError, ExportUnderWayError, IncompleteExportError
from airflow_provider_curation.s3 import claim
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.simulator import NewId, Simulator
from tests.support.exports import (
    AWS,
    REAL_STORE,
    START,
    Bucket,
    aws_connection,
    export,
    operator,
    simulated,
    truth_jsonl,
)
from tests.support.s3_proxy import Failure, S3Proxy

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

#: With boto's 8 MiB a part, the object of the large export has two.
LARGE: dict[str, Any] = {"events": 9_500, "page_size": 2000, "conn_id": "curation_large"}
MOST_REQUESTS = 40
#: What closes what is open: it is asked again if it fails.
CLOSING = ("GET bucket uploads", "DELETE manifest uploadId")


@contextmanager
def failing_s3(url: str, fails: dict[int, Failure] | None = None) -> Iterator[S3Proxy]:
    """Let the connection ``aws_faulty`` lead to the S3 API over a proxy."""
    with S3Proxy(url, fails=fails) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_FAULTY", json.dumps(aws_connection(proxy.url)))
        yield proxy


@pytest.fixture(scope="module")
def small() -> Iterator[Simulator]:
    with simulated() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def large() -> Iterator[Simulator]:
    with simulated(**LARGE) as simulator:
        yield simulator


def sweep(s3_url: str, bucket: Bucket, truth: bytes, failure: Failure, **arguments: Any) -> list[str]:
    """Fail the first call, then the second, and so on until an export succeeds; return the calls of that one."""
    faulty: dict[str, Any] = {"aws_conn_id": "aws_faulty", **arguments}
    for number in range(1, MOST_REQUESTS):
        with failing_s3(s3_url, {number: failure}) as proxy:
            result = None
            with contextlib.suppress(ArchiveError):
                result = export(bucket, **faulty)
        assert result is not None or len(proxy.requests) >= number, "failed before the call that was to fail"
        if result is not None and len(proxy.requests) < number:
            assert bucket.content(result["key"]) == truth
            assert bucket.objects() == sorted((result["key"], result["manifest_key"]))
            assert bucket.uploads() == []
            return proxy.requests
        name = proxy.requests[number - 1]
        if result is not None:
            assert name in CLOSING or failure is Failure.ANSWER_LOST, "a call that failed must not be overlooked"
        assert bucket.uploads() == [], proxy.requests
        if bucket.objects():
            # Everything is there, and the next try finds that it is.
            [key] = bucket.exports()
            assert bucket.content(key) == truth
            assert export(bucket, **{**faulty, "aws_conn_id": AWS})["uploaded"] is False
            bucket.clear()
    pytest.fail("no export succeeded")


@pytest.mark.parametrize("failure", [Failure.INTERNAL, Failure.SLOW_DOWN, Failure.RESET, Failure.ANSWER_LOST])
def test_a_small_object(failure: Failure, small: Simulator, s3_url: str, bucket: Bucket) -> None:
    calls = sweep(s3_url, bucket, truth_jsonl(small), failure)
    assert calls.count("PUT object uploadId partNumber") == 1
    assert calls[-1] in CLOSING


@pytest.mark.slow
@pytest.mark.parametrize("failure", [Failure.RESET, Failure.ANSWER_LOST])
def test_an_object_of_several_parts(failure: Failure, large: Simulator, s3_url: str, bucket: Bucket) -> None:
    calls = sweep(s3_url, bucket, truth_jsonl(large), failure, compression="none", curation_conn_id="curation_large")
    assert calls.count("PUT object uploadId partNumber") == 2
    assert "POST object uploads" in calls
    assert "POST object uploadId" in calls


def test_a_bucket_whose_uploads_may_not_be_listed(small: Simulator, s3_url: str, bucket: Bucket) -> None:
    with failing_s3(s3_url) as proxy:
        export(bucket, aws_conn_id="aws_faulty")
        listing = proxy.requests.index("GET bucket uploads") + 1
    bucket.clear()
    with failing_s3(s3_url, {listing: Failure.DENIED}):
        result = export(bucket, aws_conn_id="aws_faulty")
    assert bucket.content(result["key"]) == truth_jsonl(small)


@pytest.mark.parametrize("failure", [Failure.INTERNAL, Failure.ANSWER_LOST])
def test_an_object_that_was_there_is_never_lost(failure: Failure, s3_url: str, bucket: Bucket) -> None:
    with simulated(events=90) as simulator:
        before = export(bucket)
        manifests = [bucket.manifest(before["key"])["sha256"]]
        contents = [truth_jsonl(simulator)]
        simulator.insert(START, id=NewId.BETWEEN)
        contents.append(truth_jsonl(simulator))
        kept = {key: bucket.body(key) for key in bucket.objects()}
        for number in range(1, MOST_REQUESTS):
            for key, body in kept.items():
                bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
            with failing_s3(s3_url, {number: failure}) as proxy, contextlib.suppress(ArchiveError):
                export(bucket, aws_conn_id="aws_faulty")
            assert bucket.content(before["key"]) in contents
            assert bucket.manifest(before["key"])["sha256"] in [*manifests, _sha256(bucket, before["key"])]
            if len(proxy.requests) < number:
                assert bucket.content(before["key"]) == contents[1]
                assert bucket.manifest(before["key"])["sha256"] == _sha256(bucket, before["key"])
                assert bucket.uploads() == []
                return
            assert bucket.uploads() == []
    pytest.fail("no export succeeded")


def _sha256(bucket: Bucket, key: str) -> str:
    return hashlib.sha256(bucket.body(key)).hexdigest()


def tried(bucket: Bucket, number: int, **arguments: Any) -> dict[str, Any]:
    names = {"dag_id": "dag", "run_id": "run", "task_id": "export", "map_index": -1, "try_number": number}
    # Airflow 2 refuses execute() in the proxy's thread.
    return operator(bucket, **arguments)._execute({"ti": SimpleNamespace(**names, xcom_push=lambda **_: None)})


@pytest.mark.parametrize("failure", [Failure.INTERNAL, Failure.ANSWER_LOST])
def test_a_failing_try_keeps_what_the_next_one_finished_meanwhile(
    failure: Failure, small: Simulator, s3_url: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a worker stands still for longer than a claim lasts, beside the next try, and fails after that ended."""
    monkeypatch.setattr(claim, "LEASE_SECONDS", -1)
    monkeypatch.setattr(claim, "RENEW_SECONDS", -1)
    monkeypatch.setattr(Claim, "_keep_renewing", lambda self: None)
    for number in range(1, MOST_REQUESTS):
        with failing_s3(s3_url, {number: failure}) as proxy:
            finished: list[dict[str, Any]] = []

            def next_try(count: int, name: str, at: int = number, finished: Any = finished) -> None:
                if count == at:
                    with contextlib.suppress(ExportUnderWayError):
                        finished.append(tried(bucket, 2))

            proxy.before = next_try
            with contextlib.suppress(ArchiveError):
                finished.append(tried(bucket, 1, aws_conn_id="aws_faulty"))
        if len(proxy.requests) < number:
            assert finished
            return
        if finished:
            [key] = bucket.exports()
            assert bucket.content(key) == truth_jsonl(small), proxy.requests
            assert bucket.manifest(key)["sha256"] == _sha256(bucket, key)
        bucket.abort_uploads()
        bucket.clear()
    pytest.fail("no export had fewer calls")


def test_a_live_export_is_left_alone(small: Simulator, s3_url: str, bucket: Bucket) -> None:
    """Daily and backfill runs of one window can overlap: the later one ends early, with an error worth a retry."""
    refused: list[str] = []
    with failing_s3(s3_url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "LEASE_SECONDS", 30)
        patch.setattr(claim, "RENEW_SECONDS", 0.1)

        def other_run(number: int, name: str) -> None:
            if name == "POST object uploadId" and not refused:
                refused.append("")
                with pytest.raises(ExportUnderWayError, match="another export of this window is running") as caught:
                    tried(bucket, 1)
                refused.append(str(caught.value))
                assert caught.value.retry_task

        proxy.before = other_run
        result = export(bucket, aws_conn_id="aws_faulty")
    assert len(refused) == 2
    assert bucket.content(result["key"]) == truth_jsonl(small)
    assert bucket.uploads() == []


def test_an_upload_that_nobody_knows_is_aborted_at_the_end(small: Simulator, s3_url: str, bucket: Bucket) -> None:
    """boto asks again when S3's answer is lost: S3 has begun two uploads then."""
    with failing_s3(s3_url) as proxy:

        def begin_another(number: int, name: str) -> None:
            if name == "POST object uploads":
                bucket.client.create_multipart_upload(Bucket=bucket.name, Key="export.jsonl.gz")

        proxy.before = begin_another
        result = export(bucket, aws_conn_id="aws_faulty")
    assert bucket.content(result["key"]) == truth_jsonl(small)
    assert bucket.uploads() == []


def test_the_claim_of_a_killed_try_that_had_finished_ends_with_the_next_one(
    small: Simulator, s3_url: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try has nothing to write. It need not wait until the claim lapses: its holder's export is finished."""
    with monkeypatch.context() as patch:
        patch.setattr(Claim, "release", lambda self: None)
        patch.setattr(Claim, "_keep_renewing", lambda self: None)
        export(bucket)
    assert len(bucket.uploads()) == 1
    # Of another try, which is alive: it is left alone.
    other = {"Bucket": bucket.name, "Key": "_manifests/export.jsonl.gz.json.claims/another"}
    upload = bucket.client.create_multipart_upload(**other)["UploadId"]
    bucket.client.upload_part(**other, UploadId=upload, PartNumber=1, Body=b"another")
    monkeypatch.setattr(claim, "LEASE_SECONDS", 10_000.0)
    monkeypatch.setattr(claim, "_MARGIN_SECONDS", -10_000.0)
    assert export(bucket)["uploaded"] is False
    assert bucket.uploads() == [other["Key"]]
    # It has lapsed.
    monkeypatch.setattr(claim, "LEASE_SECONDS", -10.0)
    assert export(bucket)["uploaded"] is False
    assert bucket.uploads() == []


@pytest.mark.skipif(bool(REAL_STORE), reason="only in moto has a claim lapsed that was just made")
def test_a_lapsed_claim_that_appears_meanwhile_ends_with_the_export(
    small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    with failing_s3(s3_url) as proxy:

        def claim_and_die(number: int, name: str) -> None:
            if name == "POST object uploadId":
                # Without a part: moto says of it that it was begun in 2010.
                key = "_manifests/export.jsonl.gz.json.claims/another"
                bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)

        proxy.before = claim_and_die
        result = export(bucket, aws_conn_id="aws_faulty")
    assert bucket.content(result["key"]) == truth_jsonl(small)
    assert bucket.uploads() == []


@pytest.mark.parametrize("event", ["removed", "replaced"])
def test_an_object_that_is_not_kept_until_its_manifest_is_written_is_not_acknowledged(
    event: str, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    with failing_s3(s3_url) as proxy:

        def act(number: int, name: str) -> None:
            if name == "PUT manifest":
                key = "export.jsonl.gz"
                bucket.client.delete_object(Bucket=bucket.name, Key=key)
                if event == "replaced":
                    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"of another")

        proxy.before = act
        with pytest.raises(IncompleteExportError, match="removed or replaced while its manifest was written") as caught:
            export(bucket, aws_conn_id="aws_faulty")
    assert caught.value.retry_task
    # What this try has not written, it does not delete.
    assert bucket.objects() == (["export.jsonl.gz"] if event == "replaced" else [])
    assert bucket.uploads() == []
    assert bucket.content(export(bucket)["key"]) == truth_jsonl(small)


def test_two_failures_in_a_row_leave_no_manifest(small: Simulator, s3_url: str, bucket: Bucket) -> None:
    """When undoing fails too, what is left is never more than an object without a manifest or an open upload."""
    with failing_s3(s3_url) as proxy:
        export(bucket, aws_conn_id="aws_faulty")
        calls = len(proxy.requests)
    bucket.clear()
    for number in range(1, calls):
        everything = dict.fromkeys(range(number, number + MOST_REQUESTS), Failure.INTERNAL)
        with failing_s3(s3_url, everything), contextlib.suppress(ArchiveError):
            export(bucket, aws_conn_id="aws_faulty")
        for key in [key for key in bucket.objects() if key.startswith("_manifests/")]:
            assert bucket.manifest("export.jsonl.gz")["sha256"] == _sha256(bucket, "export.jsonl.gz"), key
        # Nobody renews its claim any more.
        bucket.abort_uploads()
        result = export(bucket)
        assert bucket.content(result["key"]) == truth_jsonl(small)
        assert bucket.uploads() == []
        bucket.clear()
