"""What cannot be exported is refused by name, in words that help, without a secret in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.compat import AirflowFailException
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import Fault
from tests.support.exports import END, PASSWORD, START, TOKEN, Bucket, export, simulated

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

LogText = Callable[[], str]
WINDOW = "[2025-11-03T00:00:00Z, 2025-11-05T00:00:00Z)"
ASKED = f"GET {AUDIT_PATH} for {WINDOW}"
SECRET_HEADER = "made-up-header-facade"

#: The server, the client, the error, what its message says, and whether another try of the task can help.
REFUSED: dict[str, tuple[dict[str, Any], type[errors.CurationAuditError], list[str], bool]] = {
    "wrong token": (
        {"tokens": (TOKEN,), "password": "another-made-up-token"},
        errors.UnauthorizedError,
        [ASKED, "401", "Bad credentials", "token"],
        False,
    ),
    "wrong password": (
        {"users": {"auditor": "right"}, "login": "auditor", "password": PASSWORD},
        errors.UnauthorizedError,
        [ASKED, "401", "Bad credentials", "password"],
        False,
    ),
    "no credentials": (
        {"tokens": (TOKEN,), "login": "", "password": ""},
        errors.UnauthorizedError,
        [ASKED, "401", "Bad credentials"],
        False,
    ),
    "no permission": (
        {"tokens": ("another",), "forbidden_tokens": (TOKEN,), "password": TOKEN},
        errors.ForbiddenError,
        [ASKED, "403", "VIEW_POLICIES is required", "Give the connection's user or token the VIEW_POLICIES"],
        False,
    ),
    "old server": (
        {"version": "3.81.9"},
        errors.EndpointNotFoundError,
        [ASKED, "404", "404 page not found", "Xray 3.82 or newer"],
        False,
    ),
    "wrong context path": (
        {"extra": {}, "context_path": "/artifactory", "wrong_path": True},
        errors.EndpointNotFoundError,
        ["404", "Check the connection's host"],
        False,
    ),
    "not entitled": (
        {"entitled": False},
        errors.NotEntitledError,
        [WINDOW, "not entitled to Curation", "licence"],
        False,
    ),
    "not entitled and no total": (
        {"entitled": False, "total_count": False},
        errors.NotEntitledError,
        [WINDOW, "not entitled to Curation"],
        False,
    ),
    "narrow window": (
        {"max_width": timedelta(hours=24)},
        errors.WindowTooWideError,
        [ASKED, "400", "Maximum allowed duration is 24 hours", "narrower"],
        False,
    ),
    "narrow window, other body": (
        {"max_width": timedelta(hours=24), "error_body": "errors"},
        errors.WindowTooWideError,
        [ASKED, "400", "Maximum allowed duration is 24 hours", "narrower"],
        False,
    ),
    "offset ignored": (
        {"repeat_from": 1},
        errors.IncompleteExportError,
        [WINDOW, "shifted"],
        True,
    ),
    "always 429": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.THROTTLED)},
        errors.ThrottledError,
        [ASKED, "429", "Too many requests", "concurrency"],
        True,
    ),
    "always 503": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.UNAVAILABLE)},
        errors.ServerFaultError,
        [ASKED, "503", "503 Service Unavailable"],
        True,
    ),
    "always 500": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.SERVER_ERROR)},
        errors.ServerFaultError,
        [ASKED, "500", "Internal server error"],
        True,
    ),
    "always a login page": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.LOGIN_PAGE)},
        errors.NotTheApiError,
        [ASKED, "200 with a page of HTML", "proxies and credentials"],
        True,
    ),
    "always a redirect": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.REDIRECT)},
        errors.RedirectedError,
        [ASKED, "302", "a redirect to ", "host"],
        True,
    ),
    "always cut": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.TRUNCATED_JSON)},
        errors.CutAnswerError,
        [ASKED, "not complete JSON"],
        True,
    ),
    "always reset": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.RESET)},
        errors.ConnectionFailedError,
        [ASKED, "Check the connection's host, port and proxies"],
        True,
    ),
    "always silent": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.HANG), "hang": 1.0, "extra": {"timeout": [0.5, 0.05]}},
        errors.TimedOutError,
        [ASKED, "(0.5, 0.05)", "timeout"],
        True,
    ),
    "no data in the envelope": (
        {"fault_schedule": dict.fromkeys(range(1, 99), Fault.NO_DATA)},
        errors.UnexpectedAnswerError,
        [ASKED, "data", "Nothing of it was exported"],
        True,
    ),
    "401 in the middle": (
        {"fault_schedule": {3: Fault.UNAUTHORIZED}},
        errors.UnauthorizedError,
        [ASKED, "401", "Bad credentials"],
        False,
    ),
}


def _running(server: dict[str, Any]) -> Any:
    settings = {"login": "", "password": TOKEN, **server}
    wrong_path = settings.pop("wrong_path", False)
    settings["extra"] = {"secret_headers": {"X-Made-Up": SECRET_HEADER}, **settings.get("extra", {})}
    return simulated(**settings), wrong_path


@pytest.fixture
def log_text(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> LogText:
    """Everything that was logged so far, by either of Airflow's ways."""
    caplog.set_level("DEBUG", logger="airflow_provider_curation")
    seen: list[str] = []

    def text() -> str:
        captured = capfd.readouterr()
        seen.extend((captured.out, captured.err))
        return caplog.text + "".join(seen)

    return text


