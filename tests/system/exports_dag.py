"""The DAGs of the system tests, one a scenario: a file of the deployment's DAG folder, not a test."""

import os
from datetime import datetime, timedelta

from airflow import __version__
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_curation.deadline import overdue_alert
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor
from airflow_provider_curation.transfers.curation_audit_to_s3 import CurationAuditToS3Operator

AIRFLOW_3 = not __version__.startswith("2.")
#: The midnight that the scenarios count their days from.
TODAY = datetime.fromisoformat(os.environ["SYSTEM_TEST_TODAY"])
RETRIES = {"retries": 8, "retry_delay": timedelta(seconds=3)}
#: The tests let a week pass by writing 8 here: the DAG ended where its first run did, and goes on then.
CATCHUP_DAYS = 1


def day(number):
    return TODAY + timedelta(days=number)


def export(place, **arguments):
    chosen = {"task_id": "export", "s3_bucket": "audit-archive", "s3_prefix": place, **arguments}
    return CurationAuditToS3Operator(**chosen)


DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
HOURLY = CronDataIntervalTimetable("0 * * * *", timezone="UTC")

# Its last interval is long past, so that no run is scheduled: every run is the backfill's.
with DAG("backfill", schedule=DAILY, start_date=day(-28), end_date=day(-3), catchup=False, default_args=RETRIES):
    export("backfill")

with DAG(
    "catchup",
    schedule=DAILY,
    start_date=day(-12),
    end_date=day(-13 + CATCHUP_DAYS),
    catchup=True,
    default_args=RETRIES,
    is_paused_upon_creation=True,
):
    export("catchup")
    export("catchup-csv", task_id="export_csv", file_format="csv")

with DAG(
    "hourly",
    schedule=HOURLY,
    start_date=day(-4),
    end_date=day(-3) - timedelta(hours=1),
    catchup=True,
    max_active_runs=8,
    default_args=RETRIES,
    is_paused_upon_creation=True,
):
    export("hourly", curation_conn_id="curation_token", compression="none")

EXPORTED = Asset(uri="s3://audit-archive/manual", name="exported") if AIRFLOW_3 else Asset("s3://audit-archive/manual")

# Retries also where a scenario holds that there are none.
with DAG("manual", schedule=None, start_date=day(-28), default_args=RETRIES):
    export("manual", outlets=[EXPORTED])

ASSET_EVENTS = "triggering_asset_events" if AIRFLOW_3 else "triggering_dataset_events"
WINDOW = f"{{{{ ({ASSET_EVENTS}.values() | first | first).extra['%s'] }}}}"

with DAG("follow", schedule=[EXPORTED], start_date=day(-28), default_args=RETRIES):
    export("follow", dry_run=True, start=WINDOW % "start", end=WINDOW % "end")
    export("bare", task_id="bare")

if AIRFLOW_3:
    from airflow.sdk import CronPartitionTimetable

    with DAG(
        "partition",
        schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC"),
        start_date=day(-9),
        end_date=day(-7),
        catchup=True,
        default_args=RETRIES,
        is_paused_upon_creation=True,
    ):
        export(
            "partition",
            start="{{ partition_date }}",
            end="{{ partition_date + macros.timedelta(days=1) }}",
        )

# One event is about a KiB, so that a window of a day has several parts of S3's 5 MiB.
with DAG("mortal", schedule=None, start_date=day(-28), default_args={**RETRIES, "retries": 20}):
    export("mortal", curation_conn_id="curation_busy", compression="none")

with DAG("outage", schedule=None, start_date=day(-28), default_args=RETRIES):
    export("outage", curation_conn_id="curation_large", compression="none")

OVERDUE = overdue_alert(timedelta(days=7))
# Its one run never begins, since nobody makes its pool, and is a week late from the start.
with DAG(
    "overdue",
    schedule=DAILY,
    start_date=day(-9),
    end_date=day(-9),
    catchup=True,
    default_args=OVERDUE.tasks,
    **OVERDUE.dag,
):
    export("overdue", pool="made_by_nobody")

with DAG("settle", schedule=None, start_date=day(-28), default_args=RETRIES):
    export(
        "settle",
        curation_conn_id="curation_token",
        start="{{ dag_run.conf['start'] }}",
        end="{{ dag_run.conf['end'] }}",
        settle_time=timedelta(seconds=45),
        deferrable=True,
    )

with DAG("wait", schedule=None, start_date=day(-28), default_args=RETRIES):
    wait = CurationBlockedEventsSensor(
        task_id="wait",
        curation_conn_id="curation_token",
        start="{{ dag_run.conf['start'] }}",
        poke_interval=1,
        timeout=300,
        deferrable=True,
        soft_fail=True,
    )

    @task
    def tell(batch):
        """Log all that the sensor returned."""
        print("The batch:", batch)

    tell(wait.output)

with DAG("refused", schedule=None, start_date=day(-28), default_args=RETRIES):
    export("refused", curation_conn_id="curation_refused")
    CurationBlockedEventsSensor(
        task_id="wait", curation_conn_id="curation_refused", start="{{ data_interval_start }}", timeout=60
    )
