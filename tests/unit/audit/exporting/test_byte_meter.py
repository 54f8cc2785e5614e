"""Byte meters count and hash what passes."""

from __future__ import annotations

import hashlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.exporting.byte_meter import ByteMeter

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(UNHURRIED)
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_byte_meters_count_and_hash_what_passes(chunks: list[bytes]) -> None:
    meter = ByteMeter()
    assert list(meter.through(iter(chunks))) == chunks
    assert meter.bytes == len(b"".join(chunks))
    assert meter.sha256 == hashlib.sha256(b"".join(chunks)).hexdigest()
