"""Proof that the archive of Curation audit events is whole, after each day's export; for Airflow 2.11 and 3.

It runs when `curation_audit_daily_export` has written a day. Connections: `curation_default` (type "JFrog Curation")
and `aws_default`. The bucket and the days that are looked back on are the DAG's parameters.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, task

from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

# The streams and formats that the archive must have, as the export DAG writes them.
STREAMS = [
    {"dry_run": False, "file_format": "jsonl"},
    {"dry_run": False, "file_format": "csv"},
    {"dry_run": True, "file_format": "jsonl"},
]
EXPECTED = [("dry_run" if each["dry_run"] else "events", each["file_format"]) for each in STREAMS]
# Names a mapped export in the grid: "2026-10-27 events csv".
LABEL = "{{ (task.start | string)[:10] }} {{ 'dry_run' if task.dry_run else 'events' }} {{ task.file_format }}"
# An export may take so long after its day has ended; until then the day is pending, and not a gap.
EXPORT_TIME = timedelta(hours=2)
# Kinds of findings that are no incident once they are mended. Gaps and late events never are; a finished object that
# was altered or had vanished is one, unless it is named here: "object_missing", "sha256_differs", "size_differs", ...
TOLERATE = []
PERIOD = {
    "start": "{{ ti.xcom_pull(task_ids='period')['start'] }}",
    "end": "{{ ti.xcom_pull(task_ids='period')['end'] }}",
}

# [START howto_dag]
with DAG(
    dag_id="curation_compliance",
    # Driven by the exports' assets: it runs when all three have been updated.
    schedule=[Asset("curation-audit-events"), Asset("curation-audit-events-csv"), Asset("curation-audit-dry-run")],
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    # 28 days: what is missing in them can still be had from a server that remembers 30.
    params={"bucket": "audit-archive", "days": 28},
    tags=["curation", "audit"],
    doc_md=__doc__,
) as dag:
    # [END howto_dag]

    @task
    def period(params=None) -> dict:
        """Return the days up to the last midnight that has settled, and the last one of them."""
        settled = datetime.now(timezone.utc) - timedelta(minutes=10)
        end = settled.replace(hour=0, minute=0, second=0, microsecond=0)
        start, day = end - timedelta(days=params["days"]), end - timedelta(days=1)
        return {"start": start.isoformat(), "end": end.isoformat(), "day": day.isoformat()}

    # [START howto_export]
    # The last day, in every stream. What the export DAG wrote is compared and not written again; a stream that it does
    # not export, or failed to, is.
    export = CurationAuditToS3Operator.partial(
        task_id="export",
        map_index_template=LABEL,
        s3_bucket="{{ params.bucket }}",
        start="{{ ti.xcom_pull(task_ids='period')['day'] }}",
        end=PERIOD["end"],
        max_active_tis_per_dag=2,
    ).expand_kwargs(STREAMS)
    # [END howto_export]

    # [START howto_verify]
    verify = CurationAuditVerifyOperator(
        task_id="verify",
        s3_bucket="{{ params.bucket }}",
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        on_finding="return",
    )
    # [END howto_verify]

    @task
    def to_mend(report: dict) -> list:
        """Return the exports that mend what the server still remembers."""
        return report["mend"]

    # [START howto_mend]
    # One mapped export for each window that can be mended; none if nothing is wrong.
    mend = CurationAuditToS3Operator.partial(
        task_id="mend", map_index_template=LABEL, s3_bucket="{{ params.bucket }}", max_active_tis_per_dag=2
    ).expand_kwargs(to_mend(verify.output))
    # [END howto_mend]

    verify_again = CurationAuditVerifyOperator(
        task_id="verify_again",
        s3_bucket="{{ params.bucket }}",
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        on_finding="return",
        # Also if nothing was to be mended, or an export of several failed.
        trigger_rule="all_done",
    )

    @task
    def conclude(before: dict, after: dict) -> str:
        """Name what was found, mended and lost, and fail if something is lost, was altered or had vanished."""
        import logging

        from airflow_provider_curation.evidence import conclude as compare

        conclusion = compare(before, after, tolerate=TOLERATE)
        if conclusion.failed:
            raise AirflowFailException(f"{conclusion}\n{after['summary']}")
        if conclusion.found:
            logging.getLogger("airflow.task").warning("%s", conclusion)
        return f"{conclusion}\n{after['summary']}"

    period() >> export >> verify
    mend >> verify_again
    conclude(verify.output, verify_again.output)
