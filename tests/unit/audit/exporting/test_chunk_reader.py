"""The file that an upload reads: in order, no more than asked for, and never a clean end after an error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.exporting.chunk_reader import ChunkReader

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Lost(Exception):
    pass


@settings(UNHURRIED)
@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 60), max_size=10))
def test_read_gives_what_was_asked_for_until_the_end(chunks: list[bytes], sizes: list[int]) -> None:
    content = b"".join(chunks)
    reader = ChunkReader(iter(chunks))
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        assert reader.read(size) == content[end - size : end]
    assert reader.read() == content[sum(sizes) :]
    assert reader.read() == reader.read(1) == b""


@settings(UNHURRIED)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), st.integers(1, 50))
def test_no_more_chunks_are_taken_than_are_asked_for(chunks: list[bytes], size: int) -> None:
    taken: list[bytes] = []

    def counted() -> Iterator[bytes]:
        for chunk in chunks:
            taken.append(chunk)
            yield chunk

    ChunkReader(counted()).read(size)
    assert len(b"".join(taken[:-1])) < size


def test_is_a_file_that_can_only_be_read() -> None:
    reader = ChunkReader(iter([b"a"]))
    assert reader.readable()
    assert not reader.seekable()
    assert not reader.writable()
    with pytest.raises(OSError, match="seek"):
        reader.seek(0)
    with pytest.raises(OSError, match=r"seek|tell"):
        reader.tell()


@pytest.mark.parametrize("error", [Lost(), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("size", [1, 10, -1])
def test_an_error_is_never_followed_by_a_clean_end(size: int, error: BaseException) -> None:
    """A caller that reads again must not take what it has for the whole."""

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise error

    reader = ChunkReader(broken())
    if size == 1:
        assert reader.read(1) == b"a"
    for _ in range(3):
        with pytest.raises(type(error)):
            reader.read(size)
