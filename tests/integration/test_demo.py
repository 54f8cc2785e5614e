"""The demo: it ends when it is told to and leaves nothing, and it says UNTRUE of what is untrue."""

from __future__ import annotations

import gzip
import io
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow import __version__

from airflow_provider_curation.simulator import Simulator

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
STARTED, EXPORTING = "Airflow   ", "] Exporting"
CANNOT_SHOW = __version__.startswith(("3.0.", "3.2."))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


# It is stopped


@contextmanager
def running_demo(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[str]]]:
    """The demo as a user starts it, and its lines as they come; its temporary directories are made in `temporary`."""
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    demo = subprocess.Popen(
        [sys.executable, str(DEMO / "run.py")],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": python_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    assert demo.stdout is not None
    output = demo.stdout
    reader = threading.Thread(target=lambda: list(map(lines.put, output)), daemon=True)
    reader.start()
    try:
        yield demo, lines
    finally:
        if demo.poll() is None:
            for process in [*psutil.Process(demo.pid).children(recursive=True), demo]:
                process.kill()
        demo.wait(10)
        reader.join(10)
        output.close()


def until(lines: queue.Queue[str], text: str) -> list[str]:
    """The lines up to the first one with that text."""
    said: list[str] = []
    while not said or text not in said[-1]:
        said.append(lines.get(timeout=120))
    return said


def wait_for(holds: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(CANNOT_SHOW, reason="the demo says that this Airflow's `airflow dags test` does not work")
@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGINT, EXPORTING, id="Ctrl-C while a task exports"),
        pytest.param(signal.SIGTERM, STARTED, id="SIGTERM while Airflow starts"),
    ],
)
def test_leaves_nothing_when_it_is_stopped(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    with running_demo(tmp_path) as (demo, lines):
        said = until(lines, STARTED)
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+), simulated", "".join(said))]
        if moment != STARTED:
            until(lines, moment)
        children = wait_for(lambda: psutil.Process(demo.pid).children(recursive=True))
        assert [listens(port) for port in ports] == [True, True]
        assert any(path.name.startswith("curation-demo-") for path in tmp_path.iterdir())

        demo.send_signal(number)
        status = demo.wait(20)

    rest = "".join(lines.queue)
    assert status == 130
    assert "nothing is left" in rest
    assert "Traceback" not in rest
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert [listens(port) for port in ports] == [False, False]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("curation-demo-")] == []


@pytest.mark.skipif(not CANNOT_SHOW, reason="this Airflow can show the demo")
def test_says_where_it_can_be_seen(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (demo, lines):
        assert "make demo AIRFLOW=2.11" in until(lines, "cannot show this")[-1]
        assert demo.wait(20) == 2
    assert list(tmp_path.iterdir()) == []


# What it says


@pytest.fixture
def demo_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo's modules, found as they are when it runs; forgotten afterwards, since their names are short."""
    monkeypatch.syspath_prepend(str(DEMO))
    yield
    for name in ("alert", "child", "evidence", "made_up", "question", "run"):
        sys.modules.pop(name, None)


@pytest.fixture
def tenant(curation_simulator_factory: Callable[..., Simulator]) -> Simulator:
    return curation_simulator_factory(events=10_000, tokens=("made-up-access-token",))


class Bucket:
    """A boto3 client as far as the demo uses it, with objects in memory, and the key that signed them."""

    def __init__(self, objects: dict[str, bytes], key: Any) -> None:
        self.objects = objects
        self.key = key
        self.uploads: list[dict[str, str]] = []

    def list_objects_v2(self, Bucket: str) -> dict[str, Any]:
        return {"Contents": [{"Key": key, "Size": len(body)} for key, body in sorted(self.objects.items())]}

    def list_multipart_uploads(self, Bucket: str) -> dict[str, Any]:
        return {"Uploads": self.uploads}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}


@pytest.fixture
def exported(demo_modules: None, tenant: Simulator, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Bucket]:
    """A day, and a bucket with the three exports of it as the example DAG's tasks make them."""
    from evidence import Day
    from made_up import BUCKET, SigningKey, made_up_s3

    from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

    day, key = Day.of(None), SigningKey()
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_SIGNING", key.connection_json())
    objects = {}
    with made_up_s3() as s3:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
        client = s3.client()
        choices: list[dict[str, Any]] = [{}, {"file_format": "csv"}, {"dry_run": True}]
        for number, choice in enumerate(choices):
            result = CurationAuditToS3Operator(
                task_id=f"export_{number}",
                s3_bucket=BUCKET,
                start=day.start,
                end=day.end,
                signing_conn_id="audit_signing",
                **choice,
            ).execute({})
            for name in (result["key"], result["manifest_key"], f"{result['manifest_key']}.dsse"):
                objects[name] = client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
    return day, Bucket(objects, key)


