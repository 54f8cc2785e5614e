"""A DAG that runs within a minute when JFrog Curation blocks packages, and a canary for its watcher; Airflow 3 only.

Connection: `curation_default` (type "JFrog Curation"). A triggerer must run, since the watcher lives there.
"""

import logging
from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Asset, AssetWatcher, task
except ImportError:
    # Airflow 2 has no watchers: see curation_blocked_alert.
    pass
else:
    from airflow_provider_curation.alerts import blocked_line
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
    from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger
    from airflow_provider_curation.watcher import check_watcher

    log = logging.getLogger(__name__)

    # [START howto_watcher]
    # The first start of the watcher looks back so far. From then on it goes on where it left off; before Airflow 3.3,
    # which keeps that for it, each start of the triggerer looks back again.
    trigger = CurationBlockedEventsTrigger(lookback=timedelta(minutes=30), poll_interval=20)
    BLOCKED = Asset("curation-blocked-events", watchers=[AssetWatcher(name="curation", trigger=trigger)])
    # [END howto_watcher]

    with DAG(
        dag_id="curation_blocked_watch",
        schedule=[BLOCKED],
        catchup=False,
        tags=["curation", "alert"],
        doc_md=__doc__,
    ) as dag:
        # [START howto_watch_task]
        # A run may have several batches, and a batch may come twice when a triggerer was killed: ids tell.
        @task
        def alert(triggering_asset_events: dict | None = None) -> list[int]:
            """Read each batch again, whole."""
            hook = CurationAuditHook()
            blocked = {}
            for asset_event in triggering_asset_events[BLOCKED] if triggering_asset_events else ():
                batch = asset_event.extra["payload"]
                for event in hook.iter_events(batch["since"], batch["until"]):
                    if event["action"] == "blocked":
                        blocked[event["id"]] = event
            for event in blocked.values():
                log.info("%s", blocked_line(event))
            return sorted(blocked)

        alert()
        # [END howto_watch_task]

    # [START howto_canary]
    # A watcher has no task that fails if the server refuses it, or if its connection is gone. On Airflow 3.3 and later
    # it leaves a heartbeat each minute, and this task fails after an hour without an answer; before, it is skipped.
    with DAG(
        dag_id="curation_blocked_watch_canary",
        schedule="*/30 * * * *",
        start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
        catchup=False,
        tags=["curation", "alert"],
        doc_md=__doc__,
    ) as canary:

        @task(inlets=[BLOCKED])
        def check(asset_state_store=None) -> dict:
            """Fail if the server has not answered the watcher for an hour."""
            return check_watcher(asset_state_store, silence=timedelta(hours=1))

        check()
    # [END howto_canary]
