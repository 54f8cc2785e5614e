"""Parameters, credentials, entitlement and versions: what the server says no to, and how."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_curation.audit.endpoint import AUDIT_PATH, ENTITLEMENT_PATH, VERSION_PATH
from airflow_provider_curation.simulator import Fault, SimulatorSettings
from airflow_provider_curation.simulator.replies import Request
from tests.support.tenants import START, Tenant, z

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., Tenant]
QUERY = f"created_at_start={z(START)}&created_at_end={z(START + timedelta(days=1))}"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_of_rows": 0}, "invalid num_of_rows: must be between 1 and 2000"),
        ({"num_of_rows": 2001}, "invalid num_of_rows: must be between 1 and 2000"),
        ({"num_of_rows": "many"}, "invalid num_of_rows: must be between 1 and 2000"),
        ({"offset": -1}, "invalid offset: must be at least 0"),
        ({"order_by": "name"}, "invalid order_by: name"),
        ({"direction": "up"}, "invalid direction: must be one of asc, desc"),
        ({"format": "xml"}, "invalid format: must be one of json, csv"),
        ({"include_total": "yes"}, "invalid include_total: must be true or false"),
        ({"dry_run": "2"}, "invalid dry_run: must be true or false"),
        ({"created_at_start": "yesterday"}, "invalid created_at_start: must be a time in RFC 3339 format"),
        ({"created_at_start": "2026-03-09"}, "invalid created_at_start: must be a time in RFC 3339 format"),
        ({"created_at_end": "2026-13-09T00:00:00Z"}, "invalid created_at_end: must be a time in RFC 3339 format"),
        ({"created_at_end": "2026-03-01T00:00:00Z"}, "created_at_start must be before created_at_end"),
        ({"created_at_end": "2026-03-16T00:00:01Z"}, "Maximum allowed duration is 168 hours"),
    ],
)
def test_bad_parameters_are_a_400(tenant: Make, params: dict[str, str], message: str) -> None:
    assert tenant().error(**params) == (400, message)


def test_a_raw_plus_is_a_space_and_so_no_time(tenant: Make) -> None:
    query = "created_at_start=2026-03-09T00:00:00+00:00&created_at_end=2026-03-10T00:00:00Z"
    handle = tenant().simulator.app.handle
    assert handle(Request("GET", AUDIT_PATH, query)).status == 400
    assert handle(Request("GET", AUDIT_PATH, query.replace("+", "%2B"))).status == 200


def test_exactly_the_maximal_width_works_and_it_can_be_another(tenant: Make) -> None:
    assert tenant().ask(created_at_end=z(START + timedelta(hours=168))).status == 200
    assert tenant(max_width=None).ask(created_at_end=z(START + timedelta(days=365))).status == 200
    assert tenant(max_width=timedelta(hours=24)).error()[1] == "Maximum allowed duration is 24 hours"


def test_unknown_parameters_are_ignored(tenant: Make) -> None:
    assert tenant().data(action="blocked", package_type="npm") == tenant().data()


def test_times_are_kept_to_the_second(tenant: Make) -> None:
    meta = tenant().page(created_at_start="2026-03-09T02:30:00.999+02:00")["meta"]
    assert meta["created_at_start"] == "2026-03-09T00:30:00Z"


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("error", {"error": "invalid order_by: x"}),
        ("errors", {"errors": [{"status": 400, "message": "invalid order_by: x"}]}),
    ],
)
def test_error_bodies(tenant: Make, shape: str, body: object) -> None:
    assert json.loads(tenant(error_body=shape).ask(order_by="x").body) == body


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer good"}, 200),
        ({"Authorization": "Bearer bad"}, 401),
        ({"Authorization": "Bearer weak"}, 403),
        (basic("ann", "p:w"), 200),
        (basic("ann", "pw"), 401),
        (basic("bob", "p:w"), 401),
        ({"Authorization": "Basic %%%"}, 401),
    ],
)
def test_credentials(tenant: Make, headers: dict[str, str], status: int) -> None:
    asked = tenant(tokens=("good",), forbidden_tokens=("weak",), users={"ann": "p:w"})
    assert asked.ask(headers=headers).status == status
    (record,) = asked.simulator.requests
    assert record.status == status
    assert record.headers == tuple(headers)
    assert "good" not in repr((record, asked.simulator.settings))


def test_a_token_without_permission_may_still_ask_the_version(tenant: Make) -> None:
    asked = tenant(forbidden_tokens=("weak",))
    assert asked.ask(VERSION_PATH, {"Authorization": "Bearer weak"}).status == 200
    assert asked.ask(VERSION_PATH).status == 401


def test_a_content_type_on_a_get_meets_the_load_balancer(tenant: Make) -> None:
    headers = {"Content-Type": "application/json"}
    reply = tenant().ask(headers=headers)
    assert (reply.status, reply.content_type) == (400, "text/html; charset=utf-8")
    assert tenant(content_type_refused=False).ask(headers=headers).status == 200


def test_not_entitled_is_an_empty_200(tenant: Make) -> None:
    asked = tenant(entitled=False)
    page = asked.page(include_total="true")
    assert page["data"] is None
    assert page["meta"]["total_count"] == 0
    assert json.loads(asked.ask(ENTITLEMENT_PATH).body) == {"feature_id": "curation", "entitled": False}
    assert asked.records() == []


def test_entitlement_can_be_unknown(tenant: Make) -> None:
    assert json.loads(tenant().ask(ENTITLEMENT_PATH).body)["entitled"] is True
    reply = tenant(tells_entitlement=False).ask(ENTITLEMENT_PATH)
    assert (reply.status, reply.body) == (404, b"404 page not found\n")


def test_versions(tenant: Make) -> None:
    assert json.loads(tenant(version="3.99.1").ask(VERSION_PATH).body)["xray_version"] == "3.99.1"
    assert tenant(version="3.99.1").ask().status == 200
    reply = tenant(version="3.81.9").ask()
    assert (reply.status, reply.body) == (404, b"404 page not found\n")


def test_other_paths_and_methods(tenant: Make) -> None:
    asked = tenant(context_path="artifactory/")
    assert asked.ask("/nowhere").status == 404
    assert asked.ask("/artifactory" + VERSION_PATH).status == 200
    assert asked.ask(VERSION_PATH).status == 200
    assert asked.ask("/artifactoryx" + VERSION_PATH).status == 404
    assert b"700 audit events" in asked.ask("/artifactory").body
    assert asked.simulator.app.handle(Request("POST", AUDIT_PATH, "")).status == 405


def test_more_requests_than_the_capacity_are_refused_at_once(tenant: Make) -> None:
    app = tenant(capacity=3, retry_after=7, latency=60.0).simulator.app
    app.stopping.set()  # nobody waits
    request = Request("GET", AUDIT_PATH, QUERY)
    assert [app._handle(request, in_flight).status for in_flight in range(1, 6)] == [200, 200, 200, 429, 429]
    assert dict(app._handle(request, 4).headers)["Retry-After"] == "7"
    assert app._handle(Request("GET", VERSION_PATH, ""), 4).status == 200
    assert [record.fault for record in app.records[2:4]] == [None, Fault.THROTTLED_SECONDS]


def test_more_requests_than_the_capacity_slow_the_server_down(tenant: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tenant(capacity=2, over_capacity="slow", latency=0.5).simulator.app
    waits: list[float] = []
    monkeypatch.setattr(app.stopping, "wait", waits.append)
    request = Request("GET", AUDIT_PATH, QUERY)
    assert {app._handle(request, in_flight).status for in_flight in (1, 2, 4, 8)} == {200}
    assert waits == [0.5, 0.5, 2.0, 8.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fault_rate", 1.5),
        ("events", -1),
        ("json_rows", 0),
        ("csv_id_column", 27),
        ("latency", -0.1),
        ("retention", timedelta(0)),
        ("start", START.replace(tzinfo=None)),
        ("changes", {0: ()}),
        ("repeat_from", 0),
        ("capacity", -1),
    ],
)
def test_impossible_settings_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        SimulatorSettings(**{name: value})


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="start must be before end"):
        SimulatorSettings(start=START, end=START)
