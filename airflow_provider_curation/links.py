"""Links from a task in Airflow's user interface to the object it exported, and to the server's audit page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_curation.compat import BaseOperatorLink, stored_xcom


class _StoredLink(BaseOperatorLink):
    """A link whose address the task stored as an XCom."""

    key: str

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, or an empty string until the task has stored it."""
        return stored_xcom(ti_key, self.key) or ""

    @classmethod
    def store(cls, context: Any, address: str) -> None:
        """Store the address for the running task."""
        task_instance = context.get("ti")
        if task_instance is not None:
            task_instance.xcom_push(key=cls.key, value=address)


class S3ObjectLink(_StoredLink):
    """The exported object in the AWS console."""

    name = "S3 object"
    key = "curation_s3_object"

    @staticmethod
    def address(bucket: str, key: str) -> str:
        return f"https://console.aws.amazon.com/s3/object/{quote(bucket)}?prefix={quote(key)}"


class CurationAuditLink(_StoredLink):
    """The server's own page of audit events."""

    name = "Curation audit"
    key = "curation_audit_page"
