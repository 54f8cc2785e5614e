"""The operator short of exporting: arguments, templates, errors, deferral, and how Airflow stores and expands it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_curation import get_provider_info
from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.links import CurationAuditLink, S3ManifestLink, S3ObjectLink
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

ROOT = Path(__file__).parents[3]
UTC = timezone.utc
NOW = datetime.now(UTC).replace(microsecond=0)
START, END = NOW - timedelta(days=2), NOW - timedelta(days=1)
CONNECTION = {"conn_type": "jfrog_curation", "host": "https://acme.example", "password": "made-up-token"}


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", json.dumps(CONNECTION))


@pytest.fixture
def no_request(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may be sent anywhere: neither to the server nor to S3."""
    asked: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError(f"a request to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)

    def answer(*arguments: Any, **more: Any) -> list[Any]:
        asked.append(arguments)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    yield
    assert asked == []


def operator(**arguments: Any) -> CurationAuditToS3Operator:
    chosen = {"task_id": "export", "s3_bucket": "audit-archive", "start": START, "end": END, **arguments}
    return CurationAuditToS3Operator(**chosen)


def refused(**arguments: Any) -> str:
    """What the operator says when it ends the task without retries."""
    with pytest.raises(AirflowFailException) as error:
        operator(**arguments).execute({})
    assert isinstance(error.value, errors.InvalidArgumentError)
    return str(error.value)


# Bad input, named before anything is sent


@pytest.mark.usefixtures("no_request")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"file_format": "avro"}, "file_format='avro' is unknown; it is one of jsonl, csv, parquet"),
        ({"file_format": None}, "file_format=None"),
        ({"file_format": "csv", "compression": "zstd"}, "compression='zstd' does not go with file_format='csv'"),
        ({"file_format": "csv", "compression": "none"}, "compression='none' does not go with file_format='csv'"),
        ({"compression": "bzip2"}, "compression='bzip2' does not go with file_format='jsonl'"),
        ({"compression": ""}, "compression=''"),
        ({"on_expired": "ignore"}, "on_expired='ignore' is unknown; it is one of fail, skip, warn"),
        ({"settle_time": 300}, "settle_time=300 is not a duration; give a timedelta"),
        ({"settle_time": timedelta(seconds=-1)}, "settle_time=datetime.timedelta(days=-1, seconds=86399) is not a dur"),
        ({"retention": "30 days"}, "retention='30 days' is not a duration"),
        ({"s3_bucket": ""}, "s3_bucket='' is empty"),
        ({"s3_bucket": None}, "s3_bucket=None is empty"),
        ({"s3_key": "x/{day}"}, "s3_key='x/{day}' cannot be filled in (KeyError: 'day'); its fields are {instance}"),
        ({"s3_key": "x/{}"}, "s3_key='x/{}' cannot be filled in"),
        ({"s3_key": "x/{start"}, "s3_key='x/{start' cannot be filled in"),
        ({"s3_key": "x/{stream:%Y}"}, "s3_key='x/{stream:%Y}' cannot be filled in"),
        ({"s3_key": "x/{start[0]}"}, "s3_key='x/{start[0]}' cannot be filled in (TypeError"),
        ({"s3_key": "x/{start.day_of_year}"}, "s3_key='x/{start.day_of_year}' cannot be filled in"),
        ({"s3_key": None}, "s3_key=None"),
        ({"s3_key": ""}, "s3_key='' makes '', which is not an object's key"),
        ({"s3_key": "folder/"}, "s3_key='folder/' makes 'folder/', which is not an object's key"),
        ({"s3_key": "s3://other-archive/x"}, "leave out s3_bucket='audit-archive'"),
        ({"s3_key": "s3://other-archive", "s3_bucket": None}, "s3_key='s3://other-archive' makes ''"),
        ({"s3_key": "s3:///x", "s3_bucket": None}, "s3_key names no bucket"),
        ({"s3_key": "s3://b/x", "s3_bucket": None}, "begin it with s3://b/curation/, or set s3_prefix"),
        ({"s3_key": "_manifests/x"}, "curation/_manifests/ is reserved for the archive"),
        ({"s3_key": "_seals/x"}, "curation/_seals/ is reserved for the archive"),
        ({"s3_key": "_quarantine/x", "s3_prefix": ""}, "_quarantine/ is reserved for the archive"),
        ({"actions": "blocked"}, "actions='blocked' is a string; give a list"),
        ({"policies": []}, "policies=[] matches no event at all"),
        ({"start": END, "end": START}, "start"),
        ({"start": START.replace(tzinfo=None)}, "start="),
        ({"end": "yesterday"}, "end='yesterday'"),
        ({"start": "None"}, "start='None'"),
        ({"curation_conn_id": "curation_missing"}, "curation_conn_id='curation_missing': there is no such connection"),
    ],
    # Names alone: the times in them differ from one of xdist's workers to the next.
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_names_a_bad_argument(arguments: dict[str, Any], named: str) -> None:
    assert named in refused(**arguments)


