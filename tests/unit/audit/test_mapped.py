"""Memory that is mapped rather than allocated."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit import mapped
from airflow_provider_curation.audit.mapped import Mapping, collected


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_chunks_come_out_in_one_piece(chunks: list[bytes], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped, "_FIRST_BYTES", room)
        assert bytes(collected(chunks)) == b"".join(chunks)


def test_a_mapping_is_not_shared_with_a_forked_process() -> None:
    with Mapping(mmap.PAGESIZE) as mapping:
        if (child := os.fork()) == 0:
            mapping[:1] = b"x"
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert mapping[:1] == b"\0"


def test_too_little_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="could not be mapped"):
        Mapping(1 << 60)
