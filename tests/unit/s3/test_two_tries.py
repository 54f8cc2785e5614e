"""Every order of the S3 calls of two tries, and of a verification that seals, with a fault at any point.

At the end there is one finished object with its manifest, or none, and whoever reported success has its object. What is
explored is the package's own code over a model of S3; docs/guarantees.md has the protocol in words.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.s3 import open_uploads
from airflow_provider_curation.s3.archive import S3Archive
from airflow_provider_curation.s3.claim import Claim
from airflow_provider_curation.s3.commit import Commit
from airflow_provider_curation.s3.exported_object import S3Object
from airflow_provider_curation.s3.keys import Keys
from tests.support.s3_model import Client, End, Explorer, Store, Version, etag_of

BUCKET, KEY, MANIFEST, SEAL = "archive", "k", "_manifests/k.json", "_seals/s.json"
SIGNATURE = MANIFEST + SIGNATURE_SUFFIX
ALL = frozenset({"PutObject", "CompleteMultipartUpload", "DeleteObject"})

#: Stores by what they check: S3, Ceph's gateway 16.2, one without conditions that says so, and one with versions.
STORES = {
    "s3": Store(ALL),
    "versions": Store(ALL, versioned=True),
    "ceph": Store(frozenset({"PutObject"})),
    "without": Store(frozenset(), refuses=ALL),
}
OLD, NEW, LATE = b"old", b"new", b"new and late"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No renewals by time and no pauses, since time is the explorer's; and no log of a million runs."""
    monkeypatch.setattr(Claim, "_keep_renewing", lambda self: None)
    monkeypatch.setattr(open_uploads, "LOOK_AGAIN_SECONDS", 0.0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class _AtOnce(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        return False


def manifest_of(content: bytes, etag: str | None, replaces: str | None, **more: Any) -> bytes:
    facts = {
        "manifest_version": 1,
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-02T00:00:00Z",
        "stream": "events",
        "instance": "acme",
        "format": "jsonl",
        "key": KEY,
        "events": len(content),
        "events_read": len(content),
        "size": len(content),
        "sha256": sha256(content),
        "reconciled": True,
        "filters": {},
        "etag": etag,
        "replaces": replaces,
        **more,
    }
    return json.dumps(facts).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def signature_of(manifest: bytes) -> bytes:
    """What stands for a signature: of this very manifest, and no other one."""
    return f"signature of {sha256(manifest)}".encode()


def a_try(name: str, content: bytes, signed: bool = False) -> Callable[[Client], bytes]:
    """One try of an export, in the order of ``ExportJob``; it returns the content that it says is finished."""

    def run(client: Client) -> bytes:
        target = S3Object(BUCKET, KEY, MANIFEST, aws_conn_id=None)
        target._token = name
        vars(target)["_client"] = client
        vars(target)["_claim"] = Claim(client, BUCKET, MANIFEST + ".claims/", name, renew_every=-1, patience=0)
        # Without read_back(): it writes nothing, and begin() notices what has changed since.
        present = target.present()
        before = present.manifest
        if before is not None and present.intact and before.facts["sha256"] == sha256(content):
            target.end_leftovers(_AtOnce())
            return content
        try:
            target.begin(_AtOnce())
            target.upload(io.BytesIO(content))
            facts = target.stored()
            manifest = manifest_of(content, facts["etag"], present.manifest_sha256, made_by=name, signed=signed)
            target.put_manifest(manifest, signature_of(manifest) if signed else None)
        except BaseException:
            target.undo()
            raise
        target.finish()
        return content

    return run


def a_verification(client: Client) -> bytes | None:
    """Look at the object and its manifest, and seal the manifest if they agree."""
    archive = S3Archive(BUCKET, aws_conn_id=None)
    vars(archive)["_client"] = client
    listed = {entry.key: entry for entry in archive.entries("")}
    body = archive.read(MANIFEST)
    if body is None or KEY not in listed or json.loads(body)["etag"] != listed[KEY].etag:
        return None
    return body if archive.put_new(SEAL, body) else None


def with_object(store: Store, content: bytes, manifest_for: bytes | None) -> Store:
    store = store.put(KEY, Version("before", etag_of(content, parts=True), "nobody", content))
    if manifest_for is None:
        return store
    manifest = manifest_of(manifest_for, etag_of(manifest_for, parts=True), None, signed=True)
    signature = signature_of(manifest)
    store = store.put(SIGNATURE, Version("before", etag_of(signature), "", signature))
    return store.put(MANIFEST, Version("before", etag_of(manifest), "", manifest))


#: What is at the key before: nothing, what a killed try left, a finished export, and one to mend.
BEFORE: dict[str, Callable[[Store], Store]] = {
    "nothing": lambda store: store,
    "unfinished": lambda store: with_object(store, NEW, None),
    "finished": lambda store: with_object(store, OLD, OLD),
    "damaged": lambda store: with_object(store, b"damaged", OLD),
}


@dataclass
class Promise:
    """What holds at every end."""

    before: str

    def check(self, store: Store, ends: tuple[End, ...], faults: int, expiries: int) -> None:
        found, manifest = store.current(KEY), store.current(MANIFEST)
        facts = json.loads(manifest.body or b"") if manifest else None
        finished = found is not None and facts is not None and facts["etag"] == found.etag
        reported = [end.what for end in ends if end.how == "success" and isinstance(end.what, bytes)]
        tries = [what for what in reported if not what.startswith(b"{")]
        disturbed = bool(faults or expiries)
        if tries:
            assert finished or (disturbed and self._replacing(tries, found, facts)), f"not finished: {found} {facts}"
        if finished:
            assert found is not None
            assert facts["sha256"] == sha256(found.body or b""), "the manifest does not fit"
            assert manifest is not None
            signature = store.current(SIGNATURE)
            body = None if signature is None else signature.body
            assert body == (signature_of(manifest.body or b"") if facts["signed"] else None), "not the signature"
        elif found is None:
            assert manifest is None, "a manifest without an object"
            assert disturbed or store.current(SIGNATURE) is None, "a signature without a manifest"
        elif manifest is None:
            assert disturbed or self.before == "unfinished", "an object without a manifest, and nothing went wrong"
        else:
            assert disturbed or self.before == "damaged", "a manifest of another object, and nothing went wrong"
        for sealed in (what for what in reported if what.startswith(b"{")):
            assert manifest is not None, "what was sealed is gone"
            # Through two replacements, the last manifest names the one between.
            assert manifest.body == sealed or facts["replaces"], "what was sealed was replaced, and nothing says so"
        if not disturbed:
            assert store.uploads == (), "an upload is left open"
        if all(end.how == "success" for end in ends) and not expiries:
            assert not store.uploads, f"an upload is left open: {store.uploads}"

    def _replacing(self, tries: list[bytes], found: Version | None, facts: Any) -> bool:
        """A try died between replacing a finished object and writing its manifest: the next try writes both."""
        return found is not None and facts is not None and found.body in (OLD, NEW, LATE) and found.body not in tries


PAIRS = {"same bytes": (NEW, NEW), "a late event": (NEW, LATE)}
#: The store, what is at the key before, and what the two tries export.
USUAL = [
    ("s3", "nothing", "a late event"),
    ("s3", "finished", "a late event"),
    ("without", "nothing", "a late event"),
    ("versions", "nothing", "same bytes"),
    ("ceph", "nothing", "same bytes"),
]
SLOW = [
    pytest.param(store, before, pair, marks=pytest.mark.slow)
    for store in STORES
    for before in BEFORE
    for pair in PAIRS
    if (store, before, pair) not in USUAL
]


def explore(
    store: str,
    before: str,
    *actors: Callable[[Client], Any],
    faults: int = 0,
    expiries: int = 0,
) -> Explorer:
    explorer = Explorer(actors, Promise(before).check, faults, expiries)
    explorer.explore(BEFORE[before](STORES[store]))
    return explorer


def two_tries(
    pair: str, signed: tuple[bool, bool] = (False, False)
) -> tuple[Callable[[Client], bytes], Callable[[Client], bytes]]:
    first, second = PAIRS[pair]
    return a_try("one", first, signed[0]), a_try("two", second, signed[1])


@pytest.mark.parametrize(("store", "before", "pair"), [*USUAL, *SLOW])
def test_a_crash_or_a_lost_answer_at_any_point(store: str, before: str, pair: str) -> None:
    explorer = explore(store, before, *two_tries(pair), faults=1)
    assert len(explorer.visited) > 10_000
    assert explorer.ended > 50


@pytest.mark.parametrize("store", ["s3", "versions", pytest.param("ceph", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("before", "pair"), [("nothing", "same bytes"), ("finished", "a late event")])
def test_a_try_that_is_too_slow_to_keep_its_claim(store: str, before: str, pair: str) -> None:
    """As a worker that stands still for more than a minute, at any point, and then goes on."""
    assert explore(store, before, *two_tries(pair), expiries=1).ended > 20


@pytest.mark.parametrize(
    "store", ["s3", *(pytest.param(each, marks=pytest.mark.slow) for each in ("without", "versions"))]
)
@pytest.mark.parametrize("before", [pytest.param("nothing", marks=pytest.mark.slow), "finished"])
def test_a_crash_or_a_lost_answer_of_tries_that_sign(store: str, before: str) -> None:
    """A finished export has the signature of its very manifest."""
    explorer = explore(store, before, *two_tries("a late event", (True, True)), faults=1)
    assert explorer.ended > 50


@pytest.mark.parametrize(
    "signed", [(True, False), pytest.param((False, True), marks=pytest.mark.slow)], ids=["then unsigned", "then signed"]
)
def test_a_crash_or_a_lost_answer_of_a_try_that_signs_beside_one_that_does_not(signed: tuple[bool, bool]) -> None:
    """No export is left beside the signature of another one."""
    assert explore("s3", "finished", *two_tries("a late event", signed), faults=1).ended > 50


@pytest.mark.slow
@pytest.mark.parametrize("store", ["s3", "versions"])
@pytest.mark.parametrize("signed", [(True, False), (False, True)], ids=["then unsigned", "then signed"])
def test_a_slow_try_that_signs_beside_one_that_does_not(store: str, signed: tuple[bool, bool]) -> None:
    assert explore(store, "finished", *two_tries("a late event", signed), expiries=1).ended > 20


@pytest.mark.parametrize("store", ["s3", "versions", "without"])
@pytest.mark.parametrize("before", ["nothing", "finished"])
@pytest.mark.parametrize("content", [NEW, LATE], ids=["the same bytes", "a late event"])
def test_the_next_success_ends_what_a_failed_or_killed_try_left_open(store: str, before: str, content: bytes) -> None:
    """Also if it has nothing to write, since the dead try had finished its export."""
    left: set[Store] = set()
    explorer = Explorer((a_try("one", NEW),), lambda after, *_: left.add(after), faults=1)
    explorer.explore(BEFORE[before](STORES[store]))
    assert any(each.uploads for each in left)

    def check(after: Store, ends: tuple[End, ...], faults: int, expiries: int) -> None:
        assert ends[1] == End("success", content)
        assert after.uploads == ()

    for each in left:
        Explorer((lambda client: None, a_try("two", content)), check, faults=0).explore(each)


@pytest.mark.parametrize("store", ["s3", "versions", "ceph"])
def test_a_try_that_signs_and_is_too_slow_to_keep_its_claim(store: str) -> None:
    explorer = explore(store, "finished", *two_tries("a late event", (True, True)), expiries=1)
    assert explorer.ended > 20


@pytest.mark.parametrize("store", ["s3", "without"])
@pytest.mark.parametrize("before", BEFORE)
def test_a_try_beside_a_verification_that_seals(store: str, before: str) -> None:
    explore(store, before, a_try("one", NEW), a_verification, faults=1)


@pytest.mark.parametrize("before", ["finished", "damaged"])
def test_two_tries_beside_a_verification_that_seals(before: str) -> None:
    explore("s3", before, *two_tries("a late event"), a_verification)


# The gaps that are left, which docs/guarantees.md names: each needs a try that stood still for more than a minute.


def test_the_gap_of_a_store_without_conditions() -> None:
    """Its last request replaces what the next try finished meanwhile; that try fails, and verification finds it."""
    with pytest.raises(AssertionError, match="not finished"):
        explore("without", "nothing", *two_tries("a late event"), expiries=1)


def test_the_gap_of_a_store_without_versions() -> None:
    """It fails too, and its delete meets the very same bytes of the next try, which have the same ETag."""
    with pytest.raises(AssertionError, match=r"not finished(.|\n)*'DeleteObject', 'k', \('answered'"):
        explore("s3", "nothing", *two_tries("same bytes"), faults=1, expiries=1)


# The explorer finds what is broken


def test_deleting_what_another_try_has_completed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keys, "is_own", lambda self, head: head is not None)
    monkeypatch.setattr(Claim, "_live", lambda self, claims, finished=None: {})
    monkeypatch.setattr(Claim, "abort_uploads", lambda self, key: None)
    with pytest.raises(AssertionError, match="not finished"):
        explore("without", "nothing", *two_tries("a late event"), faults=1)


def test_tries_that_do_not_claim_the_key_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claim, "_live", lambda self, claims, finished=None: {})
    with pytest.raises(AssertionError):
        explore("without", "nothing", *two_tries("a late event"))


def test_an_upload_that_nobody_knows_and_nobody_aborts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claim, "abort_uploads", lambda self, key: None)
    with pytest.raises(AssertionError, match="left open"):
        explore("s3", "nothing", a_try("one", NEW), faults=1)


def test_a_signature_that_is_written_whatever_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that stood still replaces the signature of the next one, which is finished."""
    put = Commit._put

    def unconditional(self: Commit, key: str, body: bytes, replaced: str | None) -> None:
        if key == SIGNATURE:
            self._keys.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        else:
            put(self, key, body, replaced)

    monkeypatch.setattr(Commit, "_put", unconditional)
    with pytest.raises(AssertionError, match="not the signature"):
        explore("s3", "finished", *two_tries("a late event", (True, True)), expiries=1)