def verdict(exported: tuple[Any, Bucket], tenant: Simulator) -> bool:
    from evidence import Archive, show

    return show(Archive(exported[1], "audit-archive"), tenant, exported[0], exported[1].key.public_key, print)


def test_shows_what_is_true(
    exported: tuple[Any, Bucket], tenant: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(exported, tenant) is True

    said = capsys.readouterr().out
    day, bucket = exported
    assert f"events as JSONL: {tenant.count(day.start, day.end):,} (" in said
    assert f"dry-run rows as JSONL: {tenant.count(day.start, day.end, True):,} (" in said
    assert '      {"id":' in said
    assert "      id,created_at,action" in said
    assert "UNTRUE" not in said
    assert all(f"{len(body):,} bytes  {key}" in said for key, body in bucket.objects.items())


@pytest.mark.parametrize("spoiled", [False, True])
def test_its_query_is_answered_as_the_server_would(
    spoiled: bool, exported: tuple[Any, Bucket], tenant: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    from evidence import Archive
    from question import show_query

    day, bucket = exported
    key = key_of(bucket, ".jsonl.gz")
    lines = gzip.decompress(bucket.objects[key]).splitlines(keepends=True)
    [*_, blocked] = [line for line in lines if b'"action":"blocked"' in line]
    if spoiled:
        lines.remove(blocked)
        bucket.objects[key] = gzip.compress(b"".join(lines))

    assert show_query(Archive(bucket, "audit-archive"), tenant, day, print) is not spoiled
    assert ("UNTRUE" in capsys.readouterr().out) is spoiled


def test_its_query_needs_an_export(exported: tuple[Any, Bucket], tenant: Simulator) -> None:
    from evidence import Archive
    from question import show_query

    exported[1].objects.clear()
    assert show_query(Archive(exported[1], "audit-archive"), tenant, exported[0], print) is False


def key_of(bucket: Bucket, ending: str, stream: str = "events") -> str:
    [key] = [key for key in bucket.objects if key.endswith(ending) and f"/stream={stream}/" in key]
    return key


def a_line_less(bucket: Bucket) -> None:
    key = key_of(bucket, ".jsonl.gz")
    lines = gzip.decompress(bucket.objects[key]).splitlines(keepends=True)
    bucket.objects[key] = gzip.compress(b"".join(lines[:-1]))


def another_count(bucket: Bucket) -> None:
    key = key_of(bucket, ".csv.zip.json")
    manifest = json.loads(bucket.objects[key])
    bucket.objects[key] = json.dumps({**manifest, "total_after": manifest["total_after"] + 1}).encode()


def another_window(bucket: Bucket) -> None:
    key = key_of(bucket, ".csv.zip.json")
    manifest = json.loads(bucket.objects[key])
    bucket.objects[key] = json.dumps({**manifest, "start": manifest["end"]}).encode()


def another_digest(bucket: Bucket) -> None:
    key = key_of(bucket, ".csv.zip.json")
    bucket.objects[key] = json.dumps({**json.loads(bucket.objects[key]), "sha256": "0" * 64}).encode()


def an_export_less(bucket: Bucket) -> None:
    key = key_of(bucket, ".csv.zip")
    del bucket.objects[key], bucket.objects[key_of(bucket, ".csv.zip.json")]
    del bucket.objects[key_of(bucket, ".csv.zip.json.dsse")]


def no_exports(bucket: Bucket) -> None:
    bucket.objects.clear()


def no_signature(bucket: Bucket) -> None:
    del bucket.objects[key_of(bucket, ".csv.zip.json.dsse")]


def another_signature(bucket: Bucket) -> None:
    other = bucket.objects[key_of(bucket, ".jsonl.gz.json.dsse")]
    bucket.objects[key_of(bucket, ".csv.zip.json.dsse")] = other


def something_else(bucket: Bucket) -> None:
    bucket.objects["curation/other"] = b""


def an_open_upload(bucket: Bucket) -> None:
    bucket.uploads.append({"Key": "curation/other"})


@pytest.mark.parametrize(
    "spoil",
    [a_line_less, another_count, another_window, another_digest, an_export_less, no_exports, no_signature,
     another_signature, something_else, an_open_upload],
)  # fmt: skip
def test_says_what_is_untrue(
    spoil: Callable[[Bucket], None],
    exported: tuple[Any, Bucket],
    tenant: Simulator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(exported[1])

    assert verdict(exported, tenant) is False
    assert "\nUNTRUE  " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("archive", "query", "alert", "status"),
    [(True, True, True, 0), (False, True, True, 1), (True, False, True, 1), (True, True, False, 1)],
)
def test_its_exit_status_is_the_verdict(
    archive: bool,
    query: bool,
    alert: bool,
    status: int,
    demo_modules: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import child
    import run

    monkeypatch.setattr(child.Child, "run", lambda self, *command, tell=None: None)
    monkeypatch.setattr(run, "show", lambda *arguments: archive)
    monkeypatch.setattr(run, "show_query", lambda *arguments: query)
    monkeypatch.setattr(run, "show_alert", lambda *arguments: alert)
    monkeypatch.setattr(run, "_forget_the_users_settings", lambda: None)
    monkeypatch.setattr(run, "STOP_SIGNALS", ())
    monkeypatch.setattr(run, "CANNOT_SHOW", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run.py"])

    assert run.main() == status
    said = capsys.readouterr().out
    assert ("FAILED" in said) is (status != 0)
    # Its log is kept if something was untrue.
    assert [str(path) in said for path in tmp_path.iterdir()] == ([] if status == 0 else [True])


@pytest.mark.parametrize("days_ago", [-1, 0, 31])
def test_refuses_a_day_that_cannot_be_exported(
    days_ago: int, demo_modules: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import run

    day = f"{datetime.now(timezone.utc) - timedelta(days=days_ago):%Y-%m-%d}"
    monkeypatch.setattr(sys, "argv", ["run.py", "--day", day])

    with pytest.raises(SystemExit):
        run.main()
    assert f"{day} is not one of the last 29 days" in capsys.readouterr().err


def test_a_failure_of_airflow_keeps_its_log(
    demo_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import run
    from child import Child

    def demo(stack: Any, day: Any) -> None:
        home = stack.enter_context(run._home())
        environment = {**os.environ, "AIRFLOW_HOME": str(home)}
        stack.enter_context(Child(environment, home / "airflow.log")).run("no-such-command")

    monkeypatch.setattr(run, "_demo", demo)
    monkeypatch.setattr(run, "STOP_SIGNALS", ())
    monkeypatch.setattr(run, "CANNOT_SHOW", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run.py"])

    assert run.main() == 1
    said = capsys.readouterr().out
    [home] = tmp_path.iterdir()
    assert str(home / "airflow.log") in said
    assert "`airflow no-such-command` ended with 2" in said
    assert "no-such-command" in (home / "airflow.log").read_text()


@pytest.mark.parametrize(
    "line", ["Marking task as UP_FOR_RETRY", "unrunnable tasks: {<TaskInstance: a.b [up_for_retry]>"]
)
def test_a_task_that_failed_is_not_waited_for(demo_modules: None, tmp_path: Path, line: str) -> None:
    from child import AirflowFailed, Child

    (tmp_path / "airflow.py").write_text(
        f"import time\nprint('AnyError: the reason')\nprint({line!r}, flush=True)\ntime.sleep(60)\n"
    )
    started = time.monotonic()
    with Child({**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path / "log") as child:
        with pytest.raises(AirflowFailed, match="AnyError: the reason"):
            child.run("dags", "test")
        process = child._process
    assert process is not None
    assert process.poll() is not None
    assert time.monotonic() - started < 20


def test_its_day_is_the_latest_that_has_settled(demo_modules: None) -> None:
    from evidence import Day

    day = Day.of(None)

    settled = datetime.now(timezone.utc) - timedelta(minutes=10)
    assert day.end <= settled < day.end + timedelta(days=1)
    assert day.end - day.start == timedelta(days=1)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "INFO [airflow.task.operators.airflow_provider_curation.transfers.x.Y] Exporting events\n",
            "Exporting events",
        ),
        ("WARNING [airflow_provider_curation.audit.api.client] Try 1 of 8 failed\n", "WARNING: Try 1 of 8 failed"),
        ("INFO [airflow.models.dagrun] airflow_provider_curation\n", None),
        ("[2026-03-09 14:51:03,000] {curation_audit_to_s3.py:189} INFO - Exporting events\n", None),
    ],
)
def test_shows_the_providers_lines_only(demo_modules: None, line: str, text: str | None) -> None:
    from child import provider_line

    assert provider_line(line) == text
