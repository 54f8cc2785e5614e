"""Where a page's events wait."""

from __future__ import annotations

import io

import pytest

from airflow_provider_curation.audit.pages import page_body
from airflow_provider_curation.audit.pages.page_body import MEMORY_BYTES, body_of

HALF = b"x" * (MEMORY_BYTES // 2)


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the pages that other tests have not dropped yet."""
    monkeypatch.setattr(page_body, "_memory", page_body._Memory())


def test_pages_beyond_the_bound_wait_on_disk() -> None:
    first, second = body_of(HALF), body_of(HALF)
    third = body_of(b"{}\n")
    assert isinstance(first, io.BytesIO)
    assert isinstance(second, io.BytesIO)
    assert not isinstance(third, io.BytesIO)
    third.seek(0)
    assert third.read() == b"{}\n"
    third.close()
    # Closed twice, its memory is still given back once.
    first.close()
    first.close()
    with body_of(HALF) as fourth, body_of(b"x") as fifth:
        assert isinstance(fourth, io.BytesIO)
        assert not isinstance(fifth, io.BytesIO)
    second.close()


def test_a_dropped_page_gives_its_memory_back() -> None:
    for _ in range(4):
        body = body_of(HALF + HALF)
        assert isinstance(body, io.BytesIO)
        del body
