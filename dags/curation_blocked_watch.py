"""Runs within a minute after JFrog Curation blocks a package, with a canary for the watcher; for Airflow 3 only.

It needs the connection `curation_default` (type "JFrog Curation") and a running triggerer, where the watcher runs.
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
    # On its first start, the watcher looks back this far. After that, it continues where it left off. Before Airflow
    # 3.3, which keeps its cursor, it looks back again at each start of the triggerer.
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
        # A run can have several batches, and a batch can come twice if a triggerer was killed, so compare the ids.
        @task
        def alert(triggering_asset_events: dict | None = None) -> list[int]:
            """Read each whole batch again."""
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
