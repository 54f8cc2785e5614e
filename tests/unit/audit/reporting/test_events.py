"""Events are read from every format in the same way, and what is not an event is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.unpacking import ContentError
from airflow_provider_curation.audit.exporting import parquet
from airflow_provider_curation.audit.reporting.events import Event, read_events
from tests.support.reports import START, event, packed, policy

EVENTS = [
    event(number, START + timedelta(seconds=number), action="blocked", policies=[policy(), policy("p", "c")])
    if number % 3
    else event(number, START + timedelta(seconds=number), username="")
    for number in range(9_000)
]
LINES = b"".join(json.dumps(each).encode() + b"\n" for each in EVENTS)


def chunks(body: bytes, size: int = 70_001) -> Iterator[bytes]:
    return (body[place : place + size] for place in range(0, len(body), size))


def read(body: bytes, file_format: str, compression: str) -> list[Event]:
    return [each for batch in read_events(chunks(body), file_format, compression) for each in batch]


def comparable(events: list[Event]) -> list[Any]:
    return [
        (each.id, each.created_at, each.action, each.package_name, [one.policy_name for one in each.policies or ()])
        for each in events
    ]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zip", "none"])
def test_json_lines_are_read_whatever_the_compression(compression: str) -> None:
    events = read(packed(LINES, compression), "jsonl", compression)
    assert [each.id for each in events] == list(range(9_000))
    assert [one.condition_name for one in events[1].policies or ()] == ["Malicious package", "c"]


def test_parquet_has_the_same_events() -> None:
    body = b"".join(parquet.encode([LINES]))
    assert comparable(read(body, "parquet", "zstd")) == comparable(read(LINES, "jsonl", "none"))


def test_a_last_line_without_an_end_is_an_event() -> None:
    assert len(read(LINES.rstrip(b"\n"), "jsonl", "none")) == 9_000


def test_values_of_other_kinds_count_as_missing() -> None:
    odd = [
        event(1, START, action=None, package_name=5, policies="none"),
        event(2, START, policies=[7, {"policy_name": ["x"], "dry_run": "yes"}]),
        event(3, START),
    ]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in odd)
    first, second, third = read(lines, "jsonl", "none")
    assert (first.action, first.package_name, first.policies) == (None, None, None)
    assert [(each.policy_name, each.dry_run) for each in second.policies or ()] == [(None, False)]
    assert third.package_name == "left-pad"


@pytest.mark.parametrize(
    ("body", "file_format", "compression"),
    [
        (b"not JSON\n", "jsonl", "none"),
        (b"[1]\n", "jsonl", "none"),
        (packed(LINES, "gzip")[:-20], "jsonl", "gzip"),
        (b"x" * 100, "jsonl", "gzip"),
        (packed(LINES, "zstd")[:-20] + b"x" * 20, "jsonl", "zstd"),
        (packed(LINES, "zip")[:-50], "jsonl", "zip"),
        (b"x" * 100, "parquet", "zstd"),
        (LINES, "jsonl", "brotli"),
    ],
    ids=["text", "no object", "cut gzip", "no gzip", "damaged zstd", "cut zip", "no parquet", "no compression"],
)
def test_what_cannot_be_read_is_named(body: bytes, file_format: str, compression: str) -> None:
    with pytest.raises(ContentError):
        read(body, file_format, compression)


def test_a_store_that_fails_is_not_an_unreadable_object() -> None:
    def failing() -> Iterator[bytes]:
        yield packed(LINES, "gzip")[:1000]
        raise ValueError("the connection broke")

    with pytest.raises(ValueError, match="the connection broke"):
        list(read_events(failing(), "jsonl", "gzip"))


def test_a_line_without_an_end_is_not_read_into_memory() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * (1 << 20)
        raise AssertionError("more than the limit was read")

    with pytest.raises(ContentError, match="longer than"):
        list(read_events(endless(), "jsonl", "none"))
