"""The monthly report DAG under Airflow: it seals a whole month, and writes the report that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.audit.window import Window
from airflow_provider_curation.simulator import Simulator
from tests.support import dags
from tests.support.archives import MemoryArchive
from tests.support.dags import BUCKET, DAGS, keys, states
from tests.support.reports import event, put_export

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(240, method="thread"),
]


def last_month() -> Window:
    end = datetime.now(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Window((end - timedelta(days=1)).replace(day=1), end)


def test_a_whole_month_is_sealed_and_reported(
    s3: Any, curation_simulator_factory: Callable[..., Simulator], midnight: datetime
) -> None:
    curation_simulator_factory(events=1, start=midnight - timedelta(days=3), end=midnight, tokens=("made-up-token",))
    archive, month = MemoryArchive(), last_month()
    for number, day in enumerate(month.split(timedelta(days=1))):
        put_export(archive, day, [event(number + 1, day.start, action="blocked")])
    for key, body in archive.objects.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    # The made-up server knows nothing of these events, and only one stream was exported.
    [dag] = dags.load(DAGS / "curation_monthly_report.py", ("expected=EXPECTED,", "recount=False,"))

    ended = states(dags.run(dag, datetime.now(timezone.utc)))

    assert set(ended.values()) == {"success"}, ended
    name = f"{month.start:%Y%m%dT%H%M%SZ}_{month.end:%Y%m%dT%H%M%SZ}"
    assert {f"curation/_seals/{name}.json", f"curation/_reports/{name}.html"} <= set(keys(s3))
    figures = json.loads(s3.get_object(Bucket=BUCKET, Key=f"curation/_reports/{name}.json")["Body"].read())
    assert figures["verdict"]["word"] == "complete"
    assert figures["trust"]["sealed_until"] == f"{month.end:%Y-%m-%dT%H:%M:%SZ}"
    page = s3.get_object(Bucket=BUCKET, Key=f"curation/_reports/{name}.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    assert b"<svg" in page["Body"].read()
