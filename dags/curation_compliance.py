"""Verifies after each day's export that the archive of Curation audit events is complete; for Airflow 2.11 and 3.

It runs once `curation_audit_daily_export` has written a day. It needs the connections `curation_default` (type "JFrog
Curation") and `aws_default`. The bucket is `BUCKET` in the DAG file. "Trigger DAG" asks how many days to verify.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, Param, Variable, task

from airflow_provider_curation.backfill import EXPORT_NAME
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

# Not a parameter: whoever can trigger the DAG could send the audit events, with people's names, to another bucket.
BUCKET = "audit-archive"
# The Airflow variable of this name holds the id of the connection whose key signs manifests and seals. Without it,
# nothing is signed.
SIGNING_CONN_ID = "{{ var.value.get('curation_signing_conn_id', '') }}"
# The Airflow variable in which the last seal is noted, where nobody who can write to the bucket can change it.
LAST_SEAL = "curation_last_seal"
# The streams and formats that the archive must have, as the export DAG writes them;
# "parquet" is a format, too.
STREAMS = [
    {"dry_run": False, "file_format": "jsonl"},
    {"dry_run": False, "file_format": "csv"},
    {"dry_run": True, "file_format": "jsonl"},
]
EXPECTED = [("dry_run" if each["dry_run"] else "events", each["file_format"]) for each in STREAMS]
# How long an export may take after its day has ended. Until then, the day is pending, not a gap.
EXPORT_TIME = timedelta(hours=2)
# Kinds of findings that are no incident once they are repaired. Gaps and late events never are; a finished object that
# was altered or had vanished is one, unless it is named here: "object_missing", "sha256_differs", "size_differs", ...
# What is repaired after it was sealed stays a finding, "replaced_after_sealing": name it for late events of sealed
# days.
TOLERATE = []
PERIOD = {
    "start": "{{ ti.xcom_pull(task_ids='period')['start'] }}",
    "end": "{{ ti.xcom_pull(task_ids='period')['end'] }}",
}

# [START howto_dag]
with DAG(
    dag_id="curation_compliance",
    # The exports' assets start it, once all three have been updated.
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
            description="How many days to verify, up to yesterday. The server keeps the last 30.",
        )
    },
    tags=["curation", "audit"],
    doc_md=__doc__,
) as dag:
    # [END howto_dag]

    @task
    def known_seals() -> list:
        """Return the seal that must be there; nothing before the first one is noted."""
        seal = Variable.get(LAST_SEAL, None)
        return [seal] if seal else []

    @task
    def ignored(seals: list) -> list:
        """Return what is no finding: before the first seal is noted, that there is none."""
        return [] if seals else ["no_seals"]

    @task
    def period(params=None) -> dict:
        """Return the days up to the last midnight that has settled, and the last one of them."""
        settled = datetime.now(timezone.utc) - timedelta(minutes=10)
        end = settled.replace(hour=0, minute=0, second=0, microsecond=0)
        start, day = end - timedelta(days=params["days"]), end - timedelta(days=1)
        return {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in (("start", start), ("end", end), ("day", day))}

    # [START howto_export]
    # The last day, in every stream. What the export DAG has written is compared, and not written again. A stream that
    # it does not export, or failed to export, is exported here.
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

    seals = known_seals()
    ignore = ignored(seals)

    # [START howto_verify]
    verify = CurationAuditVerifyOperator(
        task_id="verify",
        s3_bucket=BUCKET,
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        signing_conn_id=SIGNING_CONN_ID,
        known_seals=seals,
        ignore=ignore,
        on_finding="return",
        # Also if an export failed: its day is a gap, or pending while another export of it is running.
        trigger_rule="all_done",
    )
    # [END howto_verify]

    @task
    def to_repair(report: dict) -> list:
        """Return the exports that repair what the server still remembers."""
        return report["repair"]

    # [START howto_repair]
    # One mapped export for each window that can be repaired; none if nothing is wrong.
    repair = CurationAuditToS3Operator.partial(
        task_id="repair",
        map_index_template=EXPORT_NAME,
        s3_bucket=BUCKET,
        signing_conn_id=SIGNING_CONN_ID,
        max_active_tis_per_dag=2,
    ).expand_kwargs(to_repair(verify.output))
    # [END howto_repair]

    @task
    def to_seal(report: dict) -> list:
        """Return the time that no seal covers yet, up to the end of the period; nothing if there is none."""
        from airflow_provider_curation.evidence import unsealed

        return unsealed(report)

    # [START howto_seal]
    # Each seal begins where the one before ends. What is not whole, or still pending, is not sealed: the next run's
    # seal begins at the same place.
    seal = CurationAuditVerifyOperator.partial(
        task_id="seal",
        s3_bucket=BUCKET,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        signing_conn_id=SIGNING_CONN_ID,
        known_seals=seals,
        seal=True,
        on_finding="return",
        # Also if nothing was to be repaired, or an export of several failed.
        trigger_rule="all_done",
    ).expand_kwargs(to_seal(verify.output))
    # [END howto_seal]

    @task
    def note(sealed: list) -> None:
        """Note the seal that was written."""
        for each in sealed:
            if each["seal_sha256"]:
                Variable.set(LAST_SEAL, each["seal_sha256"])

    verify_again = CurationAuditVerifyOperator(
        task_id="verify_again",
        s3_bucket=BUCKET,
        **PERIOD,
        expected=EXPECTED,
        export_time=EXPORT_TIME,
        signing_conn_id=SIGNING_CONN_ID,
        known_seals=seals,
        ignore=ignore,
        on_finding="return",
        # Even if there was nothing to repair or seal, or one of several exports failed.
        trigger_rule="all_done",
    )

    @task
    def conclude(before: dict, after: dict) -> str:
        """Log what was found, repaired and lost.

        Fail if something is lost, was altered or had vanished, and if what is whole could not be sealed.
        """
        import logging

        from airflow_provider_curation.evidence import conclude as compare
        from airflow_provider_curation.evidence import unsealed

        conclusion = compare(before, after, tolerate=TOLERATE)
        left = f"The server forgets the oldest events that are not archived in {after['days_left']:.1f} days."
        sealed = f"The archive is sealed up to {after['sealed_until'] or 'no moment yet'}."
        said = f"{conclusion}\n{left}\n{sealed}\n{after['summary']}"
        if conclusion.failed:
            raise AirflowFailException(said)
        if unsealed(after) and not after["pending"]:
            raise AirflowFailException(f"{said}\nThe task seal says why no seal was written.")
        log = logging.getLogger("airflow.task")
        log.log(logging.WARNING if conclusion.found else logging.INFO, "%s\n%s\n%s", conclusion, left, sealed)
        return said

    period() >> export >> verify
    repair >> seal >> verify_again
    note(seal.output)
    conclude(verify.output, verify_again.output)
