"""Alerts when JFrog Curation blocks packages; for Airflow 2.11 and 3.

It needs the connection `curation_default` (type "JFrog Curation") and a running triggerer, where the sensor waits.
"""

import logging
from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_curation.alerts import blocked_line
from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.sensors.curation_audit import CurationBlockedEventsSensor

log = logging.getLogger(__name__)

with DAG(
    dag_id="curation_blocked_alert",
    # Each run continues where the previous one ended, ten minutes later.
    schedule=CronDataIntervalTimetable("*/10 * * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["curation", "alert"],
    doc_md=__doc__,
) as dag:
    # [START howto_sensor]
    # Nothing is missed: the search starts five minutes before the end of the last successful run, to find events that
    # became visible late. Once a broken connection works again, the next run reports what the failed runs could not.
    # An event in that overlap, or one that came after the last run's alert, is in the alerts of two runs. A run that
    # finds nothing is skipped. A refused token, or a server that is down for long, fails the run. A run without an
    # interval, such as one that was triggered without a logical date, looks back from its own start.
    wait = CurationBlockedEventsSensor(
        task_id="wait",
        start="{{ (prev_data_interval_end_success | default(none) or data_interval_start | default(dag_run.start_date))"
        " - macros.timedelta(minutes=5) }}",
        deferrable=True,
        poke_interval=30,
        timeout=timedelta(minutes=9),
        soft_fail=True,
    )
    # [END howto_sensor]

    # [START howto_alert]
    # To notify people, give the task a notifier from a provider that you have installed, such as
    #
    #     from airflow.providers.slack.notifications.slack import send_slack_notification
    #     @task(on_success_callback=[send_slack_notification(channel="#security", text="{{ ti.xcom_pull() }}")])
    #
    # or airflow.providers.smtp.notifications.smtp.send_smtp_notification(to=..., subject=..., html_content=...).
    @task
    def alert(batch: dict) -> str:
        """Read the whole batch again, because the sensor returns only a sample."""
        hook = CurationAuditHook()
        events = hook.iter_events(batch["since"], batch["until"])
        # Text from strangers, such as a package's name, is escaped for logs, Slack and HTML.
        lines = [blocked_line(event) for event in events if event["action"] == "blocked"]
        lines.insert(0, f"{len(lines)} packages were blocked, see {hook.audit_page_url}")
        for line in lines:
            log.info("%s", line)
        return "\n".join(lines)

    alert(wait.output)
    # [END howto_alert]
