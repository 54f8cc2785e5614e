"""What the commands of this package share: the arguments that name an archive, and text that any terminal can show."""

from __future__ import annotations

import argparse
import sys
from typing import TextIO

from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.printable import printable


class ArchiveParser(argparse.ArgumentParser):
    """Parses the arguments of a command that verifies a period of an archive.

    :param module: the command's module, below this package.
    """

    def __init__(self, module: str, description: str) -> None:
        super().__init__(prog=f"python -m airflow_provider_curation.{module}", description=description)
        self.add_argument("location", help="a folder with a copy of the archive, or s3://bucket/curation")
        self.add_argument("--start", help="start of the period (default: that of the first seal)")
        self.add_argument("--end", help="end of the period, exclusive (default: that of the last seal)")
        self.add_repeatable("--expected", "STREAM/FORMAT", "unfiltered exports that must exist, such as events/jsonl")
        self.add_repeatable("--public-key", "PATH", "a public key in PEM, or a key ring: a JSON file, or a folder")
        self.add_repeatable("--known-seal", "SHA256", "a seal that must be in the chain")
        self.add_repeatable("--ignore", "KIND", "a kind of finding that is expected")

    def add_repeatable(self, name: str, metavar: str, text: str) -> None:
        """Add an option that can be given several times."""
        self.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; can be repeated")


def expected_series(chosen: argparse.Namespace) -> list[list[str]]:
    """Return the streams and formats of ``--expected``."""
    return [each.split("/") for each in chosen.expected]


def key_ring(chosen: argparse.Namespace) -> KeyRing:
    """Return the keys of ``--public-key``.

    :raises InvalidArgumentError: if one cannot be read.
    """
    return KeyRing.join(map(KeyRing.load, chosen.public_key))


def show(text: str, file: TextIO | None = None) -> None:
    """Print a text; a terminal that cannot show a character must not end the command with an error."""
    target = file or sys.stdout
    encoding = getattr(target, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=target)


def show_error(error: Exception) -> None:
    """Print an error without control characters."""
    said = "\n".join(map(printable, str(error).splitlines()))
    show(f"{type(error).__name__}: {said}", sys.stderr)
