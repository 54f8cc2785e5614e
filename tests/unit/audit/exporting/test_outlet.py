"""What a library writes to an outlet can be taken from it, and its position is known only where it must be."""

from __future__ import annotations

import io

import pytest

from airflow_provider_curation.audit.exporting.outlet import Outlet, TellingOutlet


@pytest.mark.parametrize("kind", [Outlet, TellingOutlet])
def test_what_was_written_is_taken_once(kind: type[Outlet]) -> None:
    outlet = kind()
    assert outlet.write(b"one ") == 4
    assert outlet.write(memoryview(b"two")) == 3
    assert outlet.taken() == b"one two"
    assert outlet.taken() == b""


def test_zipfile_must_not_find_a_position() -> None:
    with pytest.raises(io.UnsupportedOperation):
        Outlet().tell()


def test_the_position_counts_what_was_taken() -> None:
    outlet = TellingOutlet()
    outlet.write(b"12345")
    outlet.taken()
    outlet.write(b"678")
    assert outlet.tell() == 8
