"""The demo's second DAG: a package is blocked, and an alert goes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from child import Child

if TYPE_CHECKING:
    from airflow_provider_curation.simulator import Simulator

DAG_ID = "curation_blocked_alert"
_PACKAGE = "event-streem"
_SHOWN = 8


def show_alert(airflow: Child, tenant: Simulator, title: Callable[[str], None]) -> bool:
    """Block a package, run the DAG that alerts, and return whether the alert is correct."""
    policies = [{"policy_name": "no-malware", "policy_id": 7, "condition_category": "security"}]
    now = datetime.now(timezone.utc)
    tenant.insert(now, action="blocked", package_type="npm", package_name=_PACKAGE, policies=policies)
    # The DAG runs every ten minutes; the interval of this run is the ten minutes that just ended.
    end = now.replace(minute=now.minute // 10 * 10, second=0, microsecond=0)
    command = ("dags", "test", DAG_ID, f"{end:%Y-%m-%dT%H:%M:%S+00:00}")
    title(f"7. airflow {' '.join(command)}")
    print(f"Meanwhile a developer asked for npm {_PACKAGE}, which was blocked at {now:%H:%M:%S}. From the logs of the")
    print("sensor and of the task that alerts:")
    said: list[str] = []

    def tell(seconds: float, line: str) -> None:
        said.append(line)
        if len(said) <= _SHOWN or _PACKAGE in line:
            print(f"[{seconds:3.0f} s] {line[:150]}", flush=True)

    airflow.run(*command, tell=tell)
    if len(said) > _SHOWN:
        print(f"        ({len(said)} lines in total)")
    alert = [line for line in said if re.match(r"\d+ packages were blocked", line)]
    since = end - timedelta(minutes=15)
    blocked = [event for event in tenant.truth(since, now + timedelta(minutes=1)) if event["action"] == "blocked"]
    true = [int(line.split()[0]) for line in alert] == [len(blocked)] and any(_PACKAGE in line for line in said)
    verdict = "true  " if true else "UNTRUE"
    told = (
        f"The alert names {len(blocked)} packages: all that were blocked since {since:%H:%M} UTC, including this one."
    )
    print(f"\n{verdict}  {told}", flush=True)
    return true
