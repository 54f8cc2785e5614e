"""A JSON answer decoded whole, for users who want the server's envelope itself, within the same limits as a page."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import AnswerTooLargeError, Asked, UnexpectedAnswerError
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages.json_answer import (
    check_events,
    check_members,
    compacted,
    decode,
    raw_decoder,
)

#: One decoded value takes up to about 130 bytes of memory, beside its text.
_VALUES_AN_OBJECT: Final = 2
_MOST_META_BYTES: Final = 64 * 1024
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

_decoder = msgspec.json.Decoder(dict[str, Any])


def json_envelope(query: Query, answer: bytes | memoryview, limits: Limits) -> dict[str, Any]:
    """Check a JSON answer against the limits and return it decoded; an empty page's data is ``[]``.

    :param answer: the body, decompressed.
    :raises AnswerTooLargeError: for an answer that exceeds a limit.
    :raises UnexpectedAnswerError: for a body that is JSON, but not the envelope, or not UTF-8.
    :raises CutAnswerError: for a body that ends early.
    :raises NotTheApiError: for a page of HTML.
    """
    asked = query.asked
    answer, objects = compacted(asked, answer, limits)
    # Counted first, so that there is never an object for each of too many values.
    _check_values(asked, bytes(answer), limits)
    envelope = decode(asked, answer, limits, raw_decoder.decode)
    raws = envelope.data or []
    if len(raws) > query.num_of_rows:
        raise UnexpectedAnswerError(asked, f"{len(raws)} events, more than were asked for")
    if not bytes(envelope.meta).startswith(b"{") or len(envelope.meta) > _MOST_META_BYTES:
        raise UnexpectedAnswerError(asked, "JSON whose meta is not a small object")
    lengths = list(map(len, raws))
    check_members(asked, answer, envelope.data, envelope.meta, lengths)
    check_events(asked, raws, lengths, 0, answer, objects, limits)
    decoded = decode(asked, answer, limits, _decoder.decode)
    decoded["data"] = decoded["data"] or []
    return decoded


def _check_values(asked: Asked, answer: bytes, limits: Limits) -> None:
    """Check that an answer does not have more values than fit into memory once they are decoded.

    :raises AnswerTooLargeError: if it does.
    """
    most = _VALUES_AN_OBJECT * limits.max_json_objects
    if answer.count(b",") + answer.count(b"[") + answer.count(b"{") <= most:
        return
    # Commas and brackets inside of strings do not count.
    bare = _STRING.sub(b"", answer)
    values = bare.count(b",") + bare.count(b"[") + bare.count(b"{")
    if values > most:
        raise AnswerTooLargeError(
            asked, f"JSON of {values} values, {limits.exceeded('max_json_objects')} ({_VALUES_AN_OBJECT} for each)"
        )
