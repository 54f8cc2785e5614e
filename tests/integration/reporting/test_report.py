"""A report against an independent query of the same archive, and its page in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, sync_playwright

from airflow_provider_curation.report import create_report, main, write_report
from tests.support.archives import MemoryArchive
from tests.support.browser import CHROMIUM_FLAGS, chromium
from tests.support.reports import WEEK, days, event, policy, put_export

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("documentation")]

HOSTILE = ["<script>document.title='taken'</script>", "\u202egnp.exe", "مرحبا", "x" * 10_000, '"><img src=x>']


def made_events(number: int, start: Any, random: Random, names: list[str]) -> list[dict[str, Any]]:
    events = []
    for place in range(400):
        blocked = [policy(name, f"condition {name}") for name in random.sample(names, 2)]
        action = random.choice(["blocked", "approved", "passed"])
        events.append(
            event(
                1000 * number + place,
                start + timedelta(minutes=3 * place),
                action=action,
                package_type=random.choice(["npm", "PyPI", "Go"]),
                package_name=random.choice(names),
                curated_repository_name=random.choice(names),
                policies=blocked if action == "blocked" else None,
            )
        )
    return events


def folder(path: Path, form: str, names: list[str]) -> Path:
    archive, random = MemoryArchive(), Random(7)
    for number, day in enumerate(days(), 1):
        if number != 4:
            put_export(archive, day, made_events(number, day.start, random, names), form=form, root="")
    for key, body in archive.objects.items():
        file = path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return path


NAMES = ["left-pad", "requests", "gin", "react", "numpy"]


@pytest.mark.parametrize(("form", "read"), [("jsonl", "read_json"), ("parquet", "read_parquet")])
def test_the_figures_are_those_of_duckdb(form: str, read: str, tmp_path: Path) -> None:
    archive = folder(tmp_path, form, NAMES)
    figures = create_report(archive, WEEK.start, WEEK.end, charts=False).figures
    activity = figures.activity
    assert activity
    source = f"{read}('{archive}/instance=*/**/*.{'jsonl.gz' if form == 'jsonl' else 'parquet'}')"

    def rows(query: str) -> dict[Any, Any]:
        return dict(duckdb.sql(query.replace("EVENTS", source)).fetchall())

    assert activity.actions == rows("select action, count(*) from EVENTS group by 1")
    assert {each.package_type: each.events for each in activity.package_types} == rows(
        "select package_type, count(*) from EVENTS group by 1"
    )
    assert {each.package_type: each.blocked for each in activity.package_types} == rows(
        "select package_type, count(*) filter (action = 'blocked') from EVENTS group by 1"
    )
    assert {each.name: each.blocked for each in activity.policies} == rows(
        "select policy.policy_name, count(distinct id) from (select id, unnest(policies) as policy from EVENTS "
        "where action = 'blocked') group by 1"
    )
    assert {each.name: each.events for each in activity.packages} == rows(
        "select package_type || ': ' || package_name, count(*) from EVENTS where action = 'blocked' group by 1"
    )
    assert {each.name: each.events for each in activity.repositories} == rows(
        "select curated_repository_name, count(*) from EVENTS where action = 'blocked' group by 1"
    )
    by_day = rows("select cast(created_at as varchar)[:10], count(*) from EVENTS group by 1")
    assert {each.time: sum(each.actions.values()) for each in activity.over_time} == by_day
    [series] = figures.series
    assert {day.day: day.kept for day in series.days if day.kept} == by_day
    assert sum(by_day.values()) == series.kept == 6 * 400


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    report = create_report(folder(path / "archive", "jsonl", HOSTILE), WEEK.start, WEEK.end, people="shown")
    written, beside = write_report(report, path / "report.html")
    assert json.loads(Path(beside).read_bytes())["verdict"]["word"] == "incomplete"
    return Path(written)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "media"), [(1280, "screen"), (390, "screen"), (794, "print")])
def test_the_page_is_quiet_and_fits_its_window(
    page: Path, browser: Browser, width: int, media: Any, scheme: Any
) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.emulate_media(media=media, color_scheme=scheme)
    shown.goto(page.as_uri())
    widths = shown.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    answer = shown.evaluate("document.querySelector('.verdict').getBoundingClientRect().bottom")
    title = shown.title()
    shown.close()
    assert (said, asked) == ([], [page.as_uri()])
    assert widths[0] <= widths[1]
    # The answer is there before any scroll.
    assert answer < 900
    assert title.startswith("Curation audit archive")


AXE = os.environ.get("AXE_CORE")


@pytest.mark.skipif(AXE is None, reason="AXE_CORE does not name the file axe.min.js of the npm package axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_bars_the_way_to_the_page(page: Path, browser: Browser, scheme: Any) -> None:
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    shown = context.new_page()
    shown.goto(page.as_uri())
    shown.add_script_tag(path=str(AXE))
    violations = shown.evaluate("axe.run()")["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in SERIOUS] == []


SERIOUS = ("serious", "critical")


def test_the_command_writes_both_files_and_tells_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = folder(tmp_path / "archive", "jsonl", NAMES)
    bounds = ["--start", "2026-03-01T00:00:00Z", "--output", str(tmp_path / "report.html"), "--no-charts"]
    assert main([str(archive), *bounds, "--end", "2026-03-04T00:00:00Z"]) == 0
    assert capsys.readouterr().out.startswith("complete: Yes")
    assert main([str(archive), *bounds, "--end", "2026-03-08T00:00:00Z"]) == 1
    assert capsys.readouterr().out.startswith("incomplete: No: 1 day is ")
    assert (tmp_path / "report.html").read_bytes().startswith(b"<!doctype html>")
    assert main([str(tmp_path / "nowhere"), *bounds, "--end", "2026-03-08T00:00:00Z"]) == 2
    assert "is not a folder" in capsys.readouterr().err
