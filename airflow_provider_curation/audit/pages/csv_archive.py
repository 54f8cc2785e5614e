"""Opens the zip of a CSV answer without trusting what the zip says about itself."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from airflow_provider_curation.audit.api.faults import fault_of_web_page
from airflow_provider_curation.audit.api.messages import looks_like_html, server_message
from airflow_provider_curation.audit.endpoint import CSV_INCOMPLETE_MEMBER, CSV_MEMBER
from airflow_provider_curation.audit.errors import (
    AnswerTooLargeError,
    Asked,
    CutAnswerError,
    IncompleteCsvError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.limits import Limits

#: Bytes read at once; also the limit for the zip's directory, which has one entry of about 100 bytes.
READ_BYTES = 128 * 1024
#: Bytes of the member that are decompressed at once; larger blocks would pile up in malloc, see :mod:`..mapped`.
_BUFFER_BYTES = 16 * 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def csv_member(asked: Asked, answer: IO[bytes], limits: Limits) -> Iterator[IO[bytes]]:
    """Open the zip's only member for reading, and check its length and CRC at the end.

    :param answer: the zip, as a seekable file.
    :raises IncompleteCsvError: if the member's name says that events are missing.
    :raises CutAnswerError: for an empty body.
    :raises AnswerTooLargeError: for a member that is larger than the limit.
    :raises UnexpectedAnswerError: for another kind of answer.
    :raises zipfile.BadZipFile: for a truncated or damaged zip; zlib and other parts of the library raise errors of
        their own.
    """
    _check_zip(asked, answer)
    with zipfile.ZipFile(cast("IO[bytes]", _Distrusted(asked, answer))) as archive:
        info = _only_member(asked, archive, limits)
        declared = info.file_size
        # zipfile stops at the declared length. One more byte shows whether the content continues.
        info.file_size = declared + 1
        with archive.open(info) as member:
            yield io.BufferedReader(cast("io.RawIOBase", member), _BUFFER_BYTES)
            came = member.tell()
    if came != declared:
        raise zipfile.BadZipFile(f"{came} bytes, where its directory says {declared}")


def _check_zip(asked: Asked, answer: IO[bytes]) -> None:
    answer.seek(0)
    start = answer.read(4096)
    if not start:
        raise CutAnswerError(asked, "200 with an empty body")
    if looks_like_html(start):
        raise fault_of_web_page(asked, start)
    if not start.startswith(b"PK"):
        message = server_message(start, verbatim=False)
        raise UnexpectedAnswerError(asked, "200 with a body that is not a zip", server_message=message)


def _only_member(asked: Asked, archive: zipfile.ZipFile, limits: Limits) -> zipfile.ZipInfo:
    members = archive.infolist()
    names = [each.filename for each in members]
    if names == [CSV_INCOMPLETE_MEMBER]:
        raise IncompleteCsvError(asked, f"a zip with {CSV_INCOMPLETE_MEMBER}: it does not hold all events")
    if names != [CSV_MEMBER]:
        raise UnexpectedAnswerError(asked, f"a zip with {len(names)} members instead of one named {CSV_MEMBER}")
    if members[0].compress_type not in _METHODS:
        method = members[0].compress_type
        raise UnexpectedAnswerError(asked, f"a zip compressed by method {method}, which is neither stored nor deflated")
    if members[0].file_size > limits.max_answer_bytes:
        size = members[0].file_size
        raise AnswerTooLargeError(asked, f"a CSV of {size} bytes, {limits.exceeded('max_answer_bytes')}")
    return members[0]


class _Distrusted:
    """A zip's file that :mod:`zipfile` can read only in limited steps, and at positions that exist."""

    def __init__(self, asked: Asked, file: IO[bytes]) -> None:
        self._asked = asked
        self._file = file
        self.tell = file.tell
        self.seekable = file.seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OverflowError, OSError) as error:
            if whence:
                # zipfile looks for a record before the end, and expects this error if the file is too short.
                raise OSError(*error.args) from error
            raise zipfile.BadZipFile(f"an offset of {offset} in its directory") from error

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, READ_BYTES + 1) if size >= 0 else READ_BYTES + 1)
        if len(data) > READ_BYTES:
            raise UnexpectedAnswerError(self._asked, f"a zip whose directory is longer than {READ_BYTES} bytes")
        return data
