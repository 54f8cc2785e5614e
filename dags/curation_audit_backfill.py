"""Exports a past range of JFrog Curation's audit events to S3 in pieces; for Airflow 2.11 and 3.

Trigger it with a start and an end. It needs the connections `curation_default` (type "JFrog Curation") and
`aws_default`. The bucket is `BUCKET` in the DAG file.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_curation.backfill import EXPORT_NAME, export_windows, summarize_exports
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

# [START howto_pool]
# Each export has up to `concurrency` (4) calls in flight. This DAG runs two exports at a time, which makes the 8 calls
# that the vendor allows. To limit all DAGs that read from the same server together, create a pool, such as with
# `airflow pools set curation 2 "Curation exports"`, and name it in each of them. Airflow never runs the tasks of a pool
# that does not exist, and only the scheduler's log says so.
POOL = "default_pool"
# [END howto_pool]

# Not a parameter: whoever can trigger the DAG could send the audit events, with people's names, to another bucket.
BUCKET = "audit-archive"
# The Airflow variable of this name holds the id of the connection whose key signs manifests. Without it, nothing is
# signed.
SIGNING_CONN_ID = "{{ var.value.get('curation_signing_conn_id', '') }}"

# [START howto_params]
PARAMS = {
    "start": Param(
        type="string",
        format="date-time",
        title="Start",
        description="Start, inclusive, with a time zone. What the server has forgotten is left out.",
    ),
    "end": Param(
        type="string",
        format="date-time",
        title="End",
        description="End, exclusive. What has not settled yet (the last five minutes) is left out.",
    ),
    "step": Param(24, type="integer", minimum=1, maximum=720, title="Step", description="Hours in one object."),
    "streams": Param(
        ["events"],
        type="array",
        items={"type": "string", "enum": ["events", "dry_run"]},
        minItems=1,
        uniqueItems=True,
        examples=["events", "dry_run"],
        title="Streams",
        description="What happened (events), and what policies in dry-run mode would have done (dry_run).",
    ),
    "formats": Param(
        ["jsonl"],
        type="array",
        items={"type": "string", "enum": ["jsonl", "csv", "parquet"]},
        minItems=1,
        uniqueItems=True,
        examples=["jsonl", "csv", "parquet"],
        title="Formats",
        description="One object each: one event a line (jsonl), server's own rows (csv), typed columns (parquet).",
    ),
}
# [END howto_params]

with DAG(
    dag_id="curation_audit_backfill",
    schedule=None,
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["curation", "audit"],
    doc_md=__doc__,
) as dag:
    # [START howto_backfill]
    @task
    def windows(params: dict) -> list[dict]:
        """Split the range; the log warns about what cannot be exported."""
        step = timedelta(hours=params["step"])
        return export_windows(
            params["start"], params["end"], step, streams=params["streams"], formats=params["formats"]
        )

    exports = windows()
    export = CurationAuditToS3Operator.partial(
        task_id="export",
        s3_bucket=BUCKET,
        signing_conn_id=SIGNING_CONN_ID,
        pool=POOL,
        # Less than the daily export's weight, and without the weight of `summary` added to it.
        priority_weight=1,
        weight_rule="absolute",
        # Names each export in the grid: "2026-10-27 events csv".
        map_index_template=EXPORT_NAME,
        max_active_tis_per_dag=2,
        retries=5,
        retry_delay=timedelta(minutes=2),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=3),
    ).expand_kwargs(exports)
    # [END howto_backfill]

    # [START howto_summary]
    @task(trigger_rule="all_done")
    def summary(exports: list[dict] | None, params: dict, ti=None) -> dict:
        """Fail if an export is missing, and name it."""
        results = [ti.xcom_pull(task_ids="export", map_indexes=index) for index in range(len(exports or ()))]
        return summarize_exports(exports, results, params["start"], params["end"])

    export >> summary(exports)
    # [END howto_summary]
