"""Exports the 28 days before a run, one object each, then verifies and seals them; the tutorial runs it."""

# [START first_month]
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_curation.backfill import export_windows
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from pendulum import datetime

with DAG("first_month", schedule=None, start_date=datetime(2026, 11, 1)):

    @task
    def days(logical_date=None) -> list[dict]:
        return export_windows(logical_date - timedelta(days=28), logical_date)

    export = CurationAuditToS3Operator.partial(
        task_id="export", s3_bucket="audit-archive", signing_conn_id="audit_key", max_active_tis_per_dag=2
    ).expand_kwargs(days())
    verify = CurationAuditVerifyOperator(
        task_id="verify",
        s3_bucket="audit-archive",
        start="{{ logical_date - macros.timedelta(days=28) }}",
        end="{{ logical_date }}",
        expected=[("events", "jsonl")],
        signing_conn_id="audit_key",
        seal=True,
    )
    export >> verify
# [END first_month]
