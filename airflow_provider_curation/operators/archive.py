"""What the operators that verify an archive have in common: where it is, what is expected of it, and whom to trust."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.compat import BaseOperator, ending_without_retries
from airflow_provider_curation.interval import window_of_run

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.check import Reading
    from airflow_provider_curation.audit.evidence.key_ring import KeyRing
    from airflow_provider_curation.audit.window import Window
    from airflow_provider_curation.compat import Context


class ArchiveOperator(BaseOperator):
    """Verifies a period of an archive; its subclasses describe the parameters and decide what to do with the result."""

    template_fields: Sequence[str] = (
        "s3_bucket",
        "s3_prefix",
        "start",
        "end",
        "retired",
        "aliases",
        "known_seals",
        "key_ring_conn_id",
        "timestamp_authorities",
        "curation_conn_id",
        "aws_conn_id",
    )
    ui_color = "#d3e4f1"

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
        self.start = start
        self.end = end
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
        """Verify the period."""
        with ending_without_retries():
            if not self.s3_bucket:
                raise InvalidArgumentError(f"s3_bucket={self.s3_bucket!r} is empty. Name the archive's bucket.")
            return self._run(context, window_of_run(context, self.start, self.end))

    def _run(self, context: Context, period: Window) -> dict[str, Any]:
        raise NotImplementedError

    def _verification(self, period: Window) -> dict[str, Any]:
        """Return the arguments that verifying and reporting share."""
        return {
            "location": f"s3://{self.s3_bucket}/{self.s3_prefix}",
            "start": period.start,
            "end": period.end,
            "expected": self.expected or (),
            "retired": self.retired,
            "aliases": self.aliases,
            "key_ring": self._key_ring(),
            "timestamp_authorities": self.timestamp_authorities,
            "known_seals": self.known_seals,
            "ignore": self.ignore,
            "read": self.read,
            "curation_conn_id": self.curation_conn_id,
            "recount": self.recount,
            "retention": self.retention,
            "export_time": self.export_time,
            "workers": self.workers,
            "aws_conn_id": self.aws_conn_id,
        }

    def _key_ring(self) -> KeyRing | None:
        from airflow_provider_curation.hooks.signing import key_ring_of_connection

        return key_ring_of_connection(self.key_ring_conn_id, "key_ring_conn_id") if self.key_ring_conn_id else None
