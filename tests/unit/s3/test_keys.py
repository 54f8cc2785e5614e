"""What is at the keys of an export."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.errors import ArchiveUnavailableError
from airflow_provider_curation.audit.evidence.manifest import MOST_MANIFEST_BYTES
from airflow_provider_curation.s3.keys import Keys, Seen, Small
from tests.support.s3_model import DirectClient, Store, Version

MINE, OTHERS = Version("v1", "e1", "mine", b"object"), Version("v2", "e2", "other", b"object")


def keys_of(**objects: Version) -> Keys:
    store = Store(frozenset(), versioned=True)
    for key, version in objects.items():
        store = store.put(key, version)
    return Keys(DirectClient(store), "archive", "k", "m", "mine")


def test_nothing_is_there() -> None:
    keys = keys_of()
    assert keys.look() == Seen(None, Small())
    assert keys.look().etags == (None, None)
    assert (keys.own_etag(), keys.is_own(None)) == (None, False)


def test_an_object_and_its_manifest() -> None:
    keys = keys_of(k=MINE, m=Version("v3", "e3", "", b"{}"))
    seen = keys.look()
    assert seen.etags == ("e1", "e3")
    assert seen.manifest == Small(b"{}", "e3", "v3")
    assert keys.signature_key == "m.dsse"


@pytest.mark.parametrize(("there", "etag"), [(MINE, "e1"), (OTHERS, None)])
def test_only_what_this_try_has_written_is_its_own(there: Version, etag: str | None) -> None:
    keys = keys_of(k=there)
    assert keys.own_etag() == etag
    assert keys.is_own(keys.head()) == (etag is not None)


def test_a_long_file_is_read_no_further_than_any_manifest() -> None:
    body = keys_of(m=Version("v3", "e3", "", b"x" * (MOST_MANIFEST_BYTES + 10))).small("m").body
    assert body is not None
    assert len(body) == MOST_MANIFEST_BYTES + 1


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
def test_a_failure_is_not_an_absence(operation: str) -> None:
    keys = keys_of(k=MINE)
    keys.client.fails = {operation: ["InternalError"] * 2}
    assert keys.look_or_none() is None
    with pytest.raises(ArchiveUnavailableError):
        keys.look()
