"""JSON pages look like the samples, hold the truth, and follow every switch."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator.replies import Request
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.tenants import END, START, Tenant, z

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., Tenant]
HYPOTHESIS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("shape", "sample"),
    [("2023", "audit_packages_2023.json"), ("2026", "audit_packages_2026.json")],
)
def test_events_and_meta_have_the_keys_of_the_sample_in_its_order(
    tenant: Make, samples: Path, shape: str, sample: str
) -> None:
    expected = json.loads((samples / sample).read_text())
    page = tenant(shape=shape).page(include_total="true")
    assert list(page) == list(expected)
    assert list(page["meta"]) == list(expected["meta"])
    assert {tuple(event) for event in page["data"]} == {tuple(expected["data"][0])}
    policies = {tuple(policy) for event in expected["data"] for policy in event["policies"] or []}
    assert {tuple(policy) for event in page["data"] for policy in event["policies"] or []} == policies
    types = {key: type(value) for key, value in expected["data"][0].items() if key != "policies"}
    assert all({key: type(event[key]) for key in types} == types for event in page["data"])


def test_newer_servers_add_two_keys(tenant: Make) -> None:
    assert {"ecosystem", "ondemand"} < set(tenant(shape="newer").data()[0])


def test_the_mix_has_what_readers_stumble_over(tenant: Make) -> None:
    events = tenant(events=5_000).data(num_of_rows=2000)
    names = "".join(event["package_name"] for event in events)
    policies = [event["policies"] for event in events]
    words = "".join(policy["policy_name"] for given in policies for policy in given or [])
    assert {event["action"] for event in events} == {"approved", "blocked", "passed"}
    assert len({event["package_type"] for event in events}) >= 8
    assert any(event["action"] == "blocked" and event["policies"] is None for event in events)
    assert max(len(given or []) for given in policies) >= 2
    assert [] not in policies
    assert any(event["username"] == "" for event in events)
    assert all(sign in names for sign in ('"', ",", "\n", "\u2028", "\u00e9", "\U0001f680", "%"))
    assert all(sign in words for sign in ('"', ",", "\n", "\u2028"))
    hosts = {event["public_repo_url"].split("/")[2] for event in events}
    assert all(host.endswith(".example") for host in hosts)
    assert all(event["package_url"] == "" or event["package_url"].split("/")[2] in hosts for event in events)
    assert not any("{" in event["package_url"] for event in events)


@given(rows=st.integers(70, 2000), descending=st.booleans(), dry_run=st.booleans())
@HYPOTHESIS
def test_paging_over_any_page_size_gives_the_truth_in_order(
    tenant: Make, rows: int, descending: bool, dry_run: bool
) -> None:
    asked = tenant()
    got: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        page = asked.page(
            num_of_rows=rows, offset=offset, direction="desc" if descending else "asc", dry_run=str(dry_run).lower()
        )
        got += page["data"]
        offset = page["meta"]["next_offset"]
    truth = asked.truth(dry_run)
    assert got == (truth[::-1] if descending else truth)


@given(cuts=st.lists(st.integers(0, 3 * 86_400), max_size=8))
@HYPOTHESIS
def test_the_parts_of_a_window_sum_up_to_it(tenant: Make, cuts: list[int]) -> None:
    asked = tenant()
    edges = sorted({0, 3 * 86_400, *cuts})
    start = int(START.timestamp())
    for dry_run in (False, True):
        parts = [
            asked.simulator.app.store.rows(start + low, start + high, dry_run).total for low, high in pairwise(edges)
        ]
        assert sum(parts) == asked.simulator.count(START, END, dry_run) == len(asked.truth(dry_run))


def test_dry_run_events_have_one_policy_on_trial_each(tenant: Make) -> None:
    events = tenant().data(dry_run="true")
    keys = [(event["id"], event["policies"][0]["policy_id"]) for event in events]
    assert all(len(event["policies"]) == 1 and event["policies"][0]["dry_run"] for event in events)
    assert len(set(keys)) == len(keys) > len({id_ for id_, _ in keys})
    assert tenant().page(dry_run="true", include_total="true")["meta"]["total_count"] == len(events)
    assert not any(policy["dry_run"] for event in tenant().data() for policy in event["policies"] or [])


@pytest.mark.parametrize("shape", CHOICES["shape"])
@pytest.mark.parametrize("text", CHOICES["text"])
@pytest.mark.parametrize("layout", CHOICES["layout"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_every_form_holds_the_same_objects(tenant: Make, shape: str, text: str, layout: str, dry_run: bool) -> None:
    asked = tenant(shape=shape, text=text, layout=layout)
    body = asked.ask(num_of_rows=2000, dry_run=str(dry_run).lower()).body
    page = json.loads(body)
    assert page["data"] == asked.truth(dry_run)
    ascii_ = text == "ascii"
    form: dict[str, Any] = {"indent": 1} if layout == "pretty" else {"separators": (",", ":")}
    if text != "go":
        assert body.decode() == json.dumps(page, ensure_ascii=ascii_, **form)
    lines = list(asked.simulator.truth_lines(START, END, dry_run))
    assert [json.loads(line) for line in lines] == page["data"]
    if layout == "compact":
        assert b",".join(lines) in body


@pytest.mark.parametrize("text", CHOICES["text"])
def test_signs_that_are_escaped_or_not(tenant: Make, text: str) -> None:
    body = tenant(events=5_000, text=text).ask(num_of_rows=2000).body
    assert ("\u2028".encode() in body) == (text == "utf8")
    assert (b"100%-sure<&>" in body) == (text != "go")
    assert ("\u00e9".encode() in body) == (text != "ascii")


@pytest.mark.parametrize(
    ("last_page", "expected"),
    [("null", None), ("zero", 0), ("minus-one", -1), ("step", 700)],
)
def test_next_offset_of_the_last_page(tenant: Make, last_page: str, expected: int | None) -> None:
    asked = tenant(last_page=last_page)
    assert asked.page(num_of_rows=300)["meta"]["next_offset"] == 300
    assert asked.page(num_of_rows=300, offset=600)["meta"]["next_offset"] == expected
    assert asked.page(offset=700) == {**asked.page(offset=700), "data": None}
    assert asked.page(offset=700)["meta"]["next_offset"] == expected


def test_next_offset_can_be_absent_on_the_last_page(tenant: Make) -> None:
    asked = tenant(last_page="absent")
    assert "next_offset" in asked.page(num_of_rows=300)["meta"]
    assert "next_offset" not in asked.page(num_of_rows=300, offset=400)["meta"]


@pytest.mark.parametrize(("empty_page", "expected"), [("null", None), ("list", [])])
def test_an_empty_page(tenant: Make, empty_page: str, expected: Any) -> None:
    page = tenant(empty_page=empty_page).page(created_at_end=z(START), include_total="true")
    assert page["data"] == expected
    assert page["meta"]["total_count"] == page["meta"]["result_count"] == 0


def test_an_empty_page_equals_the_sample(tenant: Make, samples: Path) -> None:
    expected = json.loads((samples / "audit_packages_empty.json").read_text())
    page = tenant(events=0).page(created_at_end="2026-03-10T00:00:00Z", include_total="true")
    assert page == expected


def test_total_count_only_when_asked_and_offered(tenant: Make) -> None:
    assert tenant().page(include_total="true", num_of_rows=1)["meta"]["total_count"] == 700
    assert "total_count" not in tenant().page()["meta"]
    silent = tenant(total_count=False).page(include_total="true")["meta"]
    assert "total_count" not in silent
    assert silent["include_total"] is True


def test_meta_can_come_first(tenant: Make) -> None:
    assert list(tenant(meta_place="before").page()) == ["meta", "data"]


def test_the_end_of_a_window_can_be_inclusive(tenant: Make) -> None:
    asked, inclusive = tenant(), tenant(end_bound="inclusive")
    event = asked.truth()[350]
    without = asked.data(created_at_end=event["created_at"])
    with_it = inclusive.data(created_at_end=event["created_at"])
    assert all(other["created_at"] < event["created_at"] for other in without)
    assert event in with_it
    assert event in asked.data(created_at_start=event["created_at"])
    assert {other["created_at"] for other in with_it[len(without) :]} == {event["created_at"]}


@pytest.mark.parametrize(("echo", "expected"), [("in-force", 150), ("asked", 2000)])
def test_a_server_that_allows_fewer_rows(tenant: Make, echo: str, expected: int) -> None:
    page = tenant(json_rows=150, rows_echo=echo).page(num_of_rows=2000)
    assert len(page["data"]) == 150
    assert page["meta"]["num_of_rows"] == expected
    assert page["meta"]["next_offset"] == page["meta"]["result_count"] == 150


def test_short_pages_in_the_middle(tenant: Make) -> None:
    asked = tenant(short_page_every=3, short_page_by=5)
    pages = [asked.page(num_of_rows=100, offset=100) for _ in range(6)]
    assert [page["meta"]["result_count"] for page in pages] == [100, 100, 95, 100, 100, 95]
    assert pages[2]["meta"]["next_offset"] == 195
    assert tenant(short_page_every=1, short_page_by=5).page(num_of_rows=2)["meta"]["result_count"] == 1


def test_a_server_that_repeats_its_first_page(tenant: Make) -> None:
    asked = tenant(repeat_from=3)
    first = asked.data(num_of_rows=100)
    assert asked.data(num_of_rows=100, offset=100) != first
    repeated = asked.page(num_of_rows=100, offset=200)
    assert repeated["data"] == first
    assert repeated["meta"]["offset"] == 200
    assert repeated["meta"]["next_offset"] == 300


def test_defaults_of_the_server(tenant: Make) -> None:
    asked = tenant(now=END)
    page = json.loads(asked.simulator.app.handle(Request("GET", AUDIT_PATH, "")).body)
    assert [event["id"] for event in page["data"]] == [event["id"] for event in asked.truth()[:-101:-1]]
    assert page["meta"]["created_at_end"] == z(END)
    assert page["meta"]["created_at_start"] == "2026-03-05T00:00:00Z"
    assert (page["meta"]["num_of_rows"], page["meta"]["direction"]) == (100, "desc")
