"""Writes a report on an archive in S3: one page for people, and the same figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.compat import BaseOperator, ending_without_retries
from airflow_provider_curation.interval import window_of_run
from airflow_provider_curation.links import CurationReportLink

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.check import Reading
    from airflow_provider_curation.audit.evidence.key_ring import KeyRing
    from airflow_provider_curation.audit.reporting.figures import People
    from airflow_provider_curation.compat import Context


class CurationAuditReportOperator(BaseOperator):
    """Verifies a period of an archive, and writes a report on it beside the archive.

    The period is ``start`` and ``end``, else the run's data interval. The report says whether the archive is complete;
    the task succeeds in any case. To fail on findings, put a ``CurationAuditVerifyOperator`` before it. The same as
    plain functions: :func:`airflow_provider_curation.report.create_report` and
    :func:`airflow_provider_curation.report.write_report`.

    :param s3_bucket: the archive's bucket. (templated)
    :param s3_prefix: the archive's root. (templated)
    :param s3_key: key of the page, which ends in ``.html``; its JSON lies beside it, with ``.json``. Default:
        ``_reports/<start>_<end>.html`` below the root. (templated)
    :param start: first moment of the period: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the period, exclusive. (templated)
    :param streams: those to show, of ``events`` and ``dry_run``; default: both. (templated)
    :param servers: those to show, by their names in manifests; default: all. (templated)
    :param activity: read the exported objects (JSON lines or Parquet) for what happened.
    :param charts: draw charts, which needs the extra ``report``; without them, the page has the tables alone.
    :param people: name who was blocked most: ``off``, ``masked`` (first letters) or ``shown``.
    :param expected: streams and formats whose unfiltered exports must be there: ``[("events", "jsonl")]``.
    :param retired: series that are no longer exported: ``[("acme.jfrog.io", "events", "csv")]``. (templated)
    :param aliases: earlier names of renamed servers, each with the name that it has now. (templated)
    :param read: which objects the verification reads, as of ``CurationAuditVerifyOperator``.
    :param recount: ask the connection's server again for the counts of the windows that it still remembers.
    :param export_time: how long an export may take after its window has ended: until then it is pending, not missing.
    :param known_seals: SHA-256 of seals that must still be there. (templated)
    :param ignore: kinds of findings that are as they should be here; the report shows them all the same.
    :param key_ring_conn_id: connection whose extra ``key_ring`` holds the public keys that manifests and seals must be
        signed with. Without it, no signature is checked. (templated)
    :param timestamp_authorities: file with the root certificates of the time-stamp authorities that are trusted.
        (templated)
    :param s3_extra_args: extra arguments of boto3's uploads, such as ``{"ServerSideEncryption": ...}``.
    :param retention: how long the server remembers events.
    :param workers: manifests or objects read at the same time.
    :param curation_conn_id: connection of type ``jfrog_curation``, needed for ``recount`` only. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``uri`` and ``json_uri``, ``verdict`` (complete, complete but, incomplete), ``sentence``,
        ``start``, ``end``, ``findings``, and ``counted`` and ``kept`` (events by stream).
    :raises ArchiveError: if S3 does not answer as it should.
    :raises MissingPackageError: if a package is needed that is not installed.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_prefix",
        "s3_key",
        "start",
        "end",
        "streams",
        "servers",
        "retired",
        "aliases",
        "known_seals",
        "key_ring_conn_id",
        "timestamp_authorities",
        "curation_conn_id",
        "aws_conn_id",
    )
    operator_extra_links = (CurationReportLink(),)
    ui_color = "#d3e4f1"

    def __init__(
        self,
        *,
        s3_bucket: str,
        s3_prefix: str = "curation",
        s3_key: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        streams: Sequence[str] = (),
        servers: Sequence[str] = (),
        activity: bool = True,
        charts: bool = True,
        people: People = "off",
        expected: Sequence[Sequence[str]] | None = None,
        retired: Sequence[Sequence[str]] = (),
        aliases: dict[str, str] | None = None,
        read: Reading = "suspects",
        recount: bool = True,
        export_time: timedelta = timedelta(0),
        known_seals: Sequence[str] = (),
        ignore: Sequence[str] = (),
        key_ring_conn_id: str | None = None,
        timestamp_authorities: str | None = None,
        s3_extra_args: dict[str, Any] | None = None,
        retention: timedelta = RETENTION,
        workers: int = 8,
        curation_conn_id: str = "curation_default",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.s3_bucket = s3_bucket
        self.s3_prefix = s3_prefix
        self.s3_key = s3_key
        self.start = start
        self.end = end
        self.streams = streams
        self.servers = servers
        self.activity = activity
        self.charts = charts
        self.people = people
        self.expected = expected
        self.retired = retired
        self.aliases = aliases
        self.read = read
        self.recount = recount
        self.export_time = export_time
        self.known_seals = known_seals
        self.ignore = ignore
        self.key_ring_conn_id = key_ring_conn_id
        self.timestamp_authorities = timestamp_authorities
        self.s3_extra_args = s3_extra_args
        self.retention = retention
        self.workers = workers
        self.curation_conn_id = curation_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report."""
        with ending_without_retries():
            return self._execute(context)

    def _execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_curation.report import create_report, report_key, write_report
        from airflow_provider_curation.s3.client import s3_client
        from airflow_provider_curation.s3.web import object_page

        if not self.s3_bucket:
            raise InvalidArgumentError(f"s3_bucket={self.s3_bucket!r} is empty. Name the archive's bucket.")
        period = window_of_run(context, self.start, self.end)
        key = self.s3_key or report_key(period, self.s3_prefix)
        if not key.endswith(".html"):
            raise InvalidArgumentError(f"s3_key={key!r} does not end in .html; the JSON is written beside it.")
        report = create_report(
            f"s3://{self.s3_bucket}/{self.s3_prefix}",
            period.start,
            period.end,
            streams=self.streams,
            servers=self.servers,
            activity=self.activity,
            charts=self.charts,
            people=self.people,
            expected=self.expected or (),
            retired=self.retired,
            aliases=self.aliases,
            key_ring=self._key_ring(),
            timestamp_authorities=self.timestamp_authorities,
            known_seals=self.known_seals,
            ignore=self.ignore,
            read=self.read,
            curation_conn_id=self.curation_conn_id,
            recount=self.recount,
            retention=self.retention,
            export_time=self.export_time,
            workers=self.workers,
            aws_conn_id=self.aws_conn_id,
        )
        page, beside = write_report(
            report,
            f"s3://{self.s3_bucket}/{key}",
            aws_conn_id=self.aws_conn_id,
            s3_extra_args=self.s3_extra_args,
        )
        CurationReportLink.store(context, object_page(s3_client(self.aws_conn_id), self.s3_bucket, key))
        figures = report.figures
        self.log.info("%s: %s", page, figures.verdict.sentence)
        return {
            "uri": page,
            "json_uri": beside,
            "verdict": figures.verdict.word,
            "sentence": figures.verdict.sentence,
            "start": figures.start,
            "end": figures.end,
            "findings": figures.findings_total,
            "counted": _by_stream(figures.totals, "counted"),
            "kept": _by_stream(figures.totals, "kept"),
        }

    def _key_ring(self) -> KeyRing | None:
        from airflow_provider_curation.hooks.signing import key_ring_of_connection

        return key_ring_of_connection(self.key_ring_conn_id, "key_ring_conn_id") if self.key_ring_conn_id else None


def _by_stream(totals: Sequence[Any], name: str) -> dict[str, int]:
    """Return a count by stream, of all servers."""
    found: dict[str, int] = {}
    for total in totals:
        found[total.stream] = found.get(total.stream, 0) + getattr(total, name)
    return found
