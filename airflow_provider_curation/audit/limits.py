"""The limits of one answer: bytes, structure and time.

A server, or whatever answers in its place, may send anything. These limits keep an answer below 64 MB of memory, within
a limited file on disk and a limited time. Each one is an extra of the connection with the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from airflow_provider_curation.audit.errors import InvalidArgumentError

_MIB = 1024 * 1024
#: A longer event, in bytes, would not fit into memory together with the copies that its checks need.
LONGEST_LINE = 16 * _MIB


@dataclass(frozen=True)
class Limits:
    """The limits of one answer.

    :param max_answer_bytes: bytes of one answer, both as received and decompressed.
    :param max_json_bytes: bytes of one decompressed JSON answer, which is kept in memory, unlike CSV.
    :param max_json_objects: JSON objects in one answer: events, policies and everything else in braces.
    :param max_line_bytes: bytes of one event: its JSON, or all of its CSV rows; also of the CSV header. At most 16 MiB.
    :param max_nesting: levels of objects and arrays in one event.
    :param answer_deadline: seconds from a request to the last byte of its answer.
    :raises InvalidArgumentError: for a limit that is not a positive number, or too large.
    """

    max_answer_bytes: int = 256 * _MIB
    max_json_bytes: int = 8 * _MIB
    max_json_objects: int = 100_000
    max_line_bytes: int = _MIB
    max_nesting: int = 256
    answer_deadline: float = 600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            limit = getattr(self, each.name)
            whole = each.name != "answer_deadline"
            if isinstance(limit, bool) or not isinstance(limit, int if whole else (int, float)) or not limit > 0:
                kind = "a positive whole number" if whole else "a positive number of seconds"
                raise InvalidArgumentError(f"{each.name}={limit!r} is not {kind}.")
        if self.max_line_bytes > LONGEST_LINE:
            raise InvalidArgumentError(
                f"max_line_bytes={self.max_line_bytes} is more than {LONGEST_LINE}; an event that large cannot be "
                "checked in memory."
            )

    def exceeded(self, name: str) -> str:
        """Return an error's words for a limit: ``more than the connection's extra max_nesting=256 allows``."""
        return f"more than the connection's extra {name}={getattr(self, name)} allows"
