"""Proves that an archive in S3 has every event of a period, or says what is missing and what can be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_curation.audit.errors import FindingsError, InvalidArgumentError
from airflow_provider_curation.compat import gauge
from airflow_provider_curation.links import S3ArchiveLink, S3SealLink
from airflow_provider_curation.operators.archive import ArchiveOperator

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.dsse import Signer
    from airflow_provider_curation.audit.window import Window
    from airflow_provider_curation.compat import Context

#: The gauge with the days until the server forgets the oldest events that are not archived.
DAYS_LEFT = "curation_audit.days_left"

OnFinding = Literal["fail", "warn", "return"]


class CurationAuditVerifyOperator(ArchiveOperator):
    """Verifies an archive's exports of a period that has ended, from their manifests and, if necessary, the objects.

    The period is ``start`` and ``end``, or else the run's data interval. Exports of one stream in one format must not
    overlap, so daily and hourly exports of the same stream need separate archives. The function
    :func:`airflow_provider_curation.evidence.verify_archive` does the same without a DAG.

    :param s3_bucket: the bucket. (templated)
    :param s3_prefix: the archive's root, the same as for the exports; seals are in ``_seals/`` below it. (templated)
    :param start: start of the period, inclusive: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the period, exclusive. (templated)
    :param expected: streams and formats whose unfiltered exports from the connection's server must exist:
        ``[("events", "jsonl"), ("dry_run", "jsonl")]``. Every series that was exported or sealed before is also
        expected.
    :param retired: series that are no longer exported: ``[("acme.jfrog.io", "events", "csv")]``. (templated)
    :param aliases: the earlier names of renamed servers, each with the server's current name. (templated)
    :param read: which objects to read: ``suspects``, those without a matching seal, and those whose ETag and S3's own
        SHA-256 both differ from the manifest's; ``checksums`` also compares that SHA-256 of every other object;
        ``all``; or also a share of the others, such as ``0.01``.
    :param recount: have the connection's server count the windows again that it still remembers.
    :param export_time: how long an export may take after its window has ended; until then it is pending, not missing.
    :param seal: seal the period if nothing is found and nothing is pending.
    :param known_seals: SHA-256 of seals, noted from earlier results, that must still exist. (templated)
    :param ignore: kinds of findings that are expected here, such as ``["filtered"]``. (templated)
    :param on_finding: ``fail`` the task without a retry, ``warn`` in the log, or only ``return`` the findings.
    :param key_ring_conn_id: connection whose extra ``key_ring`` has the public keys that manifests and seals must be
        signed with, see :func:`airflow_provider_curation.hooks.signing.key_ring_of_connection`. Without it, only the
        key of ``signing_conn_id`` is trusted; without both, no signature is checked. (templated)
    :param signing_conn_id: connection whose key signs the seal, see
        :func:`airflow_provider_curation.hooks.signing.signer_of_connection`. (templated)
    :param timestamp_url: the time-stamp authority (RFC 3161) that stamps the seal; needs the extra ``timestamp``.
        (templated)
    :param timestamp_authorities: file with the root certificates of the trusted time-stamp authorities; ``None`` checks
        no time stamp. (templated)
    :param object_lock_mode: ``GOVERNANCE`` or ``COMPLIANCE``: the seal cannot be deleted for a time.
    :param object_lock_retain_until: until when: a datetime, or a timedelta after the period's end. (templated)
    :param object_lock_legal_hold: the seal cannot be deleted until the hold is removed.
    :param s3_extra_args: extra arguments of boto3's upload of the seal, such as ``{"ServerSideEncryption": ...}``.
    :param retention: how long the server remembers events.
    :param workers: manifests or objects read at the same time.
    :param curation_conn_id: connection of type ``jfrog_curation`` to the server whose exports are counted again and
        repaired; those of other servers below the prefix are verified in every other respect. Not needed without
        ``recount``. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``counts`` (findings by kind), ``findings`` (the first 200), ``pending``, ``repair`` (arguments
        of the exports that can still repair findings, for ``expand_kwargs``), ``manifests``, ``events`` (by stream),
        ``other_servers``, ``seal``, ``seal_sha256``, ``summary``, ``days_left`` (until the server forgets the oldest
        events that are not archived; also the gauge ``curation_audit.days_left`` of Airflow's metrics), and more.
    :raises FindingsError: if something was found and ``on_finding`` is ``fail``.
    :raises ObjectLockError: if the seal should be locked, but the bucket has no Object Lock.
    """

    template_fields: Sequence[str] = (
        *ArchiveOperator.template_fields,
        "ignore",
        "signing_conn_id",
        "timestamp_url",
        "object_lock_retain_until",
    )
    operator_extra_links = (S3ArchiveLink(), S3SealLink())

    def __init__(
        self,
        *,
        seal: bool = False,
        on_finding: OnFinding = "fail",
        signing_conn_id: str | None = None,
        timestamp_url: str | None = None,
        object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None,
        object_lock_retain_until: datetime | timedelta | str | None = None,
        object_lock_legal_hold: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.seal = seal
        self.on_finding = on_finding
        self.signing_conn_id = signing_conn_id
        self.timestamp_url = timestamp_url
        self.object_lock_mode = object_lock_mode
        self.object_lock_retain_until = object_lock_retain_until
        self.object_lock_legal_hold = object_lock_legal_hold

    def _run(self, context: Context, period: Window) -> dict[str, Any]:
        from airflow_provider_curation.evidence import verify_archive

        if self.on_finding not in ("fail", "warn", "return"):
            raise InvalidArgumentError(f"on_finding={self.on_finding!r} is none of fail, warn, return.")
        report = verify_archive(
            **self._verification(period),
            signer=self._signer(),
            timestamp_url=self.timestamp_url,
            seal=self.seal,
            s3_extra_args=self.s3_extra_args,
            object_lock_mode=self.object_lock_mode,
            object_lock_retain_until=self.object_lock_retain_until,
            object_lock_legal_hold=self.object_lock_legal_hold,
        )
        left = report.days_left(self.retention)
        gauge(DAYS_LEFT, left)
        self._store_links(context, report.seal)
        if not report.findings:
            self.log.info("%s", report.summary())
        elif self.on_finding == "fail":
            raise FindingsError(report.summary())
        elif self.on_finding == "warn":
            self.log.warning("%s", report.summary())
        else:
            self.log.info("%s", report.summary())
        if report.seal:
            self.log.info(
                "The period is sealed in s3://%s/%s, SHA-256 %s.", self.s3_bucket, report.seal, report.seal_sha256
            )
        return {**report.as_dict(), "days_left": round(left, 2)}

    def _store_links(self, context: Context, seal: str | None) -> None:
        from airflow_provider_curation.s3.client import s3_client
        from airflow_provider_curation.s3.web import folder_page, object_page

        client = s3_client(self.aws_conn_id)
        prefix = f"{self.s3_prefix.strip('/')}/" if self.s3_prefix.strip("/") else ""
        S3ArchiveLink.store(context, folder_page(client, self.s3_bucket, prefix))
        if seal:
            S3SealLink.store(context, object_page(client, self.s3_bucket, seal))

    def _signer(self) -> Signer | None:
        from airflow_provider_curation.hooks.signing import signer_of_connection

        return signer_of_connection(self.signing_conn_id, "signing_conn_id") if self.signing_conn_id else None
