"""Links in Airflow's user interface: from a task to what it exported, verified or found."""

from __future__ import annotations

from typing import Any

from airflow_provider_curation.compat import BaseOperatorLink, stored_xcom


class _StoredLink(BaseOperatorLink):
    """A link whose address the task stored as an XCom."""

    #: Airflow 3 stores every link's address under this key when the task ends; using the same key stores it only once.
    xcom_key: str

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, or an empty string until the task has stored it."""
        return stored_xcom(ti_key, self.xcom_key) or ""

    @classmethod
    def store(cls, context: Any, address: str) -> None:
        """Store the address for the running task."""
        task_instance = context.get("ti")
        if task_instance is not None:
            task_instance.xcom_push(key=cls.xcom_key, value=address)


class S3ObjectLink(_StoredLink):
    """The exported object: in the AWS console, or at its own address on another store."""

    name = "S3 object"
    xcom_key = "curation_s3_object"


class S3ManifestLink(_StoredLink):
    """The manifest of the exported object."""

    name = "S3 manifest"
    xcom_key = "curation_s3_manifest"


class S3ArchiveLink(_StoredLink):
    """The archive that was verified."""

    name = "S3 archive"
    xcom_key = "curation_s3_archive"


class S3SealLink(_StoredLink):
    """The seal that a verification wrote."""

    name = "S3 seal"
    xcom_key = "curation_s3_seal"


class CurationAuditLink(_StoredLink):
    """The server's page of audit events."""

    name = "Curation audit"
    xcom_key = "curation_audit_page"


class CurationReportLink(_StoredLink):
    """The page that a report task wrote."""

    name = "Curation report"
    xcom_key = "curation_report_page"
