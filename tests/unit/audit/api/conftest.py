"""A server whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.audit_server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Server]:
    """A server on another port."""
    with serving() as other:
        yield other