def _hold_no_secret(text: str) -> None:
    for secret in (TOKEN, PASSWORD, SECRET_HEADER, "another-made-up-token"):
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode() not in text
    assert base64.b64encode(f"auditor:{PASSWORD}".encode()).decode() not in text
    assert "Authorization" not in text


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_an_export_is_refused_by_name(
    case: Any, file_format: str, bucket: Bucket, log_text: LogText, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, kind, words, retry_task = case
    if "repeat_from" in server and file_format == "csv":
        pytest.skip("the simulator ignores the offset of JSON only")
    running, wrong_path = _running(server)
    with running as simulator:
        if wrong_path:
            monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", _elsewhere(simulator.port))
        with pytest.raises(kind) as raised:
            export(bucket, file_format=file_format)
        message = str(raised.value)
        for word in words:
            assert word in message
        assert isinstance(raised.value, AirflowFailException) is not retry_task
        if not retry_task and kind is not errors.NotEntitledError:
            statuses = [each.status for each in simulator.requests if each.path == AUDIT_PATH]
            refusals = [status for status in statuses if status >= 400]
            assert len(refusals) <= 4, "what cannot pass is not tried again"
    bucket.assert_untouched()
    _hold_no_secret(message + repr(raised.value) + log_text())


def _elsewhere(port: int) -> str:
    return f'{{"conn_type": "jfrog_curation", "host": "http://127.0.0.1:{port}/elsewhere"}}'


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_reading_is_refused_by_name(case: Any, log_text: LogText, monkeypatch: pytest.MonkeyPatch) -> None:
    server, kind, words, _ = case
    running, wrong_path = _running(server)
    with running as simulator:
        if wrong_path:
            monkeypatch.setenv("AIRFLOW_CONN_CURATION_DEFAULT", _elsewhere(simulator.port))
        with pytest.raises(kind) as raised:
            list(CurationAuditHook().iter_events(START, END))
    message = str(raised.value)
    for word in words:
        assert word in message
    _hold_no_secret(message + repr(raised.value) + log_text())


def test_a_csv_that_is_incomplete_in_every_second_is_refused(bucket: Bucket) -> None:
    with simulated(csv_incomplete_over=10), pytest.raises(errors.IncompleteCsvError) as raised:
        export(bucket, file_format="csv")
    assert "audit_packages_incomplete.csv" in str(raised.value)
    assert f"GET {AUDIT_PATH} for [2025-11-0" in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    bucket.assert_untouched()


@pytest.mark.parametrize("lie", [-1, 1, 25])
def test_a_total_that_lies_is_refused(lie: int, bucket: Bucket) -> None:
    with simulated() as simulator:
        answers, rows = simulator.app.answers, simulator.app.answers._rows

        def page(query: Any, *arguments: Any) -> Any:
            answer = type(answers).page(answers, query, *arguments)
            total = rows(query).total
            body = answer.body.replace(b'"total_count":%d' % total, b'"total_count":%d' % (total + lie))
            return type(answer)(body, answer.rows, answer.skipped)

        answers.page = page  # type: ignore[assignment, method-assign]
        with pytest.raises(errors.IncompleteExportError, match=r"the server counted|shifted"):
            export(bucket)
    bucket.assert_untouched()


@pytest.mark.parametrize(
    "spoil", ["a row twice in place of another", "rows in another order", "a row of another window"]
)
def test_rows_that_cannot_be_are_refused(spoil: str, bucket: Bucket) -> None:
    with simulated() as simulator:
        answers = simulator.app.answers
        [stranger] = list(simulator.truth(START, END))[-1:]

        def page(query: Any, *arguments: Any) -> Any:
            answer = type(answers).page(answers, query, *arguments)
            envelope = json.loads(answer.body)
            if answer.rows > 9:
                data = envelope["data"]
                if spoil == "a row twice in place of another":
                    data[4] = data[5]
                elif spoil == "rows in another order":
                    data[4], data[5] = data[5], data[4]
                else:
                    data[5] = {**stranger, "id": data[5]["id"], "created_at": "2025-11-06T00:00:00Z"}
            return type(answer)(json.dumps(envelope).encode(), answer.rows, answer.skipped)

        answers.page = page  # type: ignore[assignment, method-assign]
        with pytest.raises((errors.IncompleteExportError, errors.UnexpectedAnswerError)):
            export(bucket)
    bucket.assert_untouched()


def test_the_server_s_message_is_shown_without_secrets(bucket: Bucket) -> None:
    with simulated(tokens=(TOKEN,), password=TOKEN) as simulator:
        answer = simulator.app._error(403, f"token {TOKEN} of eve@acme.example has no permission")
        simulator.app._denied = lambda request, path: answer  # type: ignore[method-assign]
        with pytest.raises(errors.ForbiddenError) as raised:
            export(bucket)
    assert "token *** of *** has no permission" in str(raised.value)


def test_an_empty_window_of_an_unknown_entitlement_is_a_warning(bucket: Bucket, log_text: LogText) -> None:
    with simulated(events=0, tells_entitlement=False):
        result = export(bucket)
    assert result["events"] == 0
    assert "does not say whether it is entitled" in log_text()


def test_a_server_without_totals_is_a_warning(bucket: Bucket, log_text: LogText) -> None:
    with simulated(total_count=False):
        result = export(bucket)
    manifest = bucket.manifest(result["key"])
    assert manifest["reconciled"] is False
    assert manifest["total_before"] is None
    assert "cannot be reconciled" in log_text()


def test_a_connection_is_tested(log_text: LogText) -> None:
    with simulated(tokens=(TOKEN,)) as simulator:
        fine, message = CurationAuditHook().test_connection()
        assert fine
        assert "3.131.4" in message
        assert "entitled to Curation" in message
        assert len([each for each in simulator.requests if each.path == AUDIT_PATH]) == 1
    with simulated(entitled=False):
        fine, message = CurationAuditHook().test_connection()
        assert fine
        assert "Warning" in message
        assert "not entitled" in message
    with simulated(tokens=(TOKEN,), password=PASSWORD):
        fine, message = CurationAuditHook().test_connection()
        assert not fine
        assert "401" in message
    _hold_no_secret(message + log_text())
