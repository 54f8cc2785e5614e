"""Chains of seals: what a signature, a time stamp, a later seal and a noted hash prove, and two sealings at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_curation.audit.errors import ObjectExistsError, TimestampError
from airflow_provider_curation.audit.evidence.chain import Link, Trust, read_chain
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.seal import Seal, Stamp, new_seal, write_seal
from airflow_provider_curation.audit.evidence.timestamp import StampAuthorities, StampError
from airflow_provider_curation.audit.window import Window
from tests.support.archives import MemoryArchive
from tests.support.keys import ED25519, OTHER

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=timezone.utc)
LAYOUT = Layout("curation")


@dataclass(frozen=True)
class Authorities(StampAuthorities):
    """Stamps that say their own time, and verify unless they say ``bad``."""

    roots: tuple[()] = ()

    def stamped_at(self, stamp: bytes, stamped: bytes) -> datetime:
        time, _, of = stamp.partition(b" ")
        if of != stamped:
            raise StampError("it does not verify")
        return datetime.fromisoformat(time.decode())


def stamp_at(moment: datetime) -> Stamp:
    return lambda stamped: moment.isoformat().encode() + b" " + stamped


def seal(
    archive: MemoryArchive, day: int, before: Seal | None, signer: Signer | None = ED25519, stamp: Stamp | None = None
) -> Seal:
    """Seal a day as soon as it has ended."""
    period, now = Window(START + day * DAY, START + (day + 1) * DAY), START + (day + 1) * DAY
    return write_seal(archive, LAYOUT, period, new_seal(LAYOUT, period, [], before, now), now, signer, stamp)


def links(archive: MemoryArchive, trust: Trust) -> list[Link]:
    return list(read_chain(archive, LAYOUT, trust))


def ring(revoked_from: datetime | None = None) -> KeyRing:
    own = TrustedKey(ED25519.public_key, "audit.pub", revoked_from=revoked_from)
    return KeyRing((own, TrustedKey(OTHER.public_key, "new.pub")))


#: Both seals were made before it.
REVOKED = ring(START + 10 * DAY)


def test_a_signed_chain_counts() -> None:
    archive = MemoryArchive()
    seal(archive, 1, seal(archive, 0, None))
    found = links(archive, Trust(ring()))
    assert [(link.counts, link.signed, link.findings) for link in found] == [(True, True, [])] * 2
    assert [link.proven_at for link in found] == [START + DAY, START + 2 * DAY]
    # Without a key ring nothing is proven.
    assert [(link.counts, link.signed, link.proven_at) for link in links(archive, Trust())] == [(False, True, None)] * 2


def test_an_unsigned_seal_does_not_count_where_there_is_a_key_ring() -> None:
    archive = MemoryArchive()
    seal(archive, 0, None, signer=None)
    [link] = links(archive, Trust(ring()))
    assert (link.seal, [each.detail for each in link.findings]) == (None, ["is not signed"])
    [link] = links(archive, Trust())
    assert (link.seal is not None, link.findings) == (True, [])


def test_a_revoked_key_is_believed_only_with_proof() -> None:
    archive = MemoryArchive()
    last = seal(archive, 1, seal(archive, 0, None))
    assert [link.counts for link in links(archive, Trust(REVOKED))] == [False, False]
    # A hash that was noted proves that seal and those before it.
    known = Trust(REVOKED, known_seals=frozenset({last.sha256}))
    assert [link.counts for link in links(archive, known)] == [True, True]
    # So does a later seal by a key that was not revoked.
    later = seal(archive, 2, last, OTHER)
    assert [link.counts for link in links(archive, Trust(REVOKED))] == [True, True, True]
    # One that was made after the revocation proves only that they are older than itself.
    assert [link.counts for link in links(archive, Trust(ring(START + DAY)))] == [False, False, True]
    # One that does not chain to them proves nothing.
    archive.objects[later.key] = archive.objects[later.key].replace(last.sha256.encode(), b"0" * 64)
    assert [link.counts for link in links(archive, Trust(REVOKED))] == [False, False, False]


def test_a_time_stamp_proves_the_age_of_a_signature() -> None:
    archive = MemoryArchive()
    made = seal(archive, 0, None, stamp=stamp_at(START + 5 * DAY))
    key = f"{made.key}.dsse.tsr"
    assert key in archive.objects
    [link] = links(archive, Trust(REVOKED, Authorities()))
    assert (link.counts, link.proven_at) == (True, START + 5 * DAY)
    # It is not believed without its authority, after the revocation, or if it is on something else.
    assert [link.counts for link in links(archive, Trust(REVOKED))] == [False]
    assert [link.counts for link in links(archive, Trust(ring(START + 5 * DAY), Authorities()))] == [False]
    archive.objects[key] += b"."
    [link] = links(archive, Trust(ring(), Authorities()))
    assert [each.detail for each in link.findings] == ["has a time stamp that proves nothing: it does not verify"]


def test_nothing_is_written_without_the_stamp() -> None:
    def refuse(stamped: bytes) -> bytes:
        raise TimestampError("no stamp")

    archive = MemoryArchive()
    with pytest.raises(TimestampError):
        seal(archive, 0, None, stamp=refuse)
    assert archive.objects == {}
    made = seal(archive, 0, None, signer=None, stamp=stamp_at(START))
    assert set(archive.objects) == {made.key, f"{made.key}.tsr"}


def test_of_two_sealings_one_goes_on() -> None:
    archive = MemoryArchive()
    made = seal(archive, 0, None)
    kept = dict(archive.objects)
    with pytest.raises(ObjectExistsError, match="Another verification is sealing"):
        seal(archive, 0, None, OTHER)
    assert archive.objects == kept
    # Another one has written its signature just now, and its seal is to follow.
    del archive.objects[made.key]
    with pytest.raises(ObjectExistsError, match="Verify again in 15 minutes"):
        seal(archive, 0, None, OTHER)
    assert list(archive.objects) == [f"{made.key}.dsse"]


@pytest.mark.parametrize("left", [None, b"not a signature"])
def test_what_an_interrupted_sealing_left_is_replaced(left: bytes | None) -> None:
    archive = MemoryArchive()
    made = seal(archive, 0, None)
    del archive.objects[made.key]
    if left is not None:
        archive.objects[f"{made.key}.dsse"] = left
    later = START + DAY + timedelta(minutes=16)
    period = Window(START, START + DAY)
    write_seal(archive, LAYOUT, period, new_seal(LAYOUT, period, [], None, later), later, OTHER)
    assert [(link.counts, link.findings) for link in links(archive, Trust(ring()))] == [(True, [])]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b"\xff", b'{"seal_version":1}', b'{"seal_version":1,"seal_version":1}', b"[" * 100_000],
)
def test_a_seal_that_cannot_be_read_is_a_finding(body: bytes) -> None:
    archive = MemoryArchive()
    made = seal(archive, 0, None)
    archive.objects[made.key] = body
    [link] = links(archive, Trust(ring()))
    assert (link.seal, link.signed, "it cannot be read" in link.findings[0].detail) == (None, True, True)


@pytest.mark.parametrize("name", ["start", "end", "manifests", "previous"])
def test_a_seal_with_a_field_of_another_kind_is_a_finding(name: str) -> None:
    archive = MemoryArchive()
    made = seal(archive, 0, None)
    for wrong in (7, [7], {"key": 7}, "x"):
        archive.objects[made.key] = json.dumps({**made.facts, name: wrong}).encode()
        [link] = links(archive, Trust())
        assert link.seal is None, wrong
