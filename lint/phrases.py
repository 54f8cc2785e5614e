"""Finds phrasings that read as translated, and fails if there are any: ``python lint/phrases.py [FILE ...]``.

Without files it reads all that git tracks. docs/contributing/style.md says what to write instead.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

#: A phrasing, and what to write instead.
PHRASES = {
    r"\b[Hh]old (that|it against|them against|against)\b": "check that, compare with",
    r"\b(?:can|could|may|must|to|not) be had\b": "is available, can be recovered",
    r"\b(?:has|have) settled in\b": "settles in",
    r"\bSays? whether\b": "return whether",
    r"(?<!there )\b(?:is|are) no (?:number|duration|list|width|outcome|URL)\b": "is not a",
    r"\b(?:begins?|beginning) anew\b": "starts over",
    r"\bat the most\b": "at most",
    r"\bnobody (?:is|was) told\b": "nobody is notified",
    r"\bwhat it came to\b": "the result",
    r"\bon purpose\b": "deliberately",
    r"\btravels? in clear\b": "is sent unencrypted",
    r"\bgive[s]? (?:back|on) [a-z]+ that\b": "return",
    r"\b[Hh]ave (?:it|them|the [a-z]+) (?:end|wait|settle|wait)": "wait until",
    r"\bwhat is (?:wanted|asked) for is\b": "name the thing",
    r"\bin the midst of\b": "in the middle of, among",
    r"\btherefor\b": "for it",
}
#: Pages that quote what not to write.
EXEMPT = ("lint/phrases.py", "docs/contributing/style.md")


def tracked() -> list[str]:
    answer = subprocess.run(["git", "ls-files", "*.py", "*.md"], capture_output=True, text=True, check=True, timeout=30)
    return answer.stdout.split()


def findings(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name in EXEMPT or not name.endswith((".py", ".md")):
            continue
        for number, line in enumerate(Path(name).read_text(encoding="utf-8").splitlines(), 1):
            for phrase, instead in PHRASES.items():
                if found := re.search(phrase, line):
                    yield f"{name}:{number}: {found[0]!r}: {instead}"


def main(names: Sequence[str]) -> int:
    found = list(findings(names or tracked()))
    print("\n".join(found) if found else "No phrase to say more plainly")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
