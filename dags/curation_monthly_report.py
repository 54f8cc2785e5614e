"""Verifies and seals each month of the archive of audit events, then reports on it; for Airflow 2.11 and 3.

It needs the connections `curation_default` (type "JFrog Curation") and `aws_default`, and for the charts the extra
`report` on the workers. The bucket is `BUCKET` in the DAG file.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_provider_curation.operators.curation_audit_report import CurationAuditReportOperator
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator

# Not a parameter: whoever can trigger the DAG could make it read and write another bucket.
BUCKET = "audit-archive"
# The Airflow variable of this name holds the id of the connection whose key signs seals. Without it, nothing is signed.
SIGNING_CONN_ID = "{{ var.value.get('curation_signing_conn_id', '') }}"
# The streams and formats that the archive must have, as the export DAG writes them.
EXPECTED = [("events", "jsonl"), ("events", "csv"), ("dry_run", "jsonl")]
MONTH = {
    "start": "{{ ti.xcom_pull(task_ids='month')['start'] }}",
    "end": "{{ ti.xcom_pull(task_ids='month')['end'] }}",
}

# [START howto_dag]
with DAG(
    dag_id="curation_monthly_report",
    # At 04:00 UTC on the first day of a month, long after the last day's export has ended.
    schedule="0 4 1 * *",
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    tags=["curation", "audit"],
    doc_md=__doc__,
) as dag:
    # [END howto_dag]

    @task
    def month() -> dict:
        """Return the last whole month, in UTC."""
        end = datetime.now(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        start = (end - timedelta(days=1)).replace(day=1)
        return {"start": start.isoformat(), "end": end.isoformat()}

    # [START howto_seal]
    # Seals what of the month is not sealed yet, if nothing is missing: all of it, or nothing if curation_compliance
    # has sealed each day. With key_ring_conn_id the signatures of manifests and seals are checked.
    verify = CurationAuditVerifyOperator(
        task_id="verify",
        s3_bucket=BUCKET,
        **MONTH,
        expected=EXPECTED,
        signing_conn_id=SIGNING_CONN_ID,
        on_finding="return",
    )

    @task
    def to_seal(report: dict) -> list:
        """Return the time of the month that no seal covers yet; nothing if there is none."""
        from airflow_provider_curation.evidence import unsealed

        return unsealed(report)

    seal = CurationAuditVerifyOperator.partial(
        task_id="seal",
        s3_bucket=BUCKET,
        expected=EXPECTED,
        signing_conn_id=SIGNING_CONN_ID,
        seal=True,
        on_finding="return",
    ).expand_kwargs(to_seal(verify.output))
    # [END howto_seal]

    # [START howto_report]
    # A month with findings is not sealed, but still reported, because that is when people ask. To mail the report,
    # give the task a notifier from a provider that you have installed, such as
    #
    #     from airflow.providers.smtp.notifications.smtp import send_smtp_notification
    #     on_success_callback=[
    #         send_smtp_notification(
    #             to="audit@acme.example",
    #             subject="Curation audit events, {{ ti.xcom_pull()['start'][:7] }}: {{ ti.xcom_pull()['verdict'] }}",
    #             html_content="{{ ti.xcom_pull()['sentence'] }} The report: {{ ti.xcom_pull()['uri'] }}",
    #         )
    #     ]
    report = CurationAuditReportOperator(
        task_id="report",
        s3_bucket=BUCKET,
        **MONTH,
        expected=EXPECTED,
        # Also if everything was sealed already.
        trigger_rule="all_done",
    )
    # [END howto_report]

    @task
    def conclude(written: dict) -> str:
        """Fail if the month is incomplete, so that somebody is notified."""
        said = f"{written['sentence']} The report: {written['uri']}"
        if written["verdict"] == "incomplete":
            raise AirflowFailException(said)
        return said

    month() >> verify
    seal >> report
    conclude(report.output)
