"""What a task's log shows of an error."""

from __future__ import annotations

import logging
import traceback

import pytest

from airflow_provider_curation import compat
from airflow_provider_curation.audit.errors import (
    Asked,
    CurationAuditError,
    ExpiredWindowError,
    IncompleteExportError,
    ServerFaultError,
    UnauthorizedError,
)
from airflow_provider_curation.compat import AirflowFailException, ending_without_retries

REFUSED = UnauthorizedError(Asked("/xray/api/v1/audit"), "401 Unauthorized", status=401, server_message="expired " * 40)


def fail_deep_down(error: Exception, depth: int = 20) -> None:
    if depth:
        fail_deep_down(error, depth - 1)
    raise error from OSError("the connection broke")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged, also where Airflow keeps its own loggers to itself."""
    logger = logging.getLogger("tests.compat")
    monkeypatch.setattr(compat, "log", logger)
    caplog.set_level(logging.DEBUG, logger.name)
    return caplog


def shown_lines(logged: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in logged.records if record.levelno == logging.ERROR]


def test_the_log_says_what_was_asked_what_was_answered_and_what_to_do(logged: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnauthorizedError), ending_without_retries():
        fail_deep_down(REFUSED)

    said = shown_lines(logged)
    assert [line.split()[0] for line in said if not line.startswith("  ")] == ["Asked:", "Answered:", "Do:"]
    assert max(map(len, said)) <= 110
    assert "Asked: GET /xray/api/v1/audit" in said


def test_other_errors_have_a_line_for_each_sentence(logged: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExpiredWindowError), ending_without_retries():
        raise ExpiredWindowError("The server has forgotten 2026-10-01. Give a later start.\n- one more")

    assert shown_lines(logged) == ["The server has forgotten 2026-10-01.", "Give a later start.", "- one more"]


@pytest.mark.parametrize(
    "error", [REFUSED, ServerFaultError(Asked("/xray"), "503"), IncompleteExportError("90 of 100 events")]
)
def test_the_traceback_is_short_and_the_whole_one_is_at_debug(
    error: CurationAuditError, logged: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)) as caught, ending_without_retries():
        fail_deep_down(error)

    shown = "".join(traceback.format_exception(caught.value))
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2
    assert "fail_deep_down(error, depth" not in shown
    assert "the connection broke" not in shown
    assert isinstance(caught.value, AirflowFailException) is not error.retry_task
    assert "fail_deep_down(error, depth" in logged.text
    assert "the connection broke" in logged.text


def test_what_nobody_expected_keeps_its_traceback(logged: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="a full disk") as caught, ending_without_retries():
        fail_deep_down(OSError("a full disk"))

    assert len(traceback.extract_tb(caught.value.__traceback__)) > 20
    assert logged.records == []
