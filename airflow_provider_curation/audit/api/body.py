"""An answer's bytes, decompressed and within the connection's limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import requests

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.api.redaction import Redactor
from airflow_provider_curation.audit.errors import Asked
from airflow_provider_curation.audit.limits import Limits

_READ_BYTES = 64 * 1024
_DECOMPRESSED_BYTES = 256 * 1024


def body_chunks(
    asked: Asked, response: requests.Response, limits: Limits, redactor: Redactor, limit: str = "max_answer_bytes"
) -> Iterator[bytes]:
    """Yield an answer's body in decompressed chunks of at most 256 KiB.

    :param limit: the name of the limit for the decompressed bytes.
    :raises AnswerTooLargeError: before it yields more bytes than the limit.
    :raises CutAnswerError: for a truncated or damaged gzip body.
    :raises UnexpectedAnswerError: for an encoding that was not asked for.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity"):
        shown = redactor.quoted(encoding)
        raise errors.UnexpectedAnswerError(asked, f"a body in the encoding {shown}, which was not asked for")
    received = _received(asked, response, limits)
    most = min(getattr(limits, limit), limits.max_answer_bytes)
    given = 0
    for chunk in _gunzipped(asked, received) if encoding == "gzip" else received:
        given += len(chunk)
        if given > most:
            raise errors.AnswerTooLargeError(asked, f"a body of {limits.exceeded(limit)}")
        yield chunk


def _received(asked: Asked, response: requests.Response, limits: Limits) -> Iterator[bytes]:
    received = 0
    # The raw body: requests' own decoding has no limit, and is several times slower.
    while chunk := response.raw.read(_READ_BYTES, decode_content=False):
        received += len(chunk)
        if received > limits.max_answer_bytes:
            raise errors.AnswerTooLargeError(asked, f"a body of {limits.exceeded('max_answer_bytes')}")
        yield chunk


def _gunzipped(asked: Asked, received: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip data of one or more members."""
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for data in received:
            while data:
                if gzip.eof:
                    # Zeros may pad the data; anything else is another member.
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
                if chunk := gzip.decompress(data, _DECOMPRESSED_BYTES):
                    yield chunk
                data = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
        while not gzip.eof and (chunk := gzip.decompress(gzip.unconsumed_tail, _DECOMPRESSED_BYTES)):
            yield chunk
    except zlib.error as error:
        damage = str(error)
    else:
        damage = "" if gzip.eof else "it ended early"
    if damage:
        raise errors.CutAnswerError(asked, f"a gzip body that cannot be decompressed ({damage})")
