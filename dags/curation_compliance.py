"""Proof that the archive of Curation audit events is whole, after each day's export; for Airflow 2.11 and 3.

It runs when `curation_audit_daily_export` has written a day. Connections: `curation_default` (type "JFrog Curation")
and `aws_default`. The bucket is `BUCKET` in the DAG file; "Trigger DAG" asks how many days to verify.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, Param, task

from airflow_provider_curation.backfill import EXPORT_NAME
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

# Not a parameter: whoever may trigger the DAG could send the audit events, with the names of people, to another bucket.
BUCKET = "audit-archive"
# The connection whose key signs manifests, such as "audit_signing"; None leaves them unsigned.
SIGNING_CONN_ID = None
# The streams and formats that the archive must have, as the export DAG writes them;
# "parquet" is a format, too.
STREAMS = [
    {"dry_run": False, "file_format": "jsonl"},
    {"dry_run": False, "file_format": "csv"},
    {"dry_run": True, "file_format": "jsonl"},
]
EXPECTED = [("dry_run" if each["dry_run"] else "events", each["file_format"]) for each in STREAMS]
# An export may take so long after its day has ended; until then the day is pending, and not a gap.
EXPORT_TIME = timedelta(hours=2)
# This DAG seals nothing. Take "no_seals" out once there are seals, so that a report names it if they are gone.
IGNORE = ["no_seals"]
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
    params={
        "days": Param(
            28,
            type="integer",
            minimum=1,
            maximum=366,
            title="Days",
            description="How many days to verify, up to yesterday. The server remembers the last 30.",
        )
    },
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
        return {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in (("start", start), ("end", end), ("day", day))}

    # [START howto_export]
    # The last day, in every stream. What the export DAG wrote is compared and not written again; a stream that it does
    # not export, or failed to, is.
    export = CurationAuditToS3Operator.partial(
        task_id="export",
        map_index_template=EXPORT_NAME,
        s3_bucket=BUCKET,
        signing_conn_id=SIGNING_CONN_ID,
        start="{{ ti.xcom_pull(task_ids='period')['day'] }}",
        end=PERIOD["end"],
        max_active_tis_per_dag=2,
    ).expand_kwargs(STREAMS)
    # [END howto_export]

    # [START howto_verify]
    verify = CurationAuditVerifyOperator(
        task_id="verify",
        s3_bucket=BUCKET,
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        signing_conn_id=SIGNING_CONN_ID,
        ignore=IGNORE,
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
        task_id="mend",
        map_index_template=EXPORT_NAME,
        s3_bucket=BUCKET,
        signing_conn_id=SIGNING_CONN_ID,
        max_active_tis_per_dag=2,
    ).expand_kwargs(to_mend(verify.output))
    # [END howto_mend]

    verify_again = CurationAuditVerifyOperator(
        task_id="verify_again",
        s3_bucket=BUCKET,
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        signing_conn_id=SIGNING_CONN_ID,
        ignore=IGNORE,
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
        left = f"The server forgets the oldest events that are not archived in {after['days_left']:.1f} days."
        said = f"{conclusion}\n{left}\n{after['summary']}"
        if conclusion.failed:
            raise AirflowFailException(said)
        log = logging.getLogger("airflow.task")
        log.log(logging.WARNING if conclusion.found else logging.INFO, "%s\n%s", conclusion, left)
        return said

    period() >> export >> verify
    mend >> verify_again
    conclude(verify.output, verify_again.output)
