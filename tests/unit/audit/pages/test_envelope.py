"""The envelope that ``hook.get_page`` returns: what the server said, within the limits of any other answer."""

from __future__ import annotations

import json

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    AnswerTooLargeError,
    CutAnswerError,
    NotTheApiError,
    RequestError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages.envelope import json_envelope
from airflow_provider_curation.audit.window import Window

QUERY = Query(Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z"), 3)
SMALL = Limits(max_json_bytes=20_000, max_json_objects=50, max_line_bytes=2_000, max_nesting=20)


def answer(event: str, meta: str = "{}") -> bytes:
    return f'{{"data":[{event}],"meta":{meta}}}'.encode()


@pytest.mark.parametrize("indent", [None, 2])
def test_it_is_what_the_server_said(indent: int | None) -> None:
    said = {"data": [{"id": 2, "new": {"a": [1, None, "é, [{"]}}, {"id": 1}], "meta": {"total_count": 7}, "more": [1]}
    body = json.dumps(said, indent=indent, ensure_ascii=False).encode()
    assert json_envelope(QUERY, body, Limits()) == said


def test_an_empty_page_has_a_list() -> None:
    assert json_envelope(QUERY, b'{"data":null,"meta":{}}', Limits()) == {"data": [], "meta": {}}


@pytest.mark.parametrize(
    ("body", "extra"),
    [
        (answer('{"reason":"' + "x" * 20_000 + '"}'), "max_json_bytes=20000"),
        (answer('{"policies":[' + ",".join(["{}"] * 60) + "]}"), "max_json_objects=50"),
        (answer('{"new":[' + ",".join(["1"] * 120) + "]}"), "max_json_objects=50"),
        (answer("{}", '{"new":[' + ",".join(["[]"] * 60) + "]}"), "max_json_objects=50"),
        (answer('{"reason":"' + "x" * 2_000 + '"}'), "max_line_bytes=2000"),
        (answer('{"new":' + "[" * 20 + "]" * 20 + "}"), "max_nesting=20"),
    ],
)
@pytest.mark.parametrize("space", [b"", b"\n"])
def test_an_error_names_the_limit(body: bytes, extra: str, space: bytes) -> None:
    with pytest.raises(AnswerTooLargeError, match=f"the connection's extra {extra} allows"):
        json_envelope(QUERY, space + body, SMALL)


def test_commas_inside_of_strings_are_no_values() -> None:
    text = ",[{" * 120
    assert json_envelope(QUERY, answer(json.dumps({"reason": text})), Limits(max_json_objects=130))["data"] == [
        {"reason": text}
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", UnexpectedAnswerError),
        (b'{"data":[]}', UnexpectedAnswerError),
        (b'{"data":[],"meta":[]}', UnexpectedAnswerError),
        (b'{"data":[],"meta":{"a":"' + b"x" * 100_000 + b'"}}', UnexpectedAnswerError),
        (b'{"data":{},"meta":{}}', UnexpectedAnswerError),
        (b'{"data":[{},{},{},{}],"meta":{}}', UnexpectedAnswerError),
        (b'{"data":[],"data":[{}],"meta":{}}', UnexpectedAnswerError),
        (b'{"data":[{"a":"\xff"}],"meta":{}}', UnexpectedAnswerError),
        (b'{"data":[{"a', CutAnswerError),
        (b"", CutAnswerError),
        (b"<html><title>Sign in</title></html>", NotTheApiError),
    ],
)
def test_what_is_not_the_envelope_is_a_named_error(body: bytes, kind: type[RequestError]) -> None:
    with pytest.raises(kind):
        json_envelope(QUERY, body, Limits())
