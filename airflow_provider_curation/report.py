"""Reports on an archive without a DAG: plain functions, and a command that needs neither Airflow nor S3.

``python -m airflow_provider_curation.report FOLDER`` verifies a copy of an archive, and writes one HTML file for people
and the same figures as JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.reporting.building import Wanted, build_figures
from airflow_provider_curation.audit.reporting.charts import draw
from airflow_provider_curation.audit.reporting.figures import Figures, Key, People
from airflow_provider_curation.audit.reporting.page import render
from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.command_line import ArchiveParser, expected_series, key_ring, show, show_error
from airflow_provider_curation.evidence import STREAMS, open_archive, verify_archive

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.check import Reading
    from airflow_provider_curation.audit.evidence.report import Report

__all__ = ["AuditReport", "create_report", "report_key", "write_report"]

HTML = "text/html; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class AuditReport:
    """A report on a period of an archive.

    :param figures: its contents, as data.
    :param html: the page, in UTF-8.
    :param json: the figures as JSON; ``report.schema.json`` in ``audit/reporting`` is its schema.
    """

    figures: Figures
    html: bytes
    json: bytes


def create_report(
    location: str | os.PathLike[str],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    streams: Sequence[str] = (),
    servers: Sequence[str] = (),
    activity: bool = True,
    charts: bool = True,
    people: People = "off",
    expected: Sequence[Sequence[str]] = (),
    retired: Sequence[Sequence[str]] = (),
    aliases: Mapping[str, str] | None = None,
    key_ring: KeyRing | str | os.PathLike[str] | None = None,
    timestamp_authorities: str | os.PathLike[str] | None = None,
    known_seals: Sequence[str] = (),
    ignore: Iterable[str] = (),
    read: Reading = "suspects",
    curation_conn_id: str | None = None,
    recount: bool = True,
    retention: timedelta = RETENTION,
    export_time: timedelta = timedelta(0),
    workers: int = 8,
    aws_conn_id: str | None = None,
    verification: Report | None = None,
) -> AuditReport:
    """Verify a period of an archive and return a report on it; nothing is written.

    :param location: the archive's root: ``s3://bucket/curation``, or a folder with a copy.
    :param start: start of the period, inclusive: an aware datetime or ISO 8601 string; default: that of the first seal.
    :param end: end of the period, exclusive; default: that of the last seal.
    :param streams: which streams to show, of ``events`` and ``dry_run``; empty for both.
    :param servers: which servers to show, by their names in manifests; empty for all.
    :param activity: read the exported objects (JSON lines or Parquet), and show what happened; without it, only
        manifests and seals are shown.
    :param charts: draw charts, which needs the extra ``report``; without them, the page has only tables.
    :param people: name the users who were blocked most: ``off``, ``masked`` (first letters) or ``shown``.
    :param verification: a fresh verification of this archive to use instead of a new one; then ``start`` to
        ``ignore``, ``read``, ``curation_conn_id``, ``recount`` and ``export_time`` are not used.
    :raises InvalidArgumentError: for an invalid argument; the message names it.
    :raises MissingPackageError: if an object cannot be unpacked, or charts cannot be drawn, without a package that is
        not installed.
    :raises ArchiveError: if S3 does not answer as it should.

    The other parameters are those of :func:`airflow_provider_curation.evidence.verify_archive`.
    """
    _check_arguments(streams, people)
    if isinstance(key_ring, str | os.PathLike):
        key_ring = KeyRing.load(key_ring)
    verified = verification or verify_archive(
        location,
        start,
        end,
        expected=expected,
        retired=retired,
        aliases=aliases,
        key_ring=key_ring,
        timestamp_authorities=timestamp_authorities,
        known_seals=known_seals,
        ignore=ignore,
        read=read,
        curation_conn_id=curation_conn_id,
        recount=recount,
        retention=retention,
        export_time=export_time,
        workers=workers,
        aws_conn_id=aws_conn_id,
    )
    archive, _ = open_archive(location, aws_conn_id)
    wanted = Wanted(
        streams=streams,
        servers=servers,
        activity=activity,
        people=people,
        aliases=aliases or {},
        retention=retention,
        keys=_keys(key_ring),
        workers=workers,
    )
    figures = build_figures(archive, verified, wanted)
    drawn = draw(figures.activity) if charts and figures.activity else {}
    return AuditReport(figures, render(figures, drawn), figures.to_json())


def _check_arguments(streams: Sequence[str], people: str) -> None:
    if unknown := [name for name in streams if name not in STREAMS]:
        raise InvalidArgumentError(f"streams: {unknown[0]!r} is none of {', '.join(STREAMS)}.")
    if people not in get_args(People):
        raise InvalidArgumentError(f"people={people!r} is none of {', '.join(get_args(People))}.")


def _keys(ring: KeyRing | None) -> list[Key]:
    algorithms = {"Ed25519PublicKey": "Ed25519", "EllipticCurvePublicKey": "ECDSA P-256"}

    def algorithm(key: object) -> str:
        return next((shown for name, shown in algorithms.items() if name in type(key).__name__), "")

    return [
        # The file's name is enough; where it lay is the maker's own business.
        Key(each.public_key.id, printable(os.path.basename(each.name.rstrip("'"))), algorithm(each.public_key.key))
        for each in (ring.keys if ring else ())
    ]


def report_key(period: Window, s3_prefix: str = "curation") -> str:
    """Return the key at which a period's page lies by default; its JSON has the same name and ends in ``.json``."""
    layout = Layout(s3_prefix.strip("/"))
    return f"{layout.reports}{period.start:%Y%m%dT%H%M%SZ}_{period.end:%Y%m%dT%H%M%SZ}.html"


