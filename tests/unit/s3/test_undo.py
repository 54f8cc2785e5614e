"""A failed try takes back what it has written, and nothing else."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.errors import ExportUnderWayError
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.conditions import Conditions
from airflow_provider_curation.s3.keys import Keys, Seen, Small
from airflow_provider_curation.s3.undo import Written, take_back
from tests.support.s3_model import DirectClient, Store, Version

ALL = frozenset({"PutObject", "CompleteMultipartUpload", "DeleteObject"})
MINE, OTHERS = Version("v2", "e2", "mine", b"new"), Version("v9", "e9", "other", b"theirs")
OLD = Version("v1", "e1", "before", b"old")
MANIFEST, SIGNATURE = Version("v3", "e3", "", b"manifest"), Version("v4", "e4", "", b"signature")
NOTHING = Seen(None, Small())
WRITTEN = Written(completing=True, etag="e2", manifest=b"manifest", signature=b"signature")


class Undoing:
    """A try that is undone over a store of these objects, the later one of a key last."""

    def __init__(self, *objects: tuple[str, Version], versioned: bool = False) -> None:
        store = Store(ALL, versioned=versioned)
        for key, version in objects:
            store = store.put(key, version)
        self.client = DirectClient(store)
        self.keys = Keys(self.client, "archive", "k", "m", "mine")
        self.claim = Claim(self.client, "archive", "m.claims/", "mine", renew_every=10_000)
        self.claim._open()

    def run(self, before: Seen = NOTHING, written: Written = WRITTEN) -> dict[str, bytes | None]:
        take_back(self.keys, self.claim, Conditions("s3://archive/k"), written, before)
        store = self.client.store
        found = {key: store.current(key) for key, _ in store.objects}
        return {key: version.body for key, version in found.items() if version}


def test_what_it_has_written_goes() -> None:
    assert Undoing(("k", MINE), ("m.dsse", SIGNATURE)).run() == {}


def test_a_finished_export_stays() -> None:
    whole = {"k": b"new", "m": b"manifest", "m.dsse": b"signature"}
    assert Undoing(("k", MINE), ("m", MANIFEST), ("m.dsse", SIGNATURE)).run() == whole


def test_a_manifest_whose_object_is_not_its_own_goes() -> None:
    assert Undoing(("k", OTHERS), ("m", MANIFEST), ("m.dsse", SIGNATURE)).run() == {"k": b"theirs"}


def test_what_others_have_written_stays() -> None:
    theirs = {"k": b"theirs", "m": b"their manifest", "m.dsse": b"their signature"}
    undoing = Undoing(
        ("k", OTHERS),
        ("m", Version("v7", "e7", "", b"their manifest")),
        ("m.dsse", Version("v8", "e8", "", b"their signature")),
    )
    assert undoing.run() == theirs


def test_what_replaced_something_older_stays_without_versions() -> None:
    before = Seen({"ETag": '"e1"'}, Small(b"older", "e0"))
    older = Version("v0", "e0", "", b"older")
    undoing = Undoing(("m", older), ("k", MINE), ("m.dsse", SIGNATURE))
    assert undoing.run(before) == {"k": b"new", "m": b"older", "m.dsse": b"signature"}


def test_with_versions_what_was_there_before_comes_back() -> None:
    before = Seen({"ETag": '"e1"'}, Small(b"older", "e0"))
    older, signed = Version("v0", "e0", "", b"older"), Version("v5", "e5", "", b"older signature")
    undoing = Undoing(("k", OLD), ("m", older), ("m.dsse", signed), ("m.dsse", SIGNATURE), ("k", MINE), versioned=True)
    assert undoing.run(before) == {"k": b"old", "m": b"older", "m.dsse": b"older signature"}


@pytest.mark.parametrize("code", ["AccessDenied", "403"])
def test_a_version_that_may_not_be_deleted_is_hidden(code: str) -> None:
    undoing = Undoing(("k", MINE), versioned=True)
    undoing.client.fails = {"DeleteObject": [code]}
    assert undoing.run(written=Written(completing=True, etag="e2")) == {}
    assert [version.body for version in dict(undoing.client.store.objects)["k"]] == [b"new", None]


def test_an_object_that_was_replaced_between_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    undoing = Undoing(("k", MINE))
    held = undoing.claim.ensure_held

    def replace_it() -> None:
        held()
        undoing.client.store = undoing.client.store.put("k", OTHERS)

    monkeypatch.setattr(undoing.claim, "ensure_held", replace_it)
    assert undoing.run(written=Written(completing=True, etag="e2")) == {"k": b"theirs"}


def test_without_its_claim_it_deletes_nothing() -> None:
    undoing = Undoing(("k", MINE))
    undoing.claim.release()
    undoing.claim._renewed_at = -1e9
    with pytest.raises(ExportUnderWayError):
        undoing.run()
    assert undoing.client.store.current("k") == MINE
