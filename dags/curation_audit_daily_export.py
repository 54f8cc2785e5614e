"""Exports each day's audit events of JFrog Curation to S3; for Airflow 2.11 and 3.

It needs the connections `curation_default` (type "JFrog Curation") and `aws_default`. The bucket is `BUCKET` in the DAG
file.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

# Not a parameter: whoever can trigger the DAG could send the audit events, with people's names, to another bucket.
BUCKET = "audit-archive"
# The Airflow variable of this name holds the id of the connection whose key signs manifests. Without it, nothing is
# signed.
SIGNING_CONN_ID = "{{ var.value.get('curation_signing_conn_id', '') }}"

# [START howto_assets]
# One asset for each export, so that other DAGs can follow it with schedule=[Asset("curation-audit-events")]. It is
# updated once the object exists, and the update's `extra` has the object's URI, window, counts and SHA-256.
EVENTS = Asset("curation-audit-events")
EVENTS_CSV = Asset("curation-audit-events-csv")
DRY_RUN = Asset("curation-audit-dry-run")
# [END howto_assets]

# [START howto_dag]
with DAG(
    dag_id="curation_audit_daily_export",
    # On Airflow 3, "@daily" alone gives each run an *empty* data interval, which the operator refuses. With this
    # timetable, a run that starts at midnight has the whole day before it as its interval, on every Airflow.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    # Set this to the first day that you want. The server forgets events after 30 days, so a run for an older day fails
    # at once with an error that says so: its object would lack events.
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    # Export the days that were missed while Airflow was down or the DAG was paused. Each run reads its own day.
    catchup=True,
    # But not all of them at once: two exports with 4 calls in flight each make 8, the most that the vendor advises.
    # A pool limits all DAGs and backfills together: create one with
    # `airflow pools set curation 2 "Curation exports"`, and add "pool": "curation" to the default_args.
    max_active_runs=1,
    max_active_tasks=2,
    default_args={
        "signing_conn_id": SIGNING_CONN_ID,
        # The connection retries requests within a task. These retries are for a lasting outage: after 2, 4, 8, ...
        # minutes. Errors that a retry cannot fix, such as a refused token, fail the task at once.
        "retries": 5,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": timedelta(hours=3),
        # In a pool that is shared with backfills, the daily export takes the next free slot, because a backfill's tasks
        # have weight 1. "absolute" keeps Airflow from adding the weights of the tasks that follow.
        "priority_weight": 10,
        "weight_rule": "absolute",
    },
    # To be told of a day that is still not archived a week after it began, import `overdue_alert` from
    # `airflow_provider_curation.deadline`, add `**overdue_alert(timedelta(days=7)).dag` here and its `.tasks` to the
    # default_args. It is not here because `dag.test()` of Airflow 3.3 cannot run a DAG that has a deadline.
    tags=["curation", "audit"],
    doc_md=__doc__,
) as dag:
    # [END howto_dag]
    # [START howto_operator_jsonl]
    # One event per line, in the server's own bytes. The window is the run's data interval. The default key contains its
    # start and end, so clearing a run writes the same object again.
    CurationAuditToS3Operator(
        task_id="export_events",
        s3_bucket=BUCKET,
        outlets=[EVENTS],
    )
    # [END howto_operator_jsonl]

    # [START howto_operator_csv]
    # The same events as the server's own CSV: a zip with one audit_packages.csv.
    CurationAuditToS3Operator(
        task_id="export_events_csv",
        s3_bucket=BUCKET,
        file_format="csv",
        outlets=[EVENTS_CSV],
    )
    # [END howto_operator_csv]

    # [START howto_operator_dry_run]
    # What policies in dry-run mode would have blocked: one line for each event and policy.
    CurationAuditToS3Operator(
        task_id="export_dry_run",
        s3_bucket=BUCKET,
        dry_run=True,
        outlets=[DRY_RUN],
    )
    # [END howto_operator_dry_run]