def write_report(
    report: AuditReport,
    target: str | os.PathLike[str],
    *,
    aws_conn_id: str | None = None,
    s3_extra_args: dict[str, Any] | None = None,
) -> tuple[str, str]:
    """Write a report's JSON and then its page, each whole or not at all, and return where they are: page, JSON.

    :param target: of the page: ``s3://bucket/key.html``, or a path that ends in ``.html``.
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials.
    :param s3_extra_args: extra arguments of boto3's uploads.
    :raises InvalidArgumentError: for another ending.
    :raises ArchiveError: if S3 does not take the files.
    """
    name = os.fspath(target)
    if not name.endswith(".html"):
        raise InvalidArgumentError(f"{name!r} does not end in .html; the JSON is written beside it, with .json.")
    beside = f"{name.removesuffix('.html')}.json"
    if not name.startswith("s3://"):
        for path, body in ((beside, report.json), (name, report.html)):
            _replace(Path(path), body)
        return name, beside
    from airflow_provider_curation.s3.whole_object import write_whole

    bucket, _, key = name.removeprefix("s3://").partition("/")
    json_key = beside.removeprefix("s3://").partition("/")[2]
    write_whole(bucket, json_key, report.json, JSON, aws_conn_id=aws_conn_id, extra_args=s3_extra_args)
    write_whole(bucket, key, report.html, HTML, aws_conn_id=aws_conn_id, extra_args=s3_extra_args)
    return name, beside


def _replace(path: Path, body: bytes) -> None:
    """Write a file whole: readers see the old one or the new one."""
    written = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        written.write_bytes(body)
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Report on what the command line names.

    :return: 0 if it is complete, or complete except for what the page names; 1 if it is incomplete; 2 without a report.
    """
    chosen = _parser().parse_args(arguments)
    try:
        report = create_report(
            chosen.location,
            chosen.start,
            chosen.end,
            streams=chosen.stream,
            servers=chosen.server,
            activity=not chosen.no_activity,
            charts=not chosen.no_charts,
            people=chosen.people,
            expected=expected_series(chosen),
            key_ring=key_ring(chosen),
            known_seals=chosen.known_seal,
            ignore=chosen.ignore,
        )
        page, figures = write_report(report, chosen.output)
        verdict = report.figures.verdict
        show(f"{verdict.word}: {printable(verdict.sentence)}\n{page}\n{figures}")
    except Exception as error:
        # Python itself exits with 1 for an uncaught exception, which would mean "incomplete".
        show_error(error)
        return 2
    return 1 if verdict.word == "incomplete" else 0


def _parser() -> ArchiveParser:
    parser = ArchiveParser(
        "report",
        "Verify an archive of audit events, and write a report on it: one HTML file, and its figures as JSON. Exit "
        "status: 0 if it is complete, or complete except for what the report names; 1 if it is incomplete; 2 if no "
        "report was written.",
    )
    parser.add_argument("--output", default="curation-report.html", help="where to write the page: a path or s3:// URL")
    parser.add_repeatable("--stream", "STREAM", "a stream to show: events or dry_run (default: both)")
    parser.add_repeatable("--server", "NAME", "a server to show (default: all)")
    parser.add_argument(
        "--people", default="off", choices=get_args(People), help="name the users who were blocked most"
    )
    parser.add_argument("--no-activity", action="store_true", help="do not read the objects: no charts, faster")
    parser.add_argument("--no-charts", action="store_true", help="only tables, without the extra 'report'")
    return parser


if __name__ == "__main__":
    sys.exit(main())
