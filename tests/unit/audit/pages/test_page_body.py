"""Where a page's events wait."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.pages import page_body
from airflow_provider_curation.audit.pages.page_body import MEMORY_BYTES, MemoryBody, body_of

#: An event that takes half of the memory, with its line break.
HALF = b"x" * (MEMORY_BYTES // 2 - 1)


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the pages that other tests have not dropped yet."""
    monkeypatch.setattr(page_body, "_memory", page_body._Memory())


def in_memory(body: object) -> bool:
    return isinstance(body, MemoryBody)


def test_pages_beyond_the_bound_wait_on_disk() -> None:
    first, second = body_of([HALF]), body_of([HALF])
    third = body_of([b"{}"])
    assert in_memory(first)
    assert in_memory(second)
    assert not in_memory(third)
    third.seek(0)
    assert third.read() == b"{}\n"
    third.close()
    # Closed twice, its memory is still given back once.
    first.close()
    first.close()
    with body_of([HALF]) as fourth, body_of([b"x"]) as fifth:
        assert in_memory(fourth)
        assert not in_memory(fifth)
    second.close()


def test_a_dropped_page_gives_its_memory_back() -> None:
    for _ in range(4):
        body = body_of([HALF, HALF])
        assert in_memory(body)
        del body


@pytest.mark.parametrize("memory", [MEMORY_BYTES, 0])
@pytest.mark.parametrize("events", [0, 1, 16, 17, 100])
def test_events_are_lines_in_memory_and_on_disk(events: int, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_body, "MEMORY_BYTES", memory)
    lines = [b"%d\n" % number for number in range(events)]
    with body_of([line[:-1] for line in lines]) as body:
        for _ in range(2):
            body.seek(0)
            assert list(body) == lines
        body.seek(0)
        assert body.read(1 << 20) == b"".join(lines)
