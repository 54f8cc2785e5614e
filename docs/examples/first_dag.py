"""The smallest DAG that keeps every day's events; README.md and the front page show it."""

# [START first_dag]
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator
from pendulum import datetime

with DAG(
    "curation_audit",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),  # "@daily" alone gives no interval on Airflow 3
    start_date=datetime(2026, 11, 1),
):
    CurationAuditToS3Operator(task_id="export", s3_bucket="audit-archive")
# [END first_dag]
