"""The compliance DAG under Airflow: it repairs what can be repaired, and fails with what is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_curation.simulator import Simulator
from tests.support import dags
from tests.support.dags import BUCKET, DAGS, forget_variables, keys, states
from tests.support.keys import pem

DAY = timedelta(days=1)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("dags_database"),
    pytest.mark.example_dags,
    pytest.mark.timeout(240, method="thread"),
]


@pytest.fixture
def server(curation_simulator_factory: Callable[..., Simulator], midnight: datetime) -> Simulator:
    return curation_simulator_factory(events=900, start=midnight - 3 * DAY, end=midnight, tokens=("made-up-token",))


def load(end: datetime, tolerate: Sequence[str] = ()) -> Any:
    """The DAG, with an end that does not move on when a day settles while it runs."""
    computed = "settled.replace(hour=0, minute=0, second=0, microsecond=0)"
    [dag] = dags.load(DAGS / "curation_compliance.py", (computed, f'datetime.fromisoformat("{end.isoformat()}")'))
    dag.get_task("conclude").python_callable.__globals__["TOLERATE"] = tolerate
    return dag


@pytest.fixture(autouse=True)
def _no_seal_is_noted(dags_database: None) -> None:
    forget_variables()


def exported(s3: Any) -> list[str]:
    """The keys of the exports."""
    return [key for key in keys(s3) if "/_" not in key]


def seals(s3: Any) -> list[dict[str, Any]]:
    """The seals, in order of time."""
    found = [key for key in keys(s3) if "/_seals/" in key and key.endswith(".json")]
    return [json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in found]


def run(dag: Any) -> dict[str, str]:
    """Run the DAG; the state of each task instance, mapped ones with their number."""
    return states(dags.run(dag, datetime.now(timezone.utc), days=3))


def test_makes_up_for_days_that_are_missing(
    s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    ended = run(load(midnight))

    # Two of three days of three streams were missing. That is repaired, and said.
    assert [state for name, state in ended.items() if name.startswith("repair[")] == ["success"] * 6
    assert set(ended.values()) == {"success"}, ended
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Found: 3 gap. Repaired: 3 gap. Lost: nothing." in said
    # Nothing is missing up to the last midnight, and the server remembers 30 days.
    days = re.findall(r"forgets the oldest events that are not archived in ([\d.]+) days", said)
    assert days
    assert all(29 <= float(each) <= 30 for each in days)
    objects = exported(s3)
    assert len(objects) == 9

    ended = run(load(midnight))
    assert [ended.pop(name) for name in ("repair", "seal", "note")] == ["skipped"] * 3
    assert set(ended.values()) == {"success"}, ended
    assert exported(s3) == objects


def signing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything signed, as one Airflow variable does."""
    monkeypatch.setenv("AIRFLOW_VAR_CURATION_SIGNING_CONN_ID", "audit_signing")
    key = json.dumps({"conn_type": "generic", "extra": {"private_key": pem("audit")}})
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_SIGNING", key)


