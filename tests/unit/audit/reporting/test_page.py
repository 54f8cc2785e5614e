"""The page and the JSON: what strangers wrote stays text, and the schema is that of the figures."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.reporting import figures as module
from airflow_provider_curation.audit.reporting.charts import draw
from airflow_provider_curation.audit.reporting.figures import DayState, Figures
from airflow_provider_curation.audit.reporting.page import render
from airflow_provider_curation.audit.reporting.words import ADVICE, STATES
from tests.support.archives import MemoryArchive
from tests.support.reports import START, WEEK, event, figures, policy, put_export

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg><script>alert(2)</script>",
    "\u202egnp.exe\u2066",
    "مرحبا بالعالم",
    "x" * 10_000,
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "a\x00b\x1b[2J\u2028c",
    "'; alert(1); '",
]


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def hostile() -> Figures:
    archive = MemoryArchive()
    events = []
    for number, text in enumerate(HOSTILE, 1):
        matched = [policy(text, text, condition_category=text, result="Blocked")]
        names = {"package_type": text, "package_name": text, "curated_repository_name": text, "username": text}
        versions = {"package_version": text}
        moment = START + timedelta(hours=number)
        action = "blocked" if number % 2 else "approved"
        events.append(event(2 * number, moment, action=action, policies=matched, **names, **versions))
        events.append(event(2 * number + 1, moment, action=text, policies=None, **names))
    run = {"dag_id": HOSTILE[0], "run_id": HOSTILE[1]}
    put_export(archive, WEEK, events, dag_run=run, reconciled=False, reconciled_why=HOSTILE[2], replaces="0" * 64)
    return figures(archive, people="shown")


def test_nothing_that_strangers_wrote_becomes_an_element() -> None:
    found = hostile()
    assert found.activity
    page = render(found, draw(found.activity)).decode()
    elements = Elements()
    elements.feed(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "a", "image", "use"}
    attributes = {name for _, attributes in elements.found for name in attributes}
    assert not {name for name in attributes if name.startswith("on")}
    assert not attributes & {"href", "src", "xlink:href", "action", "srcset"}
    assert page.count("<style>") == 1
    assert "49" not in re.findall(r"\{\{.*?\}\}", page)
    # What turns text around, or a terminal, is shown as an escape.
    assert not set("\u202e\u2066\x00\x1b\u2028") & set(page)
    assert "\\u202e" in page
    assert "x" * 301 not in page
    assert "{{ 7 * 7 }}" in page


def test_the_page_asks_for_nothing() -> None:
    found = hostile()
    assert found.activity
    page = render(found, draw(found.activity)).decode()
    for address in re.findall(r"https?://[^\s\"'<]+", page):
        assert address.startswith("http://www.w3.org/"), address
    assert "url(" not in page
    assert "@import" not in page


def test_people_are_not_on_a_page_that_was_not_asked_for_them() -> None:
    archive = MemoryArchive()
    blocked = event(1, START, action="blocked", username="grace.hopper", user_mail="grace@acme.example")
    put_export(archive, WEEK, [blocked])
    for people, there in (("off", False), ("masked", False), ("shown", True)):
        found = figures(archive, people=people)
        assert (b"grace" in render(found, {})) == there
        assert (b"grace" in found.to_json()) == there


@pytest.mark.parametrize("made", [hostile, lambda: figures(MemoryArchive())], ids=["hostile", "empty"])
def test_the_json_fits_its_schema(made: Any) -> None:
    found = json.loads(made().to_json())
    jsonschema.Draft202012Validator(module.schema()).validate(found)
    assert found["report_version"] == module.REPORT_VERSION


def test_the_schema_file_is_that_of_the_figures() -> None:
    text = files("airflow_provider_curation.audit.reporting").joinpath("report.schema.json").read_text()
    assert json.loads(text) == module.schema()


def test_a_page_without_exports_is_a_page() -> None:
    page = render(figures(MemoryArchive()), {}).decode()
    assert "Incomplete" in page
    assert "No: there is no export of this period" in page


def test_every_state_and_every_finding_has_words() -> None:
    assert set(STATES) == set(DayState)
    assert set(ADVICE) == set(FindingKind)
    style = files("airflow_provider_curation.audit.reporting").joinpath("page.css").read_text()
    for state in DayState:
        assert f".{state.value}.d{{" in style
    signs = [words.sign for words in STATES.values()]
    assert len(set(signs)) == len(signs)
