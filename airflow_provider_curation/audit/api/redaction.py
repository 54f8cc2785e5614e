"""Cleans whatever a server says before it reaches a log or an exception; every path uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(\.[\w-]{1,64})*")
_MESSAGE_CHARACTERS = 300


class Redactor:
    """Removes credentials and mail addresses.

    :param secrets: the values to remove.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def clean(self, message: str | None) -> str | None:
        """Return a server's message without credentials and mail addresses; it may repeat what it was sent."""
        if not message:
            return None
        for secret in self._secrets:
            message = message.replace(secret, "***")
        # Cut with some room, so that no half of an address is left at the end of what is kept.
        return _MAIL.sub("***", message[: 2 * _MESSAGE_CHARACTERS])[:_MESSAGE_CHARACTERS]
