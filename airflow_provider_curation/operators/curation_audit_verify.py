"""Proves that an archive in S3 has every event of a period, or says what is missing and what can be mended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import CurationAuditError, FindingsError, InvalidArgumentError
from airflow_provider_curation.compat import BaseOperator, as_final
from airflow_provider_curation.interval import window_of_run

if TYPE_CHECKING:
    from airflow_provider_curation.audit.findings import Kind
    from airflow_provider_curation.audit.keys import SecretKey
    from airflow_provider_curation.audit.verify import Check, Reading
    from airflow_provider_curation.audit.window import Window
    from airflow_provider_curation.compat import Context

OnFinding = Literal["fail", "warn", "return"]


class CurationAuditVerifyOperator(BaseOperator):
    """Verifies the exports below a prefix for a period: by their manifests, and if asked by reading the objects.

    The period is ``start`` and ``end``, else the run's data interval. Exports of one stream in one format must not
    overlap, so daily and hourly exports of the same stream need prefixes of their own.

    :param s3_bucket: the bucket. (templated)
    :param s3_prefix: the prefix of the exports' keys; digests lie in ``_digests/`` below it. (templated)
    :param start: first moment of the period: an aware datetime or ISO 8601 string. (templated)
    :param end: end of the period, exclusive. (templated)
    :param expected: streams and formats that must be there: ``[("events", "jsonl"), ("dry_run", "jsonl")]``; by default
        those that are found.
    :param read: which objects to read for their SHA-256: ``suspects``, those whose ETag is not the manifest's; ``all``;
        or a share of them besides, such as ``0.01``.
    :param recount: ask the server again for the counts of the windows that it still remembers.
    :param seal: if nothing is found, write a digest of the period that chains to the one before.
    :param ignore: kinds of findings that are as they should be here, such as ``["filtered"]``.
    :param on_finding: ``fail`` the task without a retry, ``warn`` in the log, or only ``return`` the findings.
    :param signing_conn_id: connection whose password is the key that manifests and digests must be signed with; a list
        if keys were changed, the one to seal with first. (templated)
    :param retention: how long the server remembers events.
    :param workers: manifests or objects read at the same time.
    :param curation_conn_id: connection of type ``jfrog_curation``, for ``recount``. (templated)
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials. (templated)
    :return: (XCom) ``counts`` (findings by kind), ``findings`` (the first 200), ``mend`` (arguments of exports that
        mend what still can be, for ``expand_kwargs``), ``manifests``, ``events``, ``digest``, ``summary``, and more.
    :raises FindingsError: if something was found and ``on_finding`` is ``fail``.
    """

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_prefix",
        "start",
        "end",
        "signing_conn_id",
        "curation_conn_id",
        "aws_conn_id",
    )
    ui_color = "#d3e4f1"

    def __init__(
        self,
        *,
        s3_bucket: str,
        s3_prefix: str = "curation/",
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        expected: Sequence[Sequence[str]] | None = None,
        read: Reading = "suspects",
        recount: bool = True,
        seal: bool = False,
        ignore: Sequence[str] = (),
        on_finding: OnFinding = "fail",
        signing_conn_id: str | Sequence[str] | None = None,
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
        self.read = read
        self.recount = recount
        self.seal = seal
        self.ignore = ignore
        self.on_finding = on_finding
        self.signing_conn_id = signing_conn_id
        self.retention = retention
        self.workers = workers
        self.curation_conn_id = curation_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Verify the period."""
        try:
            return self._execute(context)
        except CurationAuditError as error:
            if error.retryable:
                raise
            raise as_final(error) from error.__cause__

    def _execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_curation.audit.verify import verify
        from airflow_provider_curation.transfers.s3_archive import S3Archive

        now = datetime.now(timezone.utc)
        check = self._check(window_of_run(context, self.start, self.end), now)
        report = verify(S3Archive(self.s3_bucket, aws_conn_id=self.aws_conn_id), check, now)
        if not report.findings:
            self.log.info("%s", report.summary())
        elif self.on_finding == "fail":
            raise FindingsError(report.summary())
        else:
            self.log.warning("%s", report.summary())
        if report.digest:
            self.log.info("The period is sealed in s3://%s/%s.", self.s3_bucket, report.digest)
        return report.as_dict()

    def _check(self, period: Window, now: datetime) -> Check:
        from airflow_provider_curation.audit.verify import Check

        if not self.s3_bucket:
            raise InvalidArgumentError(f"s3_bucket={self.s3_bucket!r} is empty.")
        if self.on_finding not in ("fail", "warn", "return"):
            raise InvalidArgumentError(f"on_finding={self.on_finding!r} is none of fail, warn, return.")
        share = self.read if isinstance(self.read, int | float) and not isinstance(self.read, bool) else None
        if self.read not in ("suspects", "all") and (share is None or not 0 <= share <= 1):
            raise InvalidArgumentError(f"read={self.read!r} is neither 'suspects', 'all' nor a share from 0 to 1.")
        if not 1 <= self.workers <= 64:
            raise InvalidArgumentError(f"workers={self.workers!r} is no number from 1 to 64.")
        return Check(
            prefix=self.s3_prefix,
            period=period,
            expected=self._expected(),
            keys=self._keys(),
            reading=self.read if share is None else float(share),
            count=self._count if self.recount else None,
            remembered=now - self.retention,
            ignored=self._ignored(),
            seal=self.seal,
            workers=self.workers,
        )

    def _expected(self) -> list[tuple[str, str]]:
        pairs = [tuple(pair) for pair in self.expected or ()]
        for pair in pairs:
            if len(pair) != 2 or pair[0] not in ("events", "dry_run") or pair[1] not in ("jsonl", "csv"):
                raise InvalidArgumentError(
                    f"expected={self.expected!r}: {pair!r} is no stream (events, dry_run) and format (jsonl, csv)."
                )
        return [(pair[0], pair[1]) for pair in pairs]

    def _ignored(self) -> frozenset[Kind]:
        from airflow_provider_curation.audit.findings import Kind

        known = {kind.value for kind in Kind}
        if unknown := [kind for kind in self.ignore if kind not in known]:
            raise InvalidArgumentError(f"ignore={self.ignore!r}: {unknown[0]!r} is none of {', '.join(sorted(known))}.")
        return frozenset(Kind(kind) for kind in self.ignore)

    def _keys(self) -> list[SecretKey]:
        from airflow_provider_curation.hooks.secret import key_of_connection

        named = [self.signing_conn_id] if isinstance(self.signing_conn_id, str) else self.signing_conn_id or ()
        return [key_of_connection(conn_id, "signing_conn_id") for conn_id in named if conn_id]

    @property
    def _count(self) -> Callable[[Window, bool], int]:
        from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

        hook = CurationAuditHook(self.curation_conn_id)
        # Made before the threads are: looking up a connection is a call to Airflow.
        _ = hook.client
        at_once = threading.BoundedSemaphore(hook.settings.concurrency)

        def count(window: Window, dry_run: bool) -> int:
            with at_once:
                return hook.count_events(window.start, window.end, dry_run)

        return count
