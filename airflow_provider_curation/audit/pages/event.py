"""An event of a page as a dict, for users who read events; exports keep the server's own bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_curation.audit.errors import Asked, UnexpectedAnswerError

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def event_of(asked: Asked, line: bytes, named: str = "an event") -> dict[str, Any]:
    """Return a line of a checked page as a dict.

    :param named: what an error calls the event.
    :raises UnexpectedAnswerError: if it has a number that Python cannot hold.
    """
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        raise UnexpectedAnswerError(asked, f"{named} with a value that Python cannot hold ({error})") from error
