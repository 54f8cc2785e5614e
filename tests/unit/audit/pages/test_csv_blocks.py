"""Records of a CSV, found line by line or by the csv module: the same whatever the blocks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import Asked, UnexpectedAnswerError
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages import csv_blocks as module
from airflow_provider_curation.audit.pages.csv_blocks import Block, read_blocks

#: What decides where records and cells end.
contents = st.text(st.sampled_from('ab,"\r\n é'), max_size=60)
sizes = st.integers(1, 70)


def blocks(content: bytes, size: int) -> Iterator[Block]:
    with patch.object(module, "BLOCK_BYTES", size):
        yield from read_blocks(Asked("/xray"), io.BytesIO(content), Limits())


@given(contents, sizes)
@example('a,"b"\n"c\nd",e\nf\n', 4)
@example('a"b,"c\nd",e"\n', 70)
@example('"a\n","b\n"\n', 70)
@example('a,"b\r\nc"\r\nd\r\n', 3)
@example("a\rb\n", 70)
@example('"a\n', 70)
def test_records_are_those_of_the_csv_module(text: str, size: int) -> None:
    try:
        expected = list(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except csv.Error:
        with pytest.raises((csv.Error, UnexpectedAnswerError)):
            list(blocks(text.encode(), size))
        return
    while expected and not expected[-1]:
        expected.pop()
    if [] in expected:
        with pytest.raises(UnexpectedAnswerError, match="an empty line between its rows"):
            list(blocks(text.encode(), size))
        return
    found = list(blocks(text.encode(), size))
    assert [row for block in found for row in block.rows] == expected
    for block in found:
        assert [next(csv.reader(io.StringIO(each.decode(), newline="\n"))) for each in block.records] == block.rows
    content = b"".join(record for block in found for record in block.records)
    assert text.encode().rstrip(b"\r\n") == content.rstrip(b"\r\n")


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("cell", "parsed"), [("plain", False), ('"a ""quoted"", cell"', False), ('"two\nlines"', True)]
)
def test_the_csv_module_is_asked_only_where_a_record_has_several_lines(
    line_break: str, cell: str, parsed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    parse = module._parsed

    def noted(text: str, lines: module._Lines) -> tuple[list[list[str]], list[int]]:
        asked.append(text)
        return parse(text, lines)

    monkeypatch.setattr(module, "_parsed", noted)
    found = list(blocks(f"1,{cell}{line_break}2,b{line_break}".encode(), 1000))
    assert [len(row) for block in found for row in block.rows] == [2, 2]
    assert bool(asked) is parsed
