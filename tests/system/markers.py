"""Secrets and a person that are planted, and how they are found again in whatever form."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

from cryptography.fernet import Fernet

from airflow_provider_curation.simulator import Simulator

LOGIN = "made-up-login"
PASSWORD = "made-up-password-decade"
TOKEN = "made-up-token-c0ffee"
WRONG = "made-up-wrong-password-faded"
HEADER = "made-up-header-feedbead"
AWS_SECRET = "made-up-secret"
PERSON = "made-up-person-ada"
MAIL = "made-up-person-ada@private.example"
#: Stands beside the person in the same event, and may be shown: whoever does not find it searches in vain.
PACKAGE = "made-up-package-control"

#: The last is every simulated person's.
PEOPLE = (PERSON, MAIL, "@acme.example")
MARKERS = (PASSWORD, TOKEN, WRONG, HEADER, AWS_SECRET, *PEOPLE)
BASIC = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()


def plant(server: Simulator, moment: datetime) -> int:
    """Let a person's request appear among the events."""
    return server.insert(moment, action="blocked", username=PERSON, user_mail=MAIL, package_name=PACKAGE)


def forms(marker: str) -> set[bytes]:
    """How a marker can be written: as it is, in a URL, as PostgreSQL's hexadecimal bytes, and within base64."""
    raw = marker.encode()
    found = {raw, quote(marker, safe="").encode(), raw.hex().encode()}
    for shift in range(3):
        # Only what no neighbouring byte has a part in.
        text = base64.b64encode(b"\0" * shift + raw)
        found.add(text[(0, 2, 3)[shift] : len(text) - (0, 4, 3)[(shift + len(raw)) % 3] or None])
    return {form for form in found if len(form) > 8}


def leaks(content: bytes, markers: tuple[str, ...] = MARKERS) -> list[str]:
    return [marker for marker in markers if any(form in content for form in forms(marker))]


def decrypted(key: str, dump: bytes) -> Iterator[bytes]:
    """What Airflow encrypted in a dump of its database, but for connections: there a secret belongs."""
    fernet = Fernet(key.encode())
    for line in dump.splitlines():
        if not line.startswith(b"INSERT INTO public.connection "):
            for word in line.replace(b'"', b"'").split(b"'"):
                if word.startswith(b"gAAAA"):
                    yield fernet.decrypt(word)
