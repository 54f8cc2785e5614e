"""Writes a report on an archive in S3: one page for people, and the same figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.links import CurationReportLink
from airflow_provider_curation.operators.archive import ArchiveOperator

if TYPE_CHECKING:
    from airflow_provider_curation.audit.reporting.figures import People
    from airflow_provider_curation.audit.window import Window
    from airflow_provider_curation.compat import Context


class CurationAuditReportOperator(ArchiveOperator):
    """Verifies a period of an archive, and writes a report on it beside the archive.

    The period is ``start`` and ``end``, or else the run's data interval. The report says whether the archive is
    complete; the task succeeds in any case. To fail on findings, put a ``CurationAuditVerifyOperator`` before it. The
    functions :func:`airflow_provider_curation.report.create_report` and
    :func:`airflow_provider_curation.report.write_report` do the same without a DAG.

    :param s3_bucket: the archive's bucket. (templated)
    :param s3_prefix: the archive's root. (templated)
    :param s3_key: key of the page, which ends in ``.html``; the JSON has the same key with ``.json``. Default:
        ``_reports/<start>_<end>.html`` below the root. (templated)
    :param start: start of the period, inclusive: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the period, exclusive. (templated)
    :param streams: which streams to show, of ``events`` and ``dry_run``; default: both. (templated)
    :param servers: which servers to show, by their names in manifests; default: all. (templated)
    :param activity: read the exported objects (JSON lines or Parquet), and show what happened.
    :param charts: draw charts, which needs the extra ``report``; without them, the page has only tables.
    :param people: name the users who were blocked most: ``off``, ``masked`` (first letters) or ``shown``.
    :param expected: streams and formats whose unfiltered exports must exist: ``[("events", "jsonl")]``.
    :param retired: series that are no longer exported: ``[("acme.jfrog.io", "events", "csv")]``. (templated)
    :param aliases: the earlier names of renamed servers, each with the server's current name. (templated)
    :param read: which objects the verification reads, as for ``CurationAuditVerifyOperator``.
    :param recount: have the connection's server count the windows again that it still remembers.
    :param export_time: how long an export may take after its window has ended; until then it is pending, not missing.
    :param known_seals: SHA-256 of seals that must still exist. (templated)
    :param ignore: kinds of findings that are expected here; the report still shows them.
    :param key_ring_conn_id: connection whose extra ``key_ring`` has the public keys that manifests and seals must be
        signed with. Without it, no signature is checked. (templated)
    :param timestamp_authorities: file with the root certificates of the trusted time-stamp authorities. (templated)
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

    template_fields: Sequence[str] = (*ArchiveOperator.template_fields, "s3_key", "streams", "servers")
    operator_extra_links = (CurationReportLink(),)

    def __init__(
        self,
        *,
        s3_key: str | None = None,
        streams: Sequence[str] = (),
        servers: Sequence[str] = (),
        activity: bool = True,
        charts: bool = True,
        people: People = "off",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.s3_key = s3_key
        self.streams = streams
        self.servers = servers
        self.activity = activity
        self.charts = charts
        self.people = people

    def _run(self, context: Context, period: Window) -> dict[str, Any]:
        from airflow_provider_curation.report import create_report, report_key, write_report
        from airflow_provider_curation.s3.client import s3_client
        from airflow_provider_curation.s3.web import object_page

        key = self.s3_key or report_key(period, self.s3_prefix)
        if not key.endswith(".html"):
            raise InvalidArgumentError(f"s3_key={key!r} does not end in .html; the JSON is written beside it.")
        report = create_report(
            **self._verification(period),
            streams=self.streams,
            servers=self.servers,
            activity=self.activity,
            charts=self.charts,
            people=self.people,
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


def _by_stream(totals: Sequence[Any], name: str) -> dict[str, int]:
    """Return a count by stream, of all servers."""
    found: dict[str, int] = {}
    for total in totals:
        found[total.stream] = found.get(total.stream, 0) + getattr(total, name)
    return found
