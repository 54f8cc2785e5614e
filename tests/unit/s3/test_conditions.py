"""Conditional requests, and stores that do not support them: noticed once, and logged."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_curation.audit.errors import ExportUnderWayError
from airflow_provider_curation.s3.conditions import Conditions, etag_of, if_unchanged, naming_conflicts


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "PutObject")


class Store:
    """Answers the calls that it is sent; those with a condition with an error's code, if it has one."""

    def __init__(self, code: str | None = None) -> None:
        self.code = code
        self.calls: list[dict[str, Any]] = []

    def put(self, **asked: Any) -> str:
        self.calls.append(asked)
        if self.code and {"IfMatch", "IfNoneMatch"} & set(asked):
            raise refusal(self.code)
        return "done"


@pytest.mark.parametrize("code", ["NotImplemented", "501"])
def test_a_store_without_conditions_is_asked_once_with_them(code: str, caplog: pytest.LogCaptureFixture) -> None:
    store, conditions = Store(code), Conditions("s3://archive/k")
    for _ in range(2):
        assert conditions.send(store.put, "PutObject", if_unchanged(None), Key="k") == "done"
    assert store.calls == [{"Key": "k", "IfNoneMatch": "*"}, {"Key": "k"}, {"Key": "k"}]
    assert caplog.text.count("s3://archive/k does not support conditional PutObject requests") == 1
    # Another operation may know them.
    conditions.send(store.put, "DeleteObject", if_unchanged("etag"), Key="k")
    assert store.calls[3] == {"Key": "k", "IfMatch": "etag"}


def test_conditions_are_sent_each_time() -> None:
    store, conditions = Store(), Conditions("s3://archive/k")
    for etag in ("e1", None):
        conditions.send(store.put, "PutObject", if_unchanged(etag))
    assert store.calls == [{"IfMatch": "e1"}, {"IfNoneMatch": "*"}]


@pytest.mark.parametrize("code", ["PreconditionFailed", "412", "ConditionalRequestConflict", "AccessDenied"])
def test_a_refusal_is_the_callers(code: str) -> None:
    store, conditions = Store(code), Conditions("s3://archive/k")
    with pytest.raises(ClientError):
        conditions.send(store.put, "PutObject", if_unchanged("e1"))
    assert len(store.calls) == 1


def test_a_store_that_refuses_conditions_that_are_met_is_sent_none(caplog: pytest.LogCaptureFixture) -> None:
    store, conditions = Store("PreconditionFailed"), Conditions("s3://archive/k")
    conditions.distrust("PutObject")
    assert conditions.send(store.put, "PutObject", if_unchanged("e1")) == "done"
    assert "although its condition is met" in caplog.text


@pytest.mark.parametrize("code", ["PreconditionFailed", "409", "NoSuchKey", "NoSuchUpload"])
def test_a_conflict_has_a_name(code: str) -> None:
    said = rf"s3://archive/k was written by something else.*{code}"
    with pytest.raises(ExportUnderWayError, match=said), naming_conflicts("s3://archive/k"):
        raise refusal(code)


def test_another_fault_is_no_conflict() -> None:
    with pytest.raises(ClientError), naming_conflicts("s3://archive/k"):
        raise refusal("AccessDenied")


@pytest.mark.parametrize(
    ("answer", "etag"), [({"ETag": '"e1"'}, "e1"), ({"ETag": "e1"}, "e1"), ({"ETag": ""}, None), ({}, None)]
)
def test_an_etag_without_quotes(answer: dict[str, Any], etag: str | None) -> None:
    assert etag_of(answer) == etag
