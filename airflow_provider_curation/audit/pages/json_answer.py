"""Checks a JSON answer's bytes against the limits and decodes them, or raises a named error.

msgspec checks the syntax of a whole answer, but the text of the decoded fields only, and of repeated members it keeps
the last one. This module checks the rest.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from airflow_provider_curation.audit.api.faults import fault_of_web_page
from airflow_provider_curation.audit.api.messages import looks_like_html, server_message
from airflow_provider_curation.audit.errors import (
    AnswerTooLargeError,
    Asked,
    CutAnswerError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.limits import Limits

_T = TypeVar("_T")


class RawEnvelope(msgspec.Struct, gc=False):
    """The envelope of an answer, with its events and its meta as bytes."""

    data: list[msgspec.Raw] | None
    meta: msgspec.Raw


raw_decoder = msgspec.json.Decoder(RawEnvelope)

_MESSAGE_BYTES: Final = 16 * 1024
#: Bytes of an answer that are examined at once; decoded, they can take four times as much memory.
_PART_BYTES: Final = 16 * 1024
#: Bytes of an answer besides its events and its meta; with more, it is not an envelope.
_MOST_OTHER_BYTES: Final = 64 * 1024
# A string, or a bracket outside of strings.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def compacted(asked: Asked, answer: bytes | memoryview, limits: Limits) -> tuple[memoryview, int]:
    """Check an answer's size and text, and return the answer on one line, with every token unchanged.

    :return: the answer, and the number of its objects.
    :raises AnswerTooLargeError: for more bytes or objects than the limits allow.
    :raises UnexpectedAnswerError: for bytes that are not UTF-8.
    :raises CutAnswerError: for a body that is not complete JSON.
    """
    if len(answer) > limits.max_json_bytes:
        raise AnswerTooLargeError(asked, f"JSON of {len(answer)} bytes, {limits.exceeded('max_json_bytes')}")
    answer, objects, broken = _stripped(memoryview(answer)), 0, False
    for part in _parts(answer):
        objects += part.count(b"{")
        broken = broken or b"\n" in part or b"\r" in part
    if objects > limits.max_json_objects:
        raise AnswerTooLargeError(asked, f"JSON of {objects} objects, {limits.exceeded('max_json_objects')}")
    check_text(asked, answer)
    if broken:
        answer = memoryview(decode(asked, answer, limits, lambda body: msgspec.json.format(body, indent=-1)))
    return answer, objects


def _parts(answer: memoryview) -> Iterator[bytes]:
    """Yield copies of an answer's parts; a copy of the whole answer would fragment malloc, see :mod:`..mapped`."""
    for place in range(0, len(answer), _PART_BYTES):
        yield bytes(answer[place : place + _PART_BYTES])


def _stripped(answer: memoryview) -> memoryview:
    """Return an answer without the white space at its end."""
    while len(answer):
        tail = bytes(answer[-_PART_BYTES:])
        bare = tail.rstrip()
        answer = answer[: len(answer) - len(tail) + len(bare)]
        if bare:
            break
    return answer


def check_text(asked: Asked, body: memoryview) -> None:
    """Check that the whole answer is UTF-8.

    :raises UnexpectedAnswerError: if it is not.
    """
    place = 0
    try:
        while place < len(body):
            last = place + _PART_BYTES >= len(body)
            place += codecs.utf_8_decode(body[place : place + _PART_BYTES], "strict", last)[1]
    except UnicodeDecodeError as error:
        if looks_like_html(bytes(body[:_PART_BYTES])):
            raise refuse_json(asked, body, error) from error
        raise UnexpectedAnswerError(asked, f"a body with bytes that are not UTF-8 ({error.reason})") from error


def check_members(
    asked: Asked, answer: memoryview, data: Sequence[msgspec.Raw] | None, meta: msgspec.Raw, lengths: Sequence[int]
) -> None:
    """Check that no member of the envelope is repeated: the last one would hide the first one.

    :param answer: the whole answer on one line.
    :param data: its events, ``None`` for null.
    :param lengths: bytes of each event.
    :raises UnexpectedAnswerError: if one is, or if there is too much besides data and meta.
    """
    events = 4 if data is None else sum(lengths) + max(len(lengths) - 1, 0) + 2
    if len(answer) == len('{"data":,"meta":}') + events + len(meta):
        return
    # There is white space, or another member.
    whole = msgspec.json.format(answer, indent=-1)
    if data is not None:
        events = sum(len(msgspec.json.format(each, indent=-1)) for each in data) + max(len(data) - 1, 0) + 2
    other = len(whole) - events - len(msgspec.json.format(meta, indent=-1))
    if other <= _MOST_OTHER_BYTES:
        members = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
        known = sum(len(msgspec.json.encode(name)) + 2 + len(member) for name, member in members.items())
        if len(whole) == known + 1:
            return
    raise UnexpectedAnswerError(
        asked, "JSON with repeated members, or with more besides data and meta than an envelope"
    )


def check_events(
    asked: Asked,
    raws: Sequence[msgspec.Raw],
    lengths: Sequence[int],
    plain: int,
    answer: memoryview,
    objects: int,
    limits: Limits,
) -> None:
    """Check that no event is longer or more deeply nested than the limits allow.

    :param lengths: bytes of each event.
    :param plain: opening brackets in the known fields of the events, or fewer.
    :param objects: opening braces in the whole answer.
    :raises AnswerTooLargeError: if one is.
    """
    if lengths and max(lengths) > limits.max_line_bytes:
        raise AnswerTooLargeError(asked, f"an event {limits.exceeded('max_line_bytes')}")
    # Only additional brackets can nest more deeply, and there are usually hardly any.
    if not _has_more(answer, b"[", plain + limits.max_nesting - objects):
        return
    for raw in raws:
        event = bytes(raw)
        if event.count(b"{") + event.count(b"[") > limits.max_nesting and _nesting(event) > limits.max_nesting:
            raise AnswerTooLargeError(asked, f"an event nested {limits.exceeded('max_nesting')}")


def _has_more(text: memoryview, byte: bytes, most: int) -> bool:
    """Return whether a rare byte occurs at least ``most`` times.

    ``find`` examines many bytes at once, ``count`` one after another until Python 3.13: for an event's one or two
    lists, a loop takes less than half the time.
    """
    found = 0
    for part in _parts(text):
        place = -1
        while found < most and (place := part.find(byte, place + 1)) >= 0:
            found += 1
    return found >= most


def _nesting(text: bytes) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def decode(asked: Asked, body: memoryview, limits: Limits, decoder: Callable[[memoryview], _T]) -> _T:
    """Decode a body, or raise the named error for one that does not decode."""
    try:
        return decoder(body)
    except RecursionError as error:
        raise AnswerTooLargeError(asked, f"JSON nested {limits.exceeded('max_nesting')}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse_json(asked, body, error) from error


def refuse_json(asked: Asked, answer: memoryview, error: Exception) -> Exception:
    """Return the named error for a body that does not decode as expected."""
    body = bytes(answer)
    if not body.strip():
        return CutAnswerError(asked, "200 with an empty body")
    if looks_like_html(body):
        return fault_of_web_page(asked, body)
    if isinstance(error, msgspec.ValidationError):
        # An error with status 200 is short. Decoding a long answer completely could take any amount of memory.
        message = server_message(body) if len(body) <= _MESSAGE_BYTES else None
        return UnexpectedAnswerError(asked, f"JSON of another form ({error})", server_message=message)
    return CutAnswerError(asked, f"a body of {len(body)} bytes that is not complete JSON ({error})")
