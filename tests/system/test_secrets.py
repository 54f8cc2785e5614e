"""No secret and no person is anywhere but in S3: in no log, in no row of the database, in no answer of the REST API."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from urllib.parse import quote

import pytest

from tests.system.deployment import Deployment
from tests.system.markers import BASIC, LOGIN, MAIL, MARKERS, PACKAGE, decrypted, leaks, plant
from tests.system.processes import AIRFLOW_3, contents, eventually

pytestmark = [pytest.mark.system, pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize("around", ["{}", '{{"a": "{}"}}', "xy{}z", "x{}", "{}yz"])
def test_a_marker_is_found_in_every_form(around: str) -> None:
    content = around.format(MAIL).encode()
    for written in (content, content.hex().encode(), base64.b64encode(content), quote(content).encode()):
        assert MAIL in leaks(b"before " + written + b" after"), written
    assert leaks(b"nothing of interest") == []


@pytest.fixture(scope="module")
def ran(deployed: Deployment) -> Deployment:
    """Runs that had every secret in use: exports with each connection, a refused login, a batch with a person in it."""
    span = (deployed.day(-4), deployed.day(-3))
    export = deployed.trigger("manual", span)
    now = datetime.now(timezone.utc)
    wait = deployed.trigger("wait", conf={"start": now.isoformat()})
    refused = deployed.trigger("refused", span)
    query = "select 1 from task_instance where dag_id = 'wait' and run_id = ? and state = 'deferred'"
    eventually(lambda: deployed.airflow.rows(query, wait), 120, "sensor in the triggerer")
    # The row of a trigger is gone when it has fired.
    deployed.seen.append(deployed.postgres.dump())
    plant(deployed.server, datetime.now(timezone.utc))
    assert deployed.ended("manual", export) == "success"
    assert deployed.ended("wait", wait) == "success"
    assert deployed.ended("refused", refused) == "failed"
    assert deployed.tries("refused", refused) == 1
    return deployed


def test_the_database_has_none(ran: Deployment) -> None:
    dumps = [*ran.seen, ran.postgres.dump()]
    # Airflow encrypts a trigger's arguments, but not on every way that they take into the database.
    plain = [each for dump in dumps for each in decrypted(ran.airflow.fernet_key, dump)]
    rows = [line for dump in dumps for line in dump.splitlines() if line.startswith(b"INSERT INTO public.trigger ")]
    assert any(b"curation_token" in each for each in (*plain, *rows)), "no trigger's arguments were read"
    assert any(b"INSERT INTO public.connection " in dump for dump in dumps)
    for dump in dumps:
        assert leaks(dump) == []
        assert BASIC.encode() not in dump
    for each in plain:
        assert leaks(each) == []
    # The event's other fields are there, so that the person's would have been found.
    assert leaks(dumps[-1], (PACKAGE,)) == [PACKAGE]


def test_the_logs_have_none(ran: Deployment) -> None:
    files = contents(ran.airflow.home) | {ran.postgres.log: ran.postgres.log.read_bytes()}
    markers = (*MARKERS, LOGIN)
    assert {str(file): found for file, content in files.items() if (found := leaks(content, markers))} == {}
    assert [file for file, content in files.items() if BASIC.encode() in content] == []
    shown = [file for file, content in files.items() if leaks(content, (PACKAGE,))]
    assert any("task_id=tell" in str(file) for file in shown), "the log of the task that shows the batch"
    components = {file.name for file in files if file.parent == ran.airflow.home}
    assert {"scheduler.log", "triggerer.log", "dag-processor.log"} <= components


@pytest.mark.parametrize("user", ["user", "admin"])
def test_the_rest_api_tells_none(ran: Deployment, user: str) -> None:
    api = ran.airflow.api
    answers: dict[str, tuple[int, str]] = {}

    def ask(path: str) -> object:
        status, answer = api("GET", path, user=user)
        answers[path] = (status, answer if isinstance(answer, str) else json.dumps(answer))
        return answer

    for dag_id in ("manual", "wait", "refused", "follow"):
        ask(f"dags/{dag_id}")
        ask(f"dags/{dag_id}/details")
        ask(f"dags/{dag_id}/tasks")
        runs = ask(f"dags/{dag_id}/dagRuns")
        assert isinstance(runs, dict), runs
        for run in runs["dag_runs"]:
            base = f"dags/{dag_id}/dagRuns/{quote(run['dag_run_id'])}/taskInstances"
            instances = ask(base)
            assert isinstance(instances, dict), instances
            for instance in instances["task_instances"]:
                task = f"{base}/{instance['task_id']}"
                entries = ask(f"{task}/xcomEntries")
                assert isinstance(entries, dict), entries
                for entry in entries["xcom_entries"]:
                    ask(f"{task}/xcomEntries/{entry['key']}")
                ask(f"{task}/links")
                for number in range(1, instance["try_number"] + 1):
                    ask(f"{task}/logs/{number}?full_content=true")
    if AIRFLOW_3:
        ask("dagSources/wait")
        ask("assets/events")
    else:
        ask(f"dagSources/{_file_token(api('GET', 'dags/wait')[1])}")
        ask("datasets/events")
    ask("eventLogs?limit=100")
    ask("importErrors")
    ask("connections")
    ask("connections/curation_default")
    ask("config")

    assert {path: found for path, (_, text) in answers.items() if (found := leaks(text.encode()))} == {}
    good = {path for path, (status, _) in answers.items() if status == 200}
    for part in ("/xcomEntries/return_value", "/logs/1", "/taskInstances", "dagSources", "/tasks", "events"):
        assert any(part in path for path in good), (part, answers.get(part))
    everything = "".join(text for _, text in answers.values())
    assert "rendered_fields" in everything
    assert leaks(everything.encode(), (PACKAGE,)) == [PACKAGE]
    if user == "user":
        assert answers["connections"][0] == 403
    else:
        assert "curation_default" in answers["connections"][1]


def _file_token(answer: object) -> str:
    assert isinstance(answer, dict)
    return str(answer["file_token"])
