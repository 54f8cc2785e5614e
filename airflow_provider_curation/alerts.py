"""Formats blocked events as lines that are safe in logs, Slack and HTML, since strangers wrote much of their text."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

#: The most characters of each field; a package's name can be as long as its author likes.
MOST_CHARACTERS: Final = 200
# Slack formats text between these, and cannot escape them. It also formats between underscores, but names often have
# those.
_MARKUP: Final = re.compile(r"[*~`]")


def plain(text: object) -> str:
    r"""Return a stranger's text as one line without mark-up.

    Line breaks, control characters (which start ANSI sequences), invisible and direction-changing characters and
    Slack's ``*~``` become escapes such as ``\x1b``. ``&<>"'`` become HTML entities, which Slack also understands, so
    ``<!channel>`` and links are plain text.

    :return: at most 200 characters of the text, and ``…`` if there were more.
    """
    said = str(text)
    shown = "".join(map(_visible, said[:MOST_CHARACTERS]))
    return html.escape(_MARKUP.sub(_escaped, shown)) + "…" * (len(said) > MOST_CHARACTERS)


def blocked_line(event: Mapping[str, Any]) -> str:
    """Return a blocked event as one line: time, package, repository, project, reason and policies.

    It does not name people.
    """
    package = " ".join(plain(event.get(name) or "?") for name in ("package_type", "package_name", "package_version"))
    repository = plain(event.get("curated_repository_name") or "?")
    project = plain(event.get("curated_project") or "?")
    policies = sorted({plain(policy.get("policy_name") or "?") for policy in event.get("policies") or ()})
    why = ": ".join(filter(None, (plain(event.get("reason") or ""), ", ".join(policies))))
    when = plain(event.get("created_at") or "?")
    return f"{when} {package} for {repository} (project {project}): {why or 'no reason given'}"


def _visible(character: str) -> str:
    # Cc, Cf, Cs, Co, Cn; and the separators of lines and paragraphs.
    category = unicodedata.category(character)
    if category.startswith("C") or category in ("Zl", "Zp"):
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character


def _escaped(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"
