"""The adapter answers as the server on sockets does: healthy, and in every fault."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.simulator import Fault, Simulator, SimulatorSettings
from airflow_provider_curation.simulator.adapter import SimulatorAdapter
from airflow_provider_curation.simulator.replies import Request
from tests.support.tenants import END, START, z

pytestmark = pytest.mark.timeout(30)
SETTINGS: dict[str, Any] = {"events": 30, "start": START, "end": END, "hang": 1.0, "retry_after": 7}
PARAMS = {"created_at_start": z(START), "created_at_end": z(END), "include_total": "true", "num_of_rows": "2000"}


def outcome(session: requests.Session, url: str, **params: str) -> Any:
    """What a client sees of an answer, or the error that it gets."""
    try:
        response = session.get(
            url + AUDIT_PATH, params={**PARAMS, **params}, stream=True, timeout=0.3, allow_redirects=False
        )
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in ("Date", "Server", "Connection", "Location", "Retry-After")
        }
        return response.status_code, response.reason, headers, response.content
    except requests.RequestException as error:
        return type(error)


def mounted(simulator: Simulator, **options: Any) -> requests.Session:
    session = requests.Session()
    session.mount("http://", SimulatorAdapter(simulator.app, **options))
    return session


@pytest.mark.parametrize("params", [{}, {"format": "csv", "include_total": "false"}], ids=["json", "csv"])
@pytest.mark.parametrize("fault", [None, *Fault], ids=lambda fault: fault.value if fault else "healthy")
@pytest.mark.parametrize("chunked", [False, True])
def test_it_answers_as_on_sockets(fault: Fault | None, params: dict[str, str], chunked: bool) -> None:
    with Simulator(SimulatorSettings(chunked=chunked, **SETTINGS)) as simulator, requests.Session() as session:
        outcomes = []
        for each, url in ((session, simulator.url), (mounted(simulator), "http://curation.example")):
            if fault is not None:
                simulator.fail_next(fault)
            outcomes.append(outcome(each, url, **params))
        assert outcomes[0] == outcomes[1]


def test_gzip_and_credentials_are_those_of_a_real_request() -> None:
    simulator = Simulator(SimulatorSettings(gzip=True, users={"name": "word"}, **SETTINGS))
    session = mounted(simulator)
    assert session.get("http://curation.example" + AUDIT_PATH, params=PARAMS).status_code == 401
    response = session.get("http://curation.example" + AUDIT_PATH, params=PARAMS, auth=("name", "word"))
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.json()["meta"]["total_count"] == simulator.count(START, END)
    assert [each.status for each in simulator.requests] == [401, 200]


def test_answers_can_be_spoiled_on_their_way() -> None:
    simulator = Simulator(SimulatorSettings(**SETTINGS))
    asked = []

    def spoil(request: Request, answer: bytes) -> bytes:
        asked.append(request.path)
        return answer.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 299 Made up")

    response = mounted(simulator, spoil=spoil).get("http://curation.example" + AUDIT_PATH, params=PARAMS)
    assert (response.status_code, response.reason) == (299, "Made up")
    assert asked == [AUDIT_PATH]
    assert simulator.count(START, START + timedelta(days=3)) == 30
