"""Choices of the server in any combination, and windows of any place and width: the truth, or a named error."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.hooks.curation_audit import CurationAuditHook
from airflow_provider_curation.simulator import PASSING_FAULTS
from airflow_provider_curation.simulator.settings import CHOICES
from tests.support.exports import START, csv_of, csv_rows, simulated, truth_csv

pytestmark = pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")

PERIOD = timedelta(days=9)
Moments = tuple[datetime, datetime]


def choices(**of: Any) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each switch, of a kind of choices or a strategy."""
    return {name: each if isinstance(each, st.SearchStrategy) else st.sampled_from(each) for name, each in of.items()}


SERVERS = st.fixed_dictionaries(
    {},
    optional=choices(
        seed=st.integers(1, 50),
        events=st.one_of(st.integers(0, 5), st.integers(6, 250)),
        shape=CHOICES["shape"],
        end_bound=CHOICES["end_bound"],
        json_rows=[17, 40, 2000],
        rows_echo=CHOICES["rows_echo"],
        csv_rows=[25, 60, 500_000],
        csv_over=CHOICES["csv_over"],
        csv_count=CHOICES["csv_count"],
        last_page=CHOICES["last_page"],
        empty_page=CHOICES["empty_page"],
        total_count=st.booleans(),
        layout=CHOICES["layout"],
        text=CHOICES["text"],
        meta_place=CHOICES["meta_place"],
        error_body=CHOICES["error_body"],
        short_page_every=[0, 2, 3, 5],
        short_page_by=[1, 2, 5],
        csv_bom=st.booleans(),
        csv_line_end=CHOICES["csv_line_end"],
        csv_quoting=CHOICES["csv_quoting"],
        csv_final_line_end=st.booleans(),
        csv_id_column=st.integers(0, 26),
        csv_extra_column=st.booleans(),
        csv_zip_time=CHOICES["csv_zip_time"],
        context_path=["", "/artifactory"],
        gzip=st.booleans(),
        chunked=st.booleans(),
        cache_bytes=[0, 1_000_000],
        fault_rate=[0.0, 0.2],
        fault_kinds=st.just(PASSING_FAULTS),
    ),
)
CLIENTS = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from([8, 39, 40, 2000]),
        "concurrency": st.integers(1, 8),
        "slice_rows": st.sampled_from([25, 60, 20_000]),
    }
)
SECONDS = st.integers(-3600, int(PERIOD.total_seconds()) + 3600)


@st.composite
def windows(draw: st.DrawFn) -> Moments:
    """Any two moments around the simulated period, or the whole of it."""
    if draw(st.booleans()):
        return START, START + PERIOD
    first, last = sorted((draw(SECONDS), draw(SECONDS)))
    return START + timedelta(seconds=first), START + timedelta(seconds=last + 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@given(server=SERVERS, client=CLIENTS, window=windows(), dry_run=st.booleans())
def test_json_is_the_truth(server: dict[str, Any], client: dict[str, Any], window: Moments, dry_run: bool) -> None:
    with simulated(end=START + PERIOD, **client, **server) as simulator:
        hook = CurationAuditHook()
        truth = list(simulator.truth(*window, dry_run))
        assert list(hook.iter_events(*window, dry_run)) == truth
        assert hook.count_events(*window, dry_run) == len(truth)


@pytest.mark.slow
@pytest.mark.timeout(300)
@given(server=SERVERS, client=CLIENTS, window=windows(), dry_run=st.booleans())
def test_csv_is_the_truth(server: dict[str, Any], client: dict[str, Any], window: Moments, dry_run: bool) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        simulated(end=START + PERIOD, **client, **server) as simulator,
    ):
        hook = CurationAuditHook()
        target = Path(folder, "audit.zip")
        counts = hook.download_csv(*window, target, dry_run)
        content = csv_of(target.read_bytes())
        assert content == truth_csv(simulator, *window, dry_run)
        rows = csv_rows(content)
        assert counts["rows"] == len(rows)
        assert counts["events"] == simulator.count(*window, dry_run)
