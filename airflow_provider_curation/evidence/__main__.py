"""The command ``python -m airflow_provider_curation.evidence``, which verifies an archive."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.command_line import ArchiveParser, expected_series, key_ring, show, show_error
from airflow_provider_curation.evidence import verify_archive


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names.

    :return: 0 if nothing is missing, 1 only for findings, 2 if it could not be verified.
    """
    chosen = _parser().parse_args(arguments)
    try:
        report = verify_archive(
            chosen.location,
            chosen.start,
            chosen.end,
            expected=expected_series(chosen),
            retired=[each.rsplit("/", 2) for each in chosen.retired],
            aliases=dict(map(_alias, chosen.alias)),
            key_ring=key_ring(chosen),
            timestamp_authorities=chosen.timestamp_authorities,
            read=_reading(chosen.read),
            known_seals=chosen.known_seal,
            ignore=chosen.ignore,
        )
        show(json.dumps(report.as_dict(), indent=2) if chosen.json else report.summary())
    except Exception as error:
        # Python itself exits with 1 for an uncaught exception, which would mean findings.
        show_error(error)
        return 2
    return 1 if report.findings else 0


def _parser() -> ArchiveParser:
    parser = ArchiveParser(
        "evidence",
        "Verify an archive of audit events: the chain of its seals, and every manifest and object that they name. Exit "
        "status: 0 if nothing is missing, 1 with findings, 2 if it could not be verified.",
    )
    parser.add_repeatable("--retired", "SERVER/STREAM/FORMAT", "exports that ended, such as acme.jfrog.io/events/csv")
    parser.add_repeatable("--alias", "OLD=NEW", "a server's earlier name, and its current name")
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


if __name__ == "__main__":
    sys.exit(main())
