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

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.simulator import NewId, Simulator
from tests.support.exports import AWS, START, Bucket, aws_connection, export, operator, simulated, truth_jsonl
from tests.support.s3_proxy import Failure, S3Proxy

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

#: With boto's 8 MiB a part, the object of the large export has two.
LARGE = {"events": 9_500, "page_size": 2000, "conn_id": "curation_large"}
MOST_REQUESTS = 30
#: How an export ends.
LAST_LOOK = ["PUT manifest", "HEAD object"]


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
            with contextlib.suppress(Exception):
                result = export(bucket, **faulty)
        if result is None:
            assert len(proxy.requests) >= number, "failed before the call that was to fail"
            if proxy.requests[number - 2 : number] == LAST_LOOK:
                # Everything is there, and the next try finds that it is.
                [key] = bucket.exports()
                assert bucket.content(key) == truth
                assert bucket.uploads() == []
                assert export(bucket, **{**faulty, "aws_conn_id": AWS})["uploaded"] is False
                bucket.clear()
                continue
            bucket.assert_untouched()
            continue
        assert len(proxy.requests) < number, "a call that failed must not be overlooked"
        assert bucket.content(result["key"]) == truth
        assert bucket.objects() == [result["manifest_key"], result["key"]]
        assert bucket.uploads() == []
        return proxy.requests
    pytest.fail("no export succeeded")


@pytest.mark.parametrize("failure", [Failure.INTERNAL, Failure.SLOW_DOWN, Failure.RESET, Failure.ANSWER_LOST])
def test_a_small_object(failure: Failure, small: Simulator, s3_url: str, bucket: Bucket) -> None:
    calls = sweep(s3_url, bucket, truth_jsonl(small), failure)
    assert "PUT object" in calls
    assert calls[-2:] == LAST_LOOK


@pytest.mark.slow
@pytest.mark.parametrize("failure", [Failure.RESET, Failure.ANSWER_LOST])
def test_an_object_of_several_parts(failure: Failure, large: Simulator, s3_url: str, bucket: Bucket) -> None:
    calls = sweep(s3_url, bucket, truth_jsonl(large), failure, compression="none", curation_conn_id="curation_large")
    assert calls.count("PUT object uploadId partNumber") == 2
    assert "POST object uploads" in calls
    assert "POST object uploadId" in calls
    assert calls[-2:] == LAST_LOOK


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
        for number in range(1, MOST_REQUESTS):
            with failing_s3(s3_url, {number: failure}) as proxy:
                try:
                    after = export(bucket, aws_conn_id="aws_faulty")
                except Exception:
                    assert bucket.content(before["key"]) in contents
                    assert bucket.manifest(before["key"])["sha256"] in [*manifests, _sha256(bucket, before["key"])]
                    assert bucket.uploads() == []
                    continue
            assert len(proxy.requests) < number
            assert bucket.content(after["key"]) == contents[1]
            assert bucket.manifest(after["key"])["sha256"] == after["sha256"] == _sha256(bucket, after["key"])
            return
    pytest.fail("no export succeeded")


def _sha256(bucket: Bucket, key: str) -> str:
    return hashlib.sha256(bucket.body(key)).hexdigest()


@pytest.mark.parametrize("failure", [Failure.INTERNAL, Failure.ANSWER_LOST])
def test_a_failing_try_keeps_what_the_next_one_finished_meanwhile(
    failure: Failure, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    """As when a scheduler is killed: its task lives on for a while beside the next try, and fails after that ended."""

    def tried(number: int, **arguments: Any) -> dict[str, Any]:
        names = {"dag_id": "dag", "run_id": "run", "task_id": "export", "map_index": -1, "try_number": number}
        # Airflow 2 refuses execute() in the proxy's thread.
        return operator(bucket, **arguments)._execute({"ti": SimpleNamespace(**names, xcom_push=lambda **_: None)})

    for number in range(1, MOST_REQUESTS):
        with failing_s3(s3_url, {number: failure}) as proxy:

            def next_try(count: int, name: str, at: int = number) -> None:
                if count != at:
                    return
                if failure is Failure.ANSWER_LOST and name == "PUT manifest":
                    # Both tries have written a manifest then, and neither can know that the other is whole.
                    return
                tried(2)

            proxy.before = next_try
            result = None
            with contextlib.suppress(Exception):
                result = tried(1, aws_conn_id="aws_faulty")
        if len(proxy.requests) < number:
            assert result is not None
            return
        if proxy.requests[number - 1] == "PUT manifest" and failure is Failure.ANSWER_LOST:
            bucket.assert_untouched()
            continue
        [key] = bucket.exports()
        assert bucket.content(key) == truth_jsonl(small), proxy.requests
        assert bucket.manifest(key)["sha256"] == _sha256(bucket, key)
        assert bucket.uploads() == []
        bucket.clear()
    pytest.fail("no export had fewer calls")


@pytest.mark.parametrize("event", ["removed", "replaced"])
def test_an_object_that_is_not_kept_until_its_manifest_is_written_is_not_acknowledged(
    event: str, small: Simulator, s3_url: str, bucket: Bucket
) -> None:
    with failing_s3(s3_url) as proxy:

        def act(number: int, name: str) -> None:
            if name == "PUT manifest":
                [key] = bucket.objects()
                bucket.client.delete_object(Bucket=bucket.name, Key=key)
                if event == "replaced":
                    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"of another")

        proxy.before = act
        with pytest.raises(IncompleteExportError, match="removed or replaced while its manifest was written") as caught:
            export(bucket, aws_conn_id="aws_faulty")
    assert caught.value.retry_task
    bucket.assert_untouched()
    assert bucket.content(export(bucket)["key"]) == truth_jsonl(small)


def test_two_failures_in_a_row_leave_no_manifest(small: Simulator, s3_url: str, bucket: Bucket) -> None:
    """When undoing fails too, what is left is never more than an object without a manifest or an open upload."""
    with failing_s3(s3_url) as proxy:
        export(bucket, aws_conn_id="aws_faulty")
        calls = len(proxy.requests)
    bucket.clear()
    # The last one only looks: what it looks at is whole.
    for number in range(1, calls):
        everything = dict.fromkeys(range(number, number + MOST_REQUESTS), Failure.INTERNAL)
        with failing_s3(s3_url, everything), pytest.raises(Exception):  # noqa: B017, PT011
            export(bucket, aws_conn_id="aws_faulty")
        assert not [key for key in bucket.objects() if key.startswith("_manifests/")]
        result = export(bucket)
        assert bucket.content(result["key"]) == truth_jsonl(small)
        assert bucket.uploads() == []
        bucket.clear()
