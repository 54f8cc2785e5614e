"""The command ``python -m airflow_provider_curation.evidence``, which verifies an archive."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.evidence import verify_archive


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names.

    :return: 0 if nothing is missing, 1 with findings and for nothing else, 2 if it could not be verified.
    """
    chosen = _parser().parse_args(arguments)
    try:
        report = verify_archive(
            chosen.location,
            chosen.start,
            chosen.end,
            expected=[each.split("/") for each in chosen.expected],
            retired=[each.rsplit("/", 2) for each in chosen.retired],
            aliases=dict(map(_alias, chosen.alias)),
            key_ring=KeyRing.join(map(KeyRing.load, chosen.public_key)),
            timestamp_authorities=chosen.timestamp_authorities,
            read=_reading(chosen.read),
            known_seals=chosen.known_seal,
            ignore=chosen.ignore,
        )
        _show(json.dumps(report.as_dict(), indent=2) if chosen.json else report.summary(), sys.stdout)
    except Exception as error:
        # Python itself exits with 1 for an exception that nobody catches, and that would mean findings.
        said = "\n".join(map(printable, str(error).splitlines()))
        _show(f"{type(error).__name__}: {said}", sys.stderr)
        return 2
    return 1 if report.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_curation.evidence",
        description="Verify an archive of audit events: the chain of its seals, and every manifest and object that "
        "they name. Exit status: 0 if nothing is missing, 1 with findings, 2 if it could not be verified.",
    )
    parser.add_argument("location", help="a folder that holds a copy of the archive, or s3://bucket/curation")
    parser.add_argument("--start", help="first moment of the period (default: of the first seal)")
    parser.add_argument("--end", help="end of the period, exclusive (default: of the last seal)")

    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; may be given again")

    several("--expected", "STREAM/FORMAT", "unfiltered exports that must be there, such as events/jsonl")
    several("--retired", "SERVER/STREAM/FORMAT", "exports that ended, such as acme.jfrog.io/events/csv")
    several("--alias", "OLD=NEW", "a server's earlier name, and the name that it has now")
    several("--public-key", "PATH", "a public key in PEM, or a key ring: a JSON file, or a folder")
    several("--known-seal", "SHA256", "a seal that must be in the chain")
    several("--ignore", "KIND", "a kind of finding that is as it should be")
    parser.add_argument("--timestamp-authorities", metavar="FILE", help="root certificates of time-stamp authorities")
    parser.add_argument(
        "--read", default="suspects", help="suspects (default), checksums, all, or a share such as 0.01"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _alias(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise InvalidArgumentError(f"--alias {text!r} is not of the form OLD=NEW.")
    return old, new


def _reading(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _show(text: str, file: TextIO) -> None:
    # A terminal that cannot show a character must not end the command with an error.
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=file)


if __name__ == "__main__":
    sys.exit(main())
