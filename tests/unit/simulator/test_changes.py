"""What happens to the events while someone reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.simulator import Delete, Fault, Hide, Insert, NewId, Reveal
from tests.support.tenants import END, START, Tenant, z

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., Tenant]
MIDDLE = START + timedelta(hours=36)


def ids(tenant: Tenant) -> list[int]:
    return [event["id"] for event in tenant.data()]


def test_an_inserted_event_has_its_own_fields_beside_the_ordinary_ones(tenant: Make) -> None:
    asked = tenant()
    keys = list(asked.data()[0])
    id_ = asked.simulator.insert(MIDDLE, package_name="late", unknown_key=[1])
    event = asked.data()[-1]
    assert event["id"] == id_ == max(ids(asked))
    assert (event["package_name"], event["created_at"], event["unknown_key"]) == ("late", z(MIDDLE), [1])
    assert list(event) == [*keys, "unknown_key"]
    assert asked.simulator.count(START, END) == 701
    assert asked.truth() == asked.data()
    assert asked.records()[-1]["package_name"] == "late"


def test_an_event_can_be_inserted_between_others(tenant: Make) -> None:
    asked = tenant()
    before = ids(asked)
    id_ = asked.simulator.insert(MIDDLE, id=NewId.BETWEEN)
    after = ids(asked)
    assert after == sorted([*before, id_])
    assert 0 < after.index(id_) < 700
    with pytest.raises(ValueError, match="already"):
        asked.simulator.insert(MIDDLE, id=id_)
    with pytest.raises(ValueError, match="already"):
        asked.simulator.insert(MIDDLE, id=before[0])


def test_windows_that_do_not_hold_an_inserted_event_do_not_show_it(tenant: Make) -> None:
    asked = tenant()
    count = asked.simulator.count(START, MIDDLE)
    asked.simulator.insert(MIDDLE)
    assert asked.simulator.count(START, MIDDLE) == count
    assert asked.simulator.count(MIDDLE, MIDDLE + timedelta(seconds=1), dry_run=True) == 0


def test_a_dry_run_row_is_inserted_into_its_stream_only(tenant: Make) -> None:
    asked = tenant()
    before = asked.simulator.count(START, END, dry_run=True)
    id_ = asked.simulator.insert(MIDDLE, id=ids(asked)[0], dry_run=True)
    assert asked.simulator.count(START, END, dry_run=True) == before + 1
    assert asked.simulator.count(START, END) == 700
    assert id_ in {event["id"] for event in asked.data(dry_run="true")}
    assert [event["id"] for event in asked.truth(dry_run=True)] == sorted(
        event["id"] for event in asked.truth(dry_run=True)
    )


def test_a_deleted_event_is_gone_from_both_streams(tenant: Make) -> None:
    asked = tenant()
    victim = asked.data(dry_run="true")[5]["id"]
    assert asked.simulator.delete(victim) == victim
    assert victim not in ids(asked)
    assert victim not in {event["id"] for event in asked.data(dry_run="true")}
    with pytest.raises(KeyError, match=str(victim)):
        asked.simulator.delete(victim)
    first = ids(asked)[0]
    assert asked.simulator.delete(START) == first
    assert ids(asked)[0] > first


def test_hidden_events_come_back_in_their_place(tenant: Make) -> None:
    asked = tenant()
    before = ids(asked)
    asked.simulator.hide(START + timedelta(hours=10), MIDDLE)
    assert 0 < len(ids(asked)) < 700
    assert asked.simulator.count(START + timedelta(hours=10), MIDDLE) == 0
    asked.simulator.reveal()
    assert ids(asked) == before


def test_an_inserted_event_can_lag(tenant: Make) -> None:
    asked = tenant()
    asked.simulator.insert(MIDDLE, lag=1_000)
    assert len(ids(asked)) == 700


def test_changes_are_scheduled_by_audit_requests(tenant: Make) -> None:
    victim = tenant().truth()[3]["id"]
    asked = tenant(
        changes={2: Insert(MIDDLE, id=NewId.BETWEEN), 3: [Delete(victim), Hide(MIDDLE, END)], 4: Reveal()},
    )
    assert len(ids(asked)) == 700
    asked.ask(path="/xray/api/v1/system/version")
    assert len(ids(asked)) == 701
    third = ids(asked)
    assert victim not in third
    assert len(third) < 690
    assert len(ids(asked)) == 700


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_changes_pages_are_the_truth(tenant: Make, data: st.DataObject) -> None:
    asked = tenant(events=150)
    base = ids(asked)
    moments = st.integers(0, 3 * 86_400 - 1).map(lambda second: START + timedelta(seconds=second))
    for moment in data.draw(st.lists(moments, max_size=6)):
        asked.simulator.insert(moment, id=data.draw(st.sampled_from(NewId)))
    deleted = data.draw(st.lists(st.sampled_from(base), unique=True, max_size=6))
    for id_ in deleted:
        asked.simulator.delete(id_)
    truth = asked.truth()
    assert [event["id"] for event in truth] == sorted({event["id"] for event in truth})
    assert set(base) - set(deleted) <= {event["id"] for event in truth}
    rows = data.draw(st.integers(20, 200))
    for direction in ("asc", "desc"):
        got = []
        for offset in range(0, 200, rows):
            got += asked.data(num_of_rows=rows, offset=offset, direction=direction)
        assert got == (truth if direction == "asc" else truth[::-1])


def test_late_events_appear_when_their_time_has_come(tenant: Make) -> None:
    now = [END]
    asked = tenant(now=lambda: now[0], late_rate=0.5, late_by=timedelta(hours=6))
    everything = [event["id"] for event in tenant().data()]
    early = ids(asked)
    hidden = set(everything) - set(early)
    recent = {
        event["id"] for event in tenant().data(created_at_start=z(END - timedelta(hours=6) + timedelta(seconds=1)))
    }
    assert hidden < recent
    assert 0.2 < len(hidden) / len(recent) < 0.8
    now[0] = END + timedelta(hours=6)
    assert ids(asked) == everything


def test_the_server_forgets_in_silence(tenant: Make) -> None:
    asked = tenant(retention=timedelta(days=1), now=END)
    page = asked.page(include_total="true")
    assert page["data"][0]["created_at"] >= z(END - timedelta(days=1))
    assert page["meta"]["total_count"] == asked.simulator.count(START, END) == len(asked.truth()) < 700
    assert asked.page(created_at_end=z(START + timedelta(days=1)))["data"] is None


def test_events_of_the_future_are_not_there_yet(tenant: Make) -> None:
    asked = tenant(now=MIDDLE)
    assert all(event["created_at"] <= z(MIDDLE) for event in asked.data())
    assert 0 < len(asked.data()) < 700


def test_a_naive_time_is_refused(tenant: Make) -> None:
    naive = datetime(2026, 3, 9)
    asked = tenant().simulator
    for call in (lambda: asked.count(naive, END), lambda: asked.insert(naive), lambda: list(asked.truth(START, naive))):
        with pytest.raises(ValueError, match="time zone"):
            call()


def test_the_truth_accepts_any_zone(tenant: Make) -> None:
    zone = timezone(timedelta(hours=5))
    assert tenant().simulator.count(START.astimezone(zone), END.astimezone(zone)) == 700


def test_faults_change_nothing(tenant: Make) -> None:
    asked = tenant()
    asked.simulator.fail_next(Fault.SERVER_ERROR)
    assert asked.ask().status == 500
    assert asked.data() == asked.truth()