@pytest.mark.usefixtures("no_request")
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"host": ""}, "'curation_default' has no host"),
        ({"host": "ftp://acme.example"}, "'curation_default' has a host that is not an http or https URL"),
        ({"host": "https://acme.example:port"}, "'curation_default' has a host whose port is not a number"),
        ({"host": "https://user:made-up@acme.example"}, "'curation_default' has credentials in its host"),
        ({"extra": {"timeout": "soon"}}, "extra 'timeout'"),
        ({"extra": {"timeout": 0}}, "extra 'timeout'"),
        ({"extra": {"timeout": [1, 2, 3]}}, "extra 'timeout'"),
        ({"extra": {"verify": 1}}, "extra 'verify'"),
        ({"extra": {"cert": {"key": "x"}}}, "extra 'cert'"),
        ({"extra": {"proxies": 3128}}, "extra 'proxies'"),
        ({"extra": {"trust_env": "maybe"}}, "extra 'trust_env'"),
        ({"extra": {"headers": "X-Gateway: yes"}}, "extra 'headers'"),
        ({"extra": {"page_size": 2001}}, "extra 'page_size'"),
        ({"extra": {"page_size": True}}, "extra 'page_size'"),
        ({"extra": {"concurrency": 0}}, "extra 'concurrency'"),
        ({"extra": {"concurrency": "9"}}, "extra 'concurrency'"),
    ],
    ids=str,
)
def test_names_a_bad_field_of_the_connection(
    fields: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", json.dumps({**CONNECTION, **fields}))

    said = refused()

    assert named in said
    assert "made-up" not in said


@pytest.mark.usefixtures("no_request")
def test_a_run_without_a_window_ends_the_task() -> None:
    with pytest.raises(AirflowFailException) as error:
        operator(start=None, end=None).execute({})
    assert isinstance(error.value, errors.UndefinedWindowError)


# The key


def key_of(**arguments: Any) -> tuple[str, str]:
    """The bucket and key of an export, without making it."""
    from airflow_provider_curation.interval import window_of_run
    from airflow_provider_curation.transfers.planning import file_format, location

    task = operator(start="2026-03-09T00:00:00Z", end="2026-03-10T00:00:00Z", **arguments)
    task.render_template_fields({"params": {"bucket": "from-params"}, "run_id": "manual", "ds": "2026-03-10"})
    place = location(task, window_of_run({}, task.start, task.end), file_format(task))
    return place.bucket, place.key


@pytest.mark.parametrize(
    ("arguments", "bucket", "key"),
    [
        (
            {},
            "audit-archive",
            "curation/instance=acme.example/stream=events/format=jsonl/dt=2026-03-09/"
            "20260309T000000Z_20260310T000000Z.jsonl.gz",
        ),
        (
            {"dry_run": True, "file_format": "csv"},
            "audit-archive",
            "curation/instance=acme.example/stream=dry_run/format=csv/dt=2026-03-09/"
            "20260309T000000Z_20260310T000000Z.csv.zip",
        ),
        ({"s3_key": "x{suffix}", "compression": "none"}, "audit-archive", "curation/x.jsonl"),
        ({"s3_key": "x{suffix}", "compression": "zip"}, "audit-archive", "curation/x.jsonl.zip"),
        ({"s3_key": "x{suffix}", "compression": "zstd"}, "audit-archive", "curation/x.jsonl.zst"),
        ({"s3_key": "{file_format}/{end:%d}"}, "audit-archive", "curation/jsonl/10"),
        # Jinja first, then the fields: neither takes the other's braces.
        ({"s3_key": "{{ run_id }}/{start:%Y}/{{ ds }}"}, "audit-archive", "curation/manual/2026/2026-03-10"),
        ({"s3_prefix": "", "s3_key": "x"}, "audit-archive", "x"),
        ({"s3_prefix": "/audit/{{ params.bucket }}/", "s3_key": "x"}, "audit-archive", "audit/from-params/x"),
        ({"s3_bucket": "{{ params.bucket }}", "s3_key": "x"}, "from-params", "curation/x"),
        (
            {"s3_bucket": None, "s3_key": "s3://{{ params.bucket }}/curation/{stream}/x"},
            "from-params",
            "curation/events/x",
        ),
    ],
)
def test_key(arguments: dict[str, Any], bucket: str, key: str) -> None:
    assert key_of(**arguments) == (bucket, key)


def test_template_fields_are_rendered() -> None:
    names = {name: f"{{{{ params.{name} }}}}" for name in CurationAuditToS3Operator.template_fields}
    lists = ("actions", "package_types", "repositories", "policies")
    task = operator(**{name: [text] if name in lists else text for name, text in names.items()})
    values = {name: f"a value of {name}" for name in names}

    task.render_template_fields({"params": values})

    for name, value in values.items():
        assert getattr(task, name) == ([value] if name in lists else value)


def test_template_fields_are_left_alone_until_then() -> None:
    # Mapped and templated values are not known in __init__, so it must not judge them.
    task = CurationAuditToS3Operator(task_id="export", s3_bucket="{{ x }}", s3_key="{no such field}", start="{{ y }}")
    assert (task.s3_bucket, task.s3_key, task.start) == ("{{ x }}", "{no such field}", "{{ y }}")


# Which errors Airflow tries again

RETRYABLE = {
    errors.ArchiveUnavailableError,
    errors.ExportUnderWayError,
    errors.AnswerTooLargeError,
    errors.ContradictoryAnswerError,
    errors.WorkerResourceError,
    errors.ThrottledError,
    errors.ServerFaultError,
    errors.ConnectionFailedError,
    errors.TimedOutError,
    errors.CutAnswerError,
    errors.PollFailedError,
    errors.WatcherSilentError,
    errors.RedirectedError,
    errors.NotTheApiError,
    errors.UnexpectedAnswerError,
    errors.RowsShiftedError,
    errors.SigningError,
    errors.TimestampError,
    errors.IncompleteExportError,
    errors.PollFailedError,
    errors.StoppedError,
}


def error_classes(base: type[errors.CurationAuditError] = errors.CurationAuditError) -> Iterator[type]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__ and not issubclass(kind, AirflowFailException):
            yield from error_classes(kind)


@pytest.mark.parametrize("kind", sorted(set(error_classes()), key=str), ids=lambda k: k.__name__)
def test_only_errors_that_a_retry_can_repair_are_retried(
    kind: type[errors.CurationAuditError], monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = OSError("the cause")
    if issubclass(kind, errors.RequestError):
        raised: errors.CurationAuditError = kind(Asked("/xray"), "an answer", status=418, server_message="no tea")
    else:
        raised = kind("what happened")

    def fail(self: Any, context: Any) -> None:
        raise raised from cause

    monkeypatch.setattr(CurationAuditToS3Operator, "_execute", fail)
    with pytest.raises(kind) as caught:
        operator().execute({})

    assert isinstance(caught.value, AirflowFailException) is (kind not in RETRYABLE)
    assert type(caught.value).__name__ == kind.__name__
    assert type(caught.value).__module__ == errors.__name__
    assert str(caught.value) == str(raised)
    assert vars(caught.value) == vars(raised)


def test_other_errors_are_left_to_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, context: Any) -> None:
        raise OSError("a full disk")

    monkeypatch.setattr(CurationAuditToS3Operator, "_execute", fail)
    with pytest.raises(OSError, match="a full disk"):
        operator().execute({})


# Waiting


def deferral(**arguments: Any) -> Any:
    from airflow.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as deferred:
        operator(deferrable=True, **arguments).execute({})
    return deferred.value


@pytest.mark.usefixtures("no_request")
def test_a_window_that_has_not_settled_is_waited_for_in_the_triggerer() -> None:
    deferred = deferral(end=datetime.now(UTC) + timedelta(hours=1), settle_time=timedelta(minutes=30))

    left = deferred.trigger.moment - pendulum.now("UTC")
    assert timedelta(minutes=85) < left < timedelta(minutes=91)
    assert deferred.method_name == "execute_complete"
    assert callable(getattr(CurationAuditToS3Operator, deferred.method_name))


@pytest.mark.usefixtures("no_request")
def test_a_window_that_ends_too_far_ahead_is_refused() -> None:
    with pytest.raises(AirflowFailException, match="ends more than a day ahead") as error:
        operator(deferrable=True, end=datetime.now(UTC) + timedelta(days=1, minutes=1)).execute({})
    assert isinstance(error.value, errors.FutureWindowError)


@pytest.mark.usefixtures("no_request")
def test_waiting_in_the_worker_ends_when_the_task_is_stopped() -> None:
    task = operator(deferrable=False, end=datetime.now(UTC) + timedelta(minutes=1))
    task.on_kill()
    with pytest.raises(errors.StoppedError, match="while it waited"):
        task.execute({})


@pytest.mark.usefixtures("no_request")
def test_a_window_that_the_server_has_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    long_ago = {"start": NOW - timedelta(days=31), "end": NOW - timedelta(days=30)}
    with pytest.raises(AirflowFailException, match="Give a later start, or retention=") as error:
        operator(**long_ago).execute({})
    assert isinstance(error.value, errors.ExpiredWindowError)
    with pytest.raises(AirflowSkipException, match="on_expired='skip'"):
        operator(**long_ago, on_expired="skip").execute({})


@pytest.mark.parametrize("default", ["True", None])
def test_deferrable_follows_airflows_default(default: str | None, tmp_path: Path) -> None:
    code = """
        from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator as Operator
        print(Operator(task_id="a").deferrable, Operator(task_id="b", deferrable=True).deferrable)
    """
    chosen = {} if default is None else {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": default}
    assert python(code, tmp_path, **chosen) == f"{default == 'True'} True"


def python(code: str, home: Path, **environment: str) -> str:
    """What a new interpreter prints, in its last line."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **environment}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    answer = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip().splitlines()[-1]


# How Airflow stores and expands it


@pytest.fixture
def known_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 2 drops the links that no installed provider lists: list what our metadata does."""
    from airflow.providers_manager import ProvidersManager

    ours: Any = get_provider_info.get_provider_info()["extra-links"]
    monkeypatch.setattr(ProvidersManager, "extra_links_class_names", property(lambda self: list(ours)))


@pytest.fixture
def stored() -> Any:
    """A DAG with the operator, plain and mapped, as JSON and back."""
    with DAG("exports", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        operator(task_id="plain", actions=["block*"], s3_extra_args={"ServerSideEncryption": "aws:kms"})
        mapped = CurationAuditToS3Operator.partial(task_id="mapped", s3_bucket="audit-archive", s3_key="x/{stream}")
        mapped.expand(package_types=[["npm"], ["PyPI"]])
        CurationAuditToS3Operator.partial(task_id="kwargs").expand_kwargs(
            [{"s3_bucket": "one", "dry_run": True}, {"s3_bucket": "two"}]
        )
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized  # type: ignore[assignment]
    text = json.dumps(Serialized.serialize_dag(dag))
    return Serialized.deserialize_dag(json.loads(text))


@pytest.mark.usefixtures("known_links")
@pytest.mark.parametrize("task_id", ["plain", "mapped", "kwargs"])
def test_a_stored_dag_keeps_links_and_template_fields(stored: Any, task_id: str) -> None:
    task = stored.get_task(task_id)

    assert {link.name for link in task.operator_extra_links} == {
        S3ObjectLink.name,
        S3ManifestLink.name,
        CurationAuditLink.name,
    }
    assert list(task.template_fields) == list(CurationAuditToS3Operator.template_fields)
    assert task.task_type == "CurationAuditToS3Operator"


@pytest.mark.usefixtures("known_links")
def test_a_stored_dag_keeps_template_values(stored: Any) -> None:
    task = stored.get_task("plain")

    assert (task.s3_bucket, task.s3_key, task.actions) == ("audit-archive", DEFAULT_KEY, ["block*"])
    assert (task.curation_conn_id, task.aws_conn_id) == ("curation_default", "aws_default")


def test_mapped_tasks_get_their_arguments() -> None:
    with DAG("exports", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        types = CurationAuditToS3Operator.partial(task_id="types", s3_bucket="audit-archive", compression="zstd")
        mapped = types.expand(package_types=[["npm"], ["PyPI"]])
        kwargs = CurationAuditToS3Operator.partial(task_id="kwargs", file_format="csv")
        with_kwargs = kwargs.expand_kwargs([{"s3_bucket": "one", "dry_run": True}, {"s3_bucket": "two"}])

    one = mapped.unmap({"package_types": ["PyPI"]})
    other = with_kwargs.unmap({"s3_bucket": "one", "dry_run": True})

    assert isinstance(one, CurationAuditToS3Operator)
    assert (one.s3_bucket, one.package_types, one.compression) == ("audit-archive", ["PyPI"], "zstd")
    assert isinstance(other, CurationAuditToS3Operator)
    assert (other.s3_bucket, other.dry_run, other.file_format) == ("one", True, "csv")


def test_a_bad_argument_is_refused_where_the_dag_is_written() -> None:
    with pytest.raises(Exception, match="no_such_argument"):
        CurationAuditToS3Operator.partial(task_id="export", no_such_argument=1).expand(actions=[["blocked"]])
    with pytest.raises(Exception, match="no_such_argument"):
        operator(no_such_argument=1)
