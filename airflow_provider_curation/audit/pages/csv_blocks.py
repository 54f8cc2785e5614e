"""The records of a CSV member in blocks of bounded size: each record's cells beside its own bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import IO, NamedTuple

from airflow_provider_curation.audit.errors import AnswerTooLargeError, Asked, UnexpectedAnswerError
from airflow_provider_curation.audit.limits import LONGEST_LINE, Limits

#: Bytes of a block, apart from the rest of its last record; larger ones would pile up in malloc, see :mod:`..mapped`.
BLOCK_BYTES = 16 * 1024
# By default, the csv module takes a cell of more than 128 KiB for a mistake. Limits bound records, cells included.
csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))


class Block(NamedTuple):
    """Some records in order: the cells of each, and its bytes with the line break."""

    rows: list[list[str]]
    records: list[bytes]


def read_blocks(asked: Asked, member: IO[bytes], limits: Limits) -> Iterator[Block]:
    """Give the records from the member's position to its end. Empty lines may stand at the end.

    :raises AnswerTooLargeError: for a record that is longer than the limit.
    :raises UnexpectedAnswerError: for a record after an empty line.
    :raises csv.Error: for a record that cannot be parsed, such as one with an open quote.
    :raises UnicodeDecodeError: for bytes that are not UTF-8.
    """
    lines = _Lines(asked, member, limits)
    while text := lines.read():
        rows = _rows_of_lines(text)
        if rows is not None:
            block = Block(rows, io.BytesIO(lines.take()).readlines())
        else:
            rows, lines_of = _parsed(text, lines)
            block = Block(rows, _records(lines.take(), lines_of))
        if max(map(len, block.records)) > limits.max_line_bytes:
            raise lines.too_long()
        if all(rows):
            yield block
            continue
        first_empty = rows.index([])
        yield Block(rows[:first_empty], block.records[:first_empty])
        _check_nothing_follows(asked, rows[first_empty:], member)
        return


def _rows_of_lines(text: str) -> list[list[str]] | None:
    """Return the cells of each line; ``None`` unless each line is a record, as it is in most blocks.

    A line without quotes is divided at its commas, which takes a third of the time that the csv module takes.
    """
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        return None
    lines = text.removesuffix("\n").split("\n")
    quoted = [line for line in lines if '"' in line]
    try:
        parsed = list(csv.reader(quoted, strict=True))
    except csv.Error:
        return None
    if len(parsed) != len(quoted):
        # Some record goes on in another line.
        return None
    rows_of_quoted = iter(parsed)
    return [next(rows_of_quoted) if '"' in line else line.split(",") if line else [] for line in lines]


def _parsed(text: str, lines: _Lines) -> tuple[list[list[str]], list[int]]:
    """Return the cells of each record and its number of lines, from a block to the end of one that ends a record."""
    rows: list[list[str]] = []
    lines_of: list[int] = []
    reader = csv.reader(chain.from_iterable(lines.following(text)), strict=True)
    done = 0
    for row in reader:
        rows.append(row)
        end = reader.line_num
        lines_of.append(end - done)
        done = end
        # The block's last line may end in the middle of a record, which then goes on in the next block.
        if end == lines.waiting:
            break
    return rows, lines_of


def _records(content: bytes, lines: list[int]) -> list[bytes]:
    """Return the bytes of each record, given its number of lines."""
    stream = io.BytesIO(content)
    if max(lines) == 1:
        return stream.readlines()
    records = []
    for number in lines:
        if number == 1:
            records.append(stream.readline())
        else:
            start = stream.tell()
            size = sum(map(len, islice(stream, number)))
            stream.seek(start)
            records.append(stream.read(size))
    return records


def _check_nothing_follows(asked: Asked, rows: list[list[str]], member: IO[bytes]) -> None:
    if any(rows) or any(part.strip(b"\r\n") for part in iter(lambda: member.read(BLOCK_BYTES), b"")):
        raise UnexpectedAnswerError(asked, "a CSV with an empty line between its rows")


class _Lines:
    """A member's lines as text, block by block; keeps their bytes until they are taken."""

    def __init__(self, asked: Asked, member: IO[bytes], limits: Limits) -> None:
        self._asked = asked
        self._member = member
        self._limits = limits
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        #: Lines that were read and not taken.
        self.waiting = 0

    def read(self) -> str:
        """Return the lines of one more block, the last of them whole; empty at the end."""
        block = self._member.read(BLOCK_BYTES)
        if not block:
            return ""
        if not block.endswith(b"\n"):
            block += self._rest_of_line()
        self._kept_bytes += len(block)
        if self._kept_bytes > 2 * (self._limits.max_line_bytes + BLOCK_BYTES):
            # Whole records are taken block by block, so the lines of one record have piled up.
            raise self.too_long()
        self._kept.append(block)
        self.waiting += block.count(b"\n") + (not block.endswith(b"\n"))
        return block.decode()

    def following(self, text: str) -> Iterator[Iterable[str]]:
        """Give the lines of a block that was read, and of those behind it."""
        while text:
            yield io.StringIO(text, newline="\n")
            text = self.read()

    def _rest_of_line(self) -> bytes:
        rest = self._member.readline(self._limits.max_line_bytes + 1)
        if len(rest) > self._limits.max_line_bytes:
            raise self.too_long()
        return rest

    def take(self) -> bytes:
        """Return the bytes of the lines given since the last call."""
        content = b"".join(self._kept)
        self._kept, self._kept_bytes, self.waiting = [], 0, 0
        return content

    def too_long(self) -> AnswerTooLargeError:
        return AnswerTooLargeError(self._asked, f"a CSV row {self._limits.exceeded('max_line_bytes')}")