@pytest.mark.parametrize("signed", [False, True])
def test_each_runs_seal_begins_where_the_one_before_ends(
    signed: bool, s3: Any, server: Simulator, midnight: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signed:
        signing(monkeypatch)

    ended = [run(load(midnight - DAY)), run(load(midnight))]

    # There was no seal before the first one, which is no finding, signed or not.
    for each in ended:
        assert each.pop("repair", "skipped") == "skipped"
        assert set(each.values()) == {"success"}, each
    first, second = seals(s3)
    assert (first["start"], first["end"]) == (said(midnight - 4 * DAY), said(midnight - DAY))
    assert (second["start"], second["end"]) == (said(midnight - DAY), said(midnight))
    assert (first["previous"], second["previous"]["key"]) == (None, "_seals/" + named(first))
    assert len(second["manifests"]) == 3
    assert len([key for key in keys(s3) if key.endswith(".dsse")]) == (len(exported(s3)) + 2 if signed else 0)


def said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def named(seal: dict[str, Any]) -> str:
    return f"{seal['start']}_{seal['end']}.json".replace("-", "").replace(":", "")


def test_seals_that_are_gone_are_found_though_nothing_is_signed(
    s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    """The last seal is noted in Airflow's database, where nobody who can write to the bucket can change it."""
    run(load(midnight - DAY))
    for key in keys(s3):
        if "/_seals/" in key:
            s3.delete_object(Bucket=BUCKET, Key=key)

    ended = run(load(midnight))

    assert ended["conclude"] == "failed"
    assert seals(s3) == []
    assert "which was noted, is not in the chain" in "".join(capfd.readouterr()) + caplog.text


def test_a_day_whose_own_export_is_still_running_is_not_sealed_over(
    s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    run(load(midnight - DAY))
    dag = load(midnight)
    # As with an export of the day that another run holds on to: this one does not get it, and it may still come.
    dag.get_task("export").partial_kwargs["curation_conn_id"] = "another_run_has_it"
    for task_id in ("verify", "verify_again"):
        dag.get_task(task_id).export_time = 2 * DAY
    dag.get_task("seal").partial_kwargs["export_time"] = 2 * DAY
    ended = run(dag)

    assert [ended[f"export[{number}]"] for number in range(3)] == ["failed"] * 3
    assert ended["seal[0]"] == ended["conclude"] == "success"
    assert len(seals(s3)) == 1
    assert "Pending, since their exports may still be running" in "".join(capfd.readouterr()) + caplog.text

    ended = run(load(midnight))
    assert ended["conclude"] == "success"
    [_, seal] = seals(s3)
    assert (seal["start"], seal["end"]) == (said(midnight - DAY), said(midnight))


@pytest.mark.parametrize("tolerate", [False, True])
def test_a_vanished_object_is_an_incident_though_it_was_repaired(
    tolerate: bool, s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    run(load(midnight))
    objects = exported(s3)
    s3.delete_object(Bucket=BUCKET, Key=objects[0])
    capfd.readouterr()

    ended = run(load(midnight, ["object_missing", "replaced_after_sealing"] if tolerate else ()))

    assert [name for name in ended if name.startswith("repair[")] == ["repair[0]"]
    assert ended.pop("conclude") == ("success" if tolerate else "failed")
    # Everything was sealed before.
    assert [ended.pop(name) for name in ("seal", "note")] == ["skipped"] * 2
    assert set(ended.values()) == {"success"}, ended
    assert exported(s3) == objects
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Found: 1 object_missing. Repaired: 1 object_missing. Lost: nothing." in said
    incidents = "object_missing, replaced_after_sealing"
    assert (f"Finished exports were altered or had vanished ({incidents})" in said) != tolerate
    # That a sealed export was rewritten is said from now on, though nothing of it is lost.
    assert "- rewritten: replaced_after_sealing: " in said
    assert any(
        line.lstrip().startswith("- repaired: object_missing: ") and objects[0] in line for line in said.splitlines()
    )


def test_fails_with_what_is_lost(s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any) -> None:
    run(load(midnight))
    [lost, *_] = [key for key in keys(s3) if key.endswith(".csv.zip")]
    s3.delete_object(Bucket=BUCKET, Key=lost)
    # The server has forgotten an event of that day since, so that the export would be less than its manifest says.
    assert server.settings.start is not None
    server.delete(server.settings.start)

    ended = run(load(midnight))

    assert ended["repair[0]"] == "failed"
    assert ended["verify_again"] == "success"
    assert ended["conclude"] == "failed"
    said = "".join(capfd.readouterr()) + caplog.text
    assert "1 object_missing" in said
    assert lost in said


def test_fails_with_a_gap_that_the_server_has_forgotten(
    s3: Any, server: Simulator, midnight: datetime, capfd: Any, caplog: Any
) -> None:
    dag = load(midnight)
    for task_id in ("verify", "verify_again"):
        dag.get_task(task_id).retention = datetime.now(timezone.utc) - midnight + 2 * DAY + timedelta(hours=1)
    dag.get_task("repair").partial_kwargs["retention"] = dag.get_task("verify").retention

    ended = run(dag)

    # All but the first day can be exported, and the end of that one: of each stream.
    assert [state for name, state in ended.items() if name.startswith("repair[")] == ["success"] * 6
    assert ended["verify_again"] == "success"
    assert ended["conclude"] == "failed"
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Findings: 3 gap. Exports that can still repair some: 0." in said
    assert f"[{midnight - 3 * DAY:%Y-%m-%dT%H:%M:%SZ}, " in said
    assert "no unfiltered export covers it" in said


def test_the_bucket_is_not_a_parameter() -> None:
    [dag] = dags.load(DAGS / "curation_compliance.py")
    assert set(dag.params) == {"days"}
    for task_id in ("export", "repair"):
        assert dag.get_task(task_id).partial_kwargs["s3_bucket"] == BUCKET
    days = dag.params.get_param("days")
    assert days.schema["title"]
    assert days.description


def test_is_driven_by_the_assets_of_the_exports() -> None:
    [dag] = dags.load(DAGS / "curation_compliance.py")
    timetable = dag.timetable
    condition = getattr(timetable, "asset_condition", None) or timetable.dataset_condition
    parts = getattr(condition, "objects", ())
    names = {getattr(asset, "name", None) or asset.uri for asset in parts}
    assert names == {"curation-audit-events", "curation-audit-events-csv", "curation-audit-dry-run"}
