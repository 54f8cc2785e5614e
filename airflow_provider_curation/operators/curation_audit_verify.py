"""Proves that an archive in S3 has every event of a period, or says what is missing and what can be mended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import FindingsError, InvalidArgumentError
from airflow_provider_curation.compat import BaseOperator, ending_without_retries, gauge
from airflow_provider_curation.interval import window_of_run
from airflow_provider_curation.links import S3ArchiveLink, S3SealLink

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.check import Reading
    from airflow_provider_curation.audit.evidence.dsse import Signer
    from airflow_provider_curation.audit.evidence.key_ring import KeyRing
    from airflow_provider_curation.compat import Context

#: The gauge with the days until the server forgets the oldest events that are not archived.
DAYS_LEFT = "curation_audit.days_left"

OnFinding = Literal["fail", "warn", "return"]


class CurationAuditVerifyOperator(BaseOperator):
    """Verifies the exports of an archive for a period that has ended: by their manifests, and if need be the objects.

    The period is ``start`` and ``end``, else the run's data interval. Exports of one stream in one format must not
    overlap, so daily and hourly exports of the same stream need archives of their own. The same as a plain function:
    :func:`airflow_provider_curation.evidence.verify_archive`.

    :param s3_bucket: the bucket. (templated)
    :param s3_prefix: the archive's root, as the exports have it; seals lie in ``_seals/`` below it. (templated)
    :param start: first moment of the period: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the period, exclusive. (templated)
    :param expected: streams and formats whose unfiltered exports must be there of the connection's server:
        ``[("events", "jsonl"), ("dry_run", "jsonl")]``. What was exported or sealed before is expected as well.
    :param retired: series that are no longer exported: ``[("acme.jfrog.io", "events", "csv")]``. (templated)
    :param aliases: earlier names of renamed servers, each with the name that it has now. (templated)
    :param read: which objects to read: ``suspects``, those that no seal vouches for, and those whose ETag is not the
        manifest's unless the SHA-256 that S3 keeps is; ``checksums`` compares that SHA-256 of every other object, too;
        ``all``; or a share of the others besides, such as ``0.01``.
    :param recount: ask the connection's server again for the counts of the windows that it still remembers.
    :param export_time: how long an export may take after its window has ended: until then it is pending, not missing.
    :param seal: seal the period if nothing is found and nothing is pending.
    :param known_seals: SHA-256 of seals, as noted from earlier results, that must still be there. (templated)
    :param ignore: kinds of findings that are as they should be here, such as ``["filtered"]``. (templated)
    :param on_finding: ``fail`` the task without a retry, ``warn`` in the log, or only ``return`` the findings.
    :param key_ring_conn_id: connection whose extra ``key_ring`` holds the public keys that manifests and seals must be
        signed with, see :func:`airflow_provider_curation.hooks.signing.key_ring_of_connection`. Without it, only the
        key of ``signing_conn_id`` is trusted; without both, no signature is checked. (templated)
    :param signing_conn_id: connection whose key signs the seal, see
        :func:`airflow_provider_curation.hooks.signing.signer_of_connection`. (templated)
    :param timestamp_url: of the time-stamp authority (RFC 3161) that stamps the seal; needs the extra ``timestamp``.
        (templated)
    :param timestamp_authorities: file with the root certificates of the time-stamp authorities that are trusted;
        ``None`` checks no time stamp. (templated)
    :param object_lock_mode: ``GOVERNANCE`` or ``COMPLIANCE``: the seal cannot be deleted for a time.
    :param object_lock_retain_until: until when: a moment, or a timedelta after the period's end. (templated)
    :param object_lock_legal_hold: the seal cannot be deleted until the hold is taken off.
    :param s3_extra_args: extra arguments of boto3's upload of the seal, such as ``{"ServerSideEncryption": ...}``.
    :param retention: how long the server remembers events.
    :param workers: manifests or objects read at the same time.
    :param curation_conn_id: connection of type ``jfrog_curation``, of the server whose exports are counted again and
        mended; those of other servers below the prefix are verified in every other respect. Without ``recount`` there
        need be none. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``counts`` (findings by kind), ``findings`` (the first 200), ``pending``, ``mend`` (arguments
        of exports that mend what still can be, for ``expand_kwargs``), ``manifests``, ``events`` (by stream),
        ``other_servers``, ``seal``, ``seal_sha256``, ``summary``, ``days_left`` (until the server forgets the oldest
        events that are not archived; also the gauge ``curation_audit.days_left`` of Airflow's metrics), and more.
    :raises FindingsError: if something was found and ``on_finding`` is ``fail``.
    :raises ObjectLockError: if the seal is to be locked, and the bucket has no Object Lock.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_prefix",
        "start",
        "end",
        "retired",
        "aliases",
        "known_seals",
        "ignore",
        "key_ring_conn_id",
        "signing_conn_id",
        "timestamp_url",
        "timestamp_authorities",
        "object_lock_retain_until",
        "curation_conn_id",
        "aws_conn_id",
    )
    ui_color = "#d3e4f1"
    operator_extra_links = (S3ArchiveLink(), S3SealLink())

    def __init__(
        self,
        *,
        s3_bucket: str,
        s3_prefix: str = "curation",
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        expected: Sequence[Sequence[str]] | None = None,
        retired: Sequence[Sequence[str]] = (),
        aliases: dict[str, str] | None = None,
        read: Reading = "suspects",
        recount: bool = True,
        export_time: timedelta = timedelta(0),
        seal: bool = False,
        known_seals: Sequence[str] = (),
        ignore: Sequence[str] = (),
        on_finding: OnFinding = "fail",
        key_ring_conn_id: str | None = None,
        signing_conn_id: str | None = None,
        timestamp_url: str | None = None,
        timestamp_authorities: str | None = None,
        object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None,
        object_lock_retain_until: datetime | timedelta | str | None = None,
        object_lock_legal_hold: bool = False,
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
        self.start = start
        self.end = end
        self.expected = expected
        self.retired = retired
        self.aliases = aliases
        self.read = read
        self.recount = recount
        self.export_time = export_time
        self.seal = seal
        self.known_seals = known_seals
        self.ignore = ignore
        self.on_finding = on_finding
        self.key_ring_conn_id = key_ring_conn_id
        self.signing_conn_id = signing_conn_id
        self.timestamp_url = timestamp_url
        self.timestamp_authorities = timestamp_authorities
        self.object_lock_mode = object_lock_mode
        self.object_lock_retain_until = object_lock_retain_until
        self.object_lock_legal_hold = object_lock_legal_hold
        self.s3_extra_args = s3_extra_args
        self.retention = retention
        self.workers = workers
        self.curation_conn_id = curation_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Verify the period."""
        with ending_without_retries():
            return self._execute(context)

    def _execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_curation.evidence import verify_archive

        if not self.s3_bucket:
            raise InvalidArgumentError(f"s3_bucket={self.s3_bucket!r} is empty.")
        if self.on_finding not in ("fail", "warn", "return"):
            raise InvalidArgumentError(f"on_finding={self.on_finding!r} is none of fail, warn, return.")
        period = window_of_run(context, self.start, self.end)
        report = verify_archive(
            f"s3://{self.s3_bucket}/{self.s3_prefix}",
            period.start,
            period.end,
            expected=self.expected or (),
            retired=self.retired,
            aliases=self.aliases,
            key_ring=self._key_ring(),
            signer=self._signer(),
            timestamp_url=self.timestamp_url,
            timestamp_authorities=self.timestamp_authorities,
            read=self.read,
            curation_conn_id=self.curation_conn_id,
            recount=self.recount,
            retention=self.retention,
            export_time=self.export_time,
            seal=self.seal,
            known_seals=self.known_seals,
            ignore=self.ignore,
            workers=self.workers,
            aws_conn_id=self.aws_conn_id,
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

    def _key_ring(self) -> KeyRing | None:
        from airflow_provider_curation.hooks.signing import key_ring_of_connection

        return key_ring_of_connection(self.key_ring_conn_id, "key_ring_conn_id") if self.key_ring_conn_id else None

    def _signer(self) -> Signer | None:
        from airflow_provider_curation.hooks.signing import signer_of_connection

        return signer_of_connection(self.signing_conn_id, "signing_conn_id") if self.signing_conn_id else None
