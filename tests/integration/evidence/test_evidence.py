"""Evidence against an S3 API and a simulated server: locks, signatures, pseudonyms, and nothing ever worse."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_curation.audit import errors
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.evidence.key_ring import KeyRing
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.manifest import manifest_subjects
from airflow_provider_curation.audit.evidence.signature import check_signature
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.pseudonyms import Pseudonymizer
from airflow_provider_curation.audit.reading import counts
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.compat import AirflowSkipException
from airflow_provider_curation.evidence import verify_archive
from airflow_provider_curation.evidence.__main__ import main
from airflow_provider_curation.operators.curation_audit_verify import CurationAuditVerifyOperator
from airflow_provider_curation.s3 import exported_object
from airflow_provider_curation.s3.commit import Commit
from airflow_provider_curation.s3.exported_object import S3Object
from airflow_provider_curation.s3.location import DEFAULT_KEY
from airflow_provider_curation.s3.upload import PART_BYTES
from airflow_provider_curation.simulator import Fault, Simulator
from tests.support.exports import AWS, END, REAL_STORE, START, Bucket, csv_rows, export, operator, s3_client, simulated
from tests.support.formulas import FORMULA_STARTS
from tests.support.keys import ED25519, OTHER, PSEUDONYM_SECRET, pem, write_public

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")]

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
#: Stand for secrets; no log, manifest, result, field or error may show them.
SIGNING, PSEUDONYM = pem("signing"), PSEUDONYM_SECRET.decode()
#: What of a key in PEM a log could show.
SIGNING_LINE = SIGNING.split("\n")[1]
_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A server that nobody changes."""
    with simulated() as simulator:
        yield simulator


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in {"signing": SIGNING, "other": pem("other"), "pseudonym": PSEUDONYM}.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": "generic", "password": key}))
    monkeypatch.setenv("AIRFLOW_CONN_SHORT", json.dumps({"conn_type": "generic", "password": "short-5ecret"}))
    ring = {"keys": [{"public_key": key.public_key.pem} for key in (OTHER, ED25519)]}
    monkeypatch.setenv("AIRFLOW_CONN_RING", json.dumps({"conn_type": "generic", "extra": {"key_ring": ring}}))
    monkeypatch.setenv("AIRFLOW_CONN_NOTHING", json.dumps({"conn_type": "generic"}))


@pytest.fixture
def locked(s3_url: str) -> Bucket:
    """A bucket with Object Lock, and so with versions."""
    client, name = s3_client(s3_url), f"audit-locked-{secrets.token_hex(3)}-{next(_numbers)}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return Bucket(client, name)


@pytest.fixture
def log_text(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Everything that was logged so far, by either of Airflow's ways."""
    caplog.set_level("DEBUG")
    seen: list[str] = []

    def text() -> str:
        seen.extend(capfd.readouterr())
        return caplog.text + "".join(seen)

    return text


def verifier(bucket: Bucket, **arguments: Any) -> CurationAuditVerifyOperator:
    chosen: dict[str, Any] = {
        "s3_bucket": bucket.name,
        "s3_prefix": "",
        "start": START,
        "end": END,
        "recount": False,
        **arguments,
    }
    # Few tests seal what they sign.
    chosen["ignore"] = [*chosen.get("ignore", ()), "no_seals"]
    return CurationAuditVerifyOperator(task_id="verify", **chosen)


def everything(bucket: Bucket) -> list[tuple[Any, ...]]:
    """All that S3 knows of a bucket's objects, versions and delete markers included."""
    found = bucket.client.list_object_versions(Bucket=bucket.name)
    names = ("Key", "VersionId", "ETag", "Size", "LastModified")
    return [
        tuple(each.get(name) for name in names)
        for kind in ("Versions", "DeleteMarkers")
        for each in found.get(kind, ())
    ]


# Write once

UNTIL = datetime(2099, 1, 1, tzinfo=timezone.utc)


def locks(bucket: Bucket, key: str) -> tuple[Any, ...]:
    head = bucket.head(key)
    until = head.get("ObjectLockRetainUntilDate")
    return head.get("ObjectLockMode"), until and until.astimezone(timezone.utc), head.get("ObjectLockLegalHoldStatus")


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
@pytest.mark.parametrize("until", [UNTIL, UNTIL - END, "2099-01-01T02:00:00+02:00"], ids=["moment", "delta", "text"])
def test_object_and_manifest_are_retained(mode: str, until: Any, server: Simulator, locked: Bucket) -> None:
    result = export(locked, object_lock_mode=mode, object_lock_retain_until=until)
    for key in (result["key"], result["manifest_key"]):
        assert locks(locked, key)[:2] == (mode, UNTIL)
        version = locked.head(key)["VersionId"]
        with pytest.raises(locked.client.exceptions.ClientError, match=r"AccessDenied|Access Denied"):
            locked.client.delete_object(Bucket=locked.name, Key=key, VersionId=version)
    manifest = locked.manifest(result["key"])
    assert manifest["object_lock"] == {"mode": mode, "retain_until": "2099-01-01T00:00:00Z"}
    assert manifest["version_id"] == locked.head(result["key"])["VersionId"]


def test_a_legal_hold(server: Simulator, locked: Bucket) -> None:
    result = export(locked, object_lock_legal_hold=True)
    for key in (result["key"], result["manifest_key"]):
        assert locks(locked, key) == (None, None, "ON")
    assert locked.manifest(result["key"])["object_lock"] == {"legal_hold": True}


def test_a_large_object_is_retained_too(locked: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # This S3 API drops the lock of a multipart upload, so that it has to be seen and set.
    lock = {"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": UNTIL, "object_lock_legal_hold": True}
    with simulated(events=12_000, page_size=2000):
        result = export(locked, compression="none", **lock)
        assert result["bytes"] > PART_BYTES
        assert "-" in locked.manifest(result["key"])["etag"]
        assert locks(locked, result["key"]) == ("GOVERNANCE", UNTIL, "ON")

        def refuse(*args: Any) -> None:
            raise errors.ObjectLockError("refused")

        monkeypatch.setattr(exported_object, "ensure_locked", refuse)
        with pytest.raises(errors.ObjectLockError):
            export(locked, compression="none", s3_key="another", **lock)
        assert locked.objects() == [result["manifest_key"], result["key"]]


@pytest.mark.parametrize(
    "arguments",
    [{"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": UNTIL}, {"object_lock_legal_hold": True}],
    ids=["retention", "hold"],
)
def test_a_bucket_without_object_lock_is_an_error_before_anything(
    arguments: dict[str, Any], server: Simulator, bucket: Bucket
) -> None:
    before = len(server.requests)
    with pytest.raises(errors.ObjectLockError, match=f"{bucket.name}.*has no Object Lock"):
        export(bucket, **arguments)
    assert len(server.requests) == before
    bucket.assert_untouched()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"object_lock_mode": "GOVERNANCE"}, "needs object_lock_retain_until"),
        ({"object_lock_retain_until": UNTIL}, "object_lock_mode=None"),
        ({"object_lock_mode": "governance", "object_lock_retain_until": UNTIL}, "is not one of GOVERNANCE, COMPLIANCE"),
        ({"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": HOUR}, "which is in the past"),
        ({"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": "2099-01-01"}, "no time zone"),
    ],
)
def test_half_a_lock_is_named(arguments: dict[str, Any], named: str, server: Simulator, locked: Bucket) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=named):
        export(locked, **arguments)
    assert everything(locked) == []


def test_a_failed_export_leaves_a_delete_marker_and_the_next_try_is_whole(
    server: Simulator, locked: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = {"object_lock_mode": "COMPLIANCE", "object_lock_retain_until": UNTIL}

    def refuse(self: S3Object, manifest: bytes, signature: bytes | None = None) -> None:
        raise OSError("the manifest was not written")

    with monkeypatch.context() as patch:
        patch.setattr(S3Object, "put_manifest", refuse)
        with pytest.raises(OSError, match="was not written"):
            export(locked, **lock)
    # What is locked cannot be taken back: it is hidden, and no manifest vouches for it.
    assert locked.objects() == []
    assert [kind for kind in ("Versions", "DeleteMarkers") if len(versions(locked, kind)) == 1] == [
        "Versions",
        "DeleteMarkers",
    ]
    result = export(locked, **lock)
    assert result["uploaded"] is True
    assert locked.objects() == [result["manifest_key"], result["key"]]
    assert verifier(locked, read="all").execute({})["counts"] == {}


def versions(bucket: Bucket, kind: str) -> list[Any]:
    return list(bucket.client.list_object_versions(Bucket=bucket.name).get(kind, ()))


def test_a_re_run_adds_no_version_and_a_rewrite_adds_one(locked: Bucket) -> None:
    lock = {"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": UNTIL}
    with simulated() as simulator:
        first = export(locked, **lock)
        before = everything(locked)
        assert export(locked, **lock)["uploaded"] is False
        assert everything(locked) == before
        # Another lock is wanted than the object has: it is written again, under it.
        assert export(locked, **lock, object_lock_legal_hold=True)["uploaded"] is True
        assert locks(locked, first["key"]) == ("GOVERNANCE", UNTIL, "ON")
        simulator.insert(START + HOUR)
        export(locked, **lock)
    assert len(versions(locked, "Versions")) == 6
    assert locked.manifest(first["key"])["events"] == 401


def test_seals_are_retained(server: Simulator, locked: Bucket, bucket: Bucket) -> None:
    lock = {"object_lock_mode": "GOVERNANCE", "object_lock_retain_until": UNTIL - END, "object_lock_legal_hold": True}
    export(locked)
    seal = verifier(locked, seal=True, **lock).execute({})["seal"]
    assert locks(locked, seal) == ("GOVERNANCE", UNTIL, "ON")
    export(bucket)
    with pytest.raises(errors.ObjectLockError):
        verifier(bucket, seal=True, **lock).execute({})
    assert not [key for key in bucket.objects() if "_seals" in key]


@pytest.mark.skipif(bool(REAL_STORE), reason="needs a store with TLS")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"encrypt": True}, {"algorithm": "AES256"}),
        (
            {"s3_extra_args": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/audit"}},
            {"algorithm": "aws:kms", "kms_key_id": "alias/audit"},
        ),
    ],
    ids=["s3", "kms"],
)
def test_the_manifest_says_how_s3_encrypted(
    arguments: dict[str, Any], said: dict[str, str], server: Simulator, bucket: Bucket
) -> None:
    assert bucket.manifest(export(bucket, **arguments)["key"])["encryption"] == said


# Never worse


@pytest.fixture
def old(bucket: Bucket) -> Iterator[Simulator]:
    """A server that remembers 30 days, and an export of a day that was made before it forgot that."""
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    with simulated(start=now - 42 * DAY, end=now) as simulator:
        day = {"start": now - 41 * DAY, "end": now - 40 * DAY, "s3_prefix": "curation", "s3_key": DEFAULT_KEY}
        assert export(bucket, **day)["events"] > 0
        simulator.hide(now - 42 * DAY, now - 30 * DAY)
        vars(simulator)["day"] = {**day, "retention": RETENTION}
        yield simulator


def test_clearing_an_old_run_changes_nothing(old: Any, bucket: Bucket, log_text: Callable[[], str]) -> None:
    before = everything(bucket)
    with pytest.raises(errors.ExpiredWindowError, match="first second that the server"):
        export(bucket, **old.day)
    with pytest.raises(AirflowSkipException, match="on_expired='skip'"):
        export(bucket, **old.day, on_expired="skip")
    with pytest.raises(errors.ShrinkError, match="would be replaced by 0"):
        export(bucket, **old.day, on_expired="warn")
    assert "on_expired='warn'" in log_text()
    assert everything(bucket) == before
    assert bucket.uploads() == []


@pytest.mark.parametrize("lost", ["object", "manifest"])
def test_half_of_an_old_export_is_not_replaced_by_nothing(lost: str, old: Any, bucket: Bucket) -> None:
    [manifest_key, key] = bucket.objects()
    bucket.client.delete_object(Bucket=bucket.name, Key=key if lost == "object" else manifest_key)
    before = everything(bucket)
    with pytest.raises(errors.ShrinkError):
        export(bucket, **old.day, on_expired="warn")
    assert everything(bucket) == before


@pytest.mark.parametrize("on_expired", ["fail", "skip", "warn"])
def test_a_window_that_is_partly_past(on_expired: Any, bucket: Bucket, log_text: Callable[[], str]) -> None:
    now = datetime.now(timezone.utc)
    window = {"start": now - 30 * DAY - HOUR, "end": now - 29 * DAY, "retention": RETENTION, "on_expired": on_expired}
    with simulated(start=now - 31 * DAY, end=now, retention=RETENTION):
        if on_expired == "warn":
            assert export(bucket, **window)["events"] > 0
            said = log_text()
        else:
            kind = errors.ExpiredWindowError if on_expired == "fail" else AirflowSkipException
            with pytest.raises(kind) as caught:
                export(bucket, **window)
            said = str(caught.value)
            bucket.assert_untouched()
    firsts = [(now - 30 * DAY + timedelta(seconds=late)).replace(microsecond=0) for late in range(1, 60)]
    assert [first for first in firsts if f"begins before {first:%Y-%m-%dT%H:%M:%SZ}, the first second" in said]


@pytest.mark.parametrize("on_expired", ["fail", "skip"])
def test_a_window_that_expires_while_it_is_read(
    on_expired: Any, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events that the first try counted are forgotten before the second one counts anew, and agrees with itself."""
    now = datetime.now(timezone.utc)
    late = timedelta(0)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + late

    monkeypatch.setattr(counts, "datetime", Clock)
    window = {"start": now - 30 * DAY + timedelta(seconds=60), "end": now - 29 * DAY, "on_expired": on_expired}
    settings: dict[str, Any] = {"start": now - 31 * DAY, "end": now - 28 * DAY, "events": 3000, "retention": RETENTION}
    with simulated(now=lambda: Clock.now(timezone.utc), **settings) as simulator:
        handle, numbers = simulator.app.handle, count(1)

        def age(request: Any) -> Any:
            nonlocal late
            # After the count, and before the pages.
            if next(numbers) == 2:
                late = HOUR
            return handle(request)

        monkeypatch.setattr(simulator.app, "handle", age)
        kind = errors.ExpiredWindowError if on_expired == "fail" else AirflowSkipException
        with pytest.raises(kind, match="first second that the server"):
            export(bucket, retention=RETENTION, **window)
    bucket.assert_untouched()


def test_a_re_run_with_the_same_bytes_uploads_nothing_and_says_so(
    server: Simulator, bucket: Bucket, log_text: Callable[[], str]
) -> None:
    first = export(bucket)
    before = everything(bucket)
    assert export(bucket) == {**first, "uploaded": False}
    assert "already holds these 400 events, byte for byte: nothing is uploaded" in log_text()
    assert everything(bucket) == before


def test_a_rewrite_names_the_manifest_that_it_replaced(bucket: Bucket) -> None:
    with simulated() as simulator:
        result = export(bucket)
        first = bucket.body(result["manifest_key"])
        simulator.insert(START + HOUR)
        export(bucket)
    assert bucket.manifest(result["key"])["replaces"] == hashlib.sha256(first).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"actions": ["blocked"]}, "filters"),
        ({"pseudonymize": ("username",), "pseudonym_conn_id": "pseudonym"}, "username pseudonymized"),
        ({"file_format": "csv", "csv_safe": True}, "csv_safe"),
    ],
)
def test_the_same_window_treated_otherwise_is_refused(
    arguments: dict[str, Any], named: str, server: Simulator, bucket: Bucket, keys: None
) -> None:
    export(bucket, file_format=arguments.get("file_format", "jsonl"))
    before = everything(bucket)
    with pytest.raises(errors.ShrinkError, match=named):
        export(bucket, **arguments)
    assert everything(bucket) == before
    assert export(bucket, **arguments, allow_shrink=True)["uploaded"] is True


# Signatures and seals


def tamper(bucket: Bucket, key: str, **facts: Any) -> None:
    body = json.dumps({**json.loads(bucket.body(key)), **facts}, indent=2, sort_keys=True)
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body.encode())


def test_a_bad_signature_is_found(server: Simulator, bucket: Bucket, keys: None, log_text: Callable[[], str]) -> None:
    result = export(bucket, signing_conn_id="signing")
    body = bucket.body(result["manifest_key"])
    subjects = manifest_subjects(result["key"], result["sha256"], hashlib.sha256(body).hexdigest())
    ring = KeyRing.of_pem(ED25519.public_key.pem, "audit.pub")
    assert check_signature(bucket.body(result["manifest_key"] + ".dsse"), ring, Purpose.MANIFEST, subjects).counts
    # Re-runs are compared with what was signed.
    assert export(bucket, signing_conn_id="signing")["uploaded"] is False
    assert verifier(bucket, signing_conn_id="signing").execute({})["counts"] == {}
    assert verifier(bucket, key_ring_conn_id="ring").execute({})["counts"] == {}
    assert verifier(bucket, key_ring_conn_id="ring", signing_conn_id="other").execute({})["counts"] == {}
    with pytest.raises(errors.FindingsError, match=r"bad_signature.*a key that is not trusted"):
        verifier(bucket, signing_conn_id="other").execute({})

    tamper(bucket, result["manifest_key"], actions={})
    with pytest.raises(errors.FindingsError, match=r"bad_signature.*other bytes"):
        verifier(bucket, signing_conn_id="signing").execute({})
    # The export sees it too, and writes both again.
    assert export(bucket, signing_conn_id="signing")["uploaded"] is True
    assert verifier(bucket, signing_conn_id="signing").execute({})["counts"] == {}
    assert SIGNING_LINE not in log_text()


@pytest.mark.parametrize("versioned", [False, True])
def test_an_unsigned_export_leaves_no_signature_of_the_one_before(versioned: bool, bucket: Bucket, keys: None) -> None:
    if versioned:
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    with simulated(events=90) as simulator:
        signed = export(bucket, signing_conn_id="signing")
        signature = signed["manifest_key"] + ".dsse"
        # The same bytes: nothing is written, and what is signed stays signed.
        assert export(bucket)["uploaded"] is False
        assert signature in bucket.objects()
        simulator.insert(START + HOUR)

        def refuse(self: Any, *arguments: Any) -> None:
            raise errors.ArchiveUnavailableError("made up")

        with pytest.MonkeyPatch.context() as patch:
            # The manifest cannot be written: that of the signed export stays, and so does its signature.
            patch.setattr(Commit, "_put", _but_the_manifest(refuse))
            with pytest.raises(errors.ArchiveUnavailableError):
                export(bucket)
        assert json.loads(bucket.body(signed["manifest_key"]))["events"] == signed["events"]
        assert signature in bucket.objects()

        assert export(bucket)["uploaded"] is True
        assert signature not in bucket.objects()
        assert verifier(bucket).execute({})["counts"] == {}


def _but_the_manifest(refuse: Callable[..., None]) -> Callable[..., None]:
    put = Commit._put

    def chosen(self: Commit, key: str, body: bytes, replaced: str | None) -> None:
        (put if key.endswith(".dsse") else refuse)(self, key, body, replaced)

    return chosen


def test_a_key_that_cannot_be_used_is_named_and_not_shown(server: Simulator, bucket: Bucket, keys: None) -> None:
    faults = {"short": ("not one private key", "32 random bytes"), "nothing": ("no private key", "no password")}
    for conn_id, (signing, named) in {**faults, "unknown": ("no such connection",) * 2}.items():
        for make in (operator, verifier):
            with pytest.raises(errors.InvalidArgumentError, match=f"signing_conn_id='{conn_id}'.*{signing}") as caught:
                make(bucket, signing_conn_id=conn_id).execute({})
            assert "5ecret" not in str(caught.value)
        with pytest.raises(errors.InvalidArgumentError, match=f"pseudonym_conn_id='{conn_id}'.*{named}"):
            export(bucket, pseudonymize=("username",), pseudonym_conn_id=conn_id)
    with pytest.raises(errors.InvalidArgumentError, match="pseudonymize needs pseudonym_conn_id"):
        export(bucket, pseudonymize=("username",))
    bucket.assert_untouched()


def test_one_key_does_not_serve_for_both(bucket: Bucket, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = ED25519.key.private_bytes_raw()
    for secret, named in ((SIGNING, "a key for signatures"), (seed.hex(), "hold the same key")):
        monkeypatch.setenv("AIRFLOW_CONN_SAME", json.dumps({"conn_type": "generic", "password": secret}))
        with pytest.raises(errors.InvalidArgumentError, match=named) as caught:
            export(bucket, pseudonymize=("username",), pseudonym_conn_id="same", signing_conn_id="signing")
        assert seed.hex() not in str(caught.value)
    bucket.assert_untouched()


def test_a_sealed_copy_is_verified_offline(
    server: Simulator, bucket: Bucket, keys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [(START + number * DAY, START + (number + 1) * DAY) for number in range(2)]
    noted = []
    for start, end in days:
        for dry_run in (False, True):
            arguments = {
                "s3_prefix": "curation",
                "s3_key": DEFAULT_KEY,
                "signing_conn_id": "signing",
                "dry_run": dry_run,
            }
            export(bucket, start=start, end=end, **arguments)
        sealed = verifier(
            bucket, s3_prefix="curation/", start=start, end=end, seal=True, signing_conn_id="signing"
        ).execute({})
        noted.append(sealed["seal_sha256"])
    # The prefix is another one where the copy lies.
    for key in bucket.objects():
        path = tmp_path / "copy" / key.removeprefix("curation/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.body(key))
    key_file = write_public(tmp_path, "audit.pub", ED25519)
    command = [str(tmp_path / "copy"), "--public-key", str(key_file), "--known-seal", noted[1]]

    def run(*more: str) -> tuple[int, str]:
        code = main([*command, *more])
        return code, "".join(capsys.readouterr())

    code, said = run()
    assert (code, "Nothing is missing" in said) == (0, True), said
    assert "4 objects read" in said
    assert json.loads(run("--json")[1])["start"] == "2025-11-03T00:00:00Z"

    last = max((tmp_path / "copy" / "_seals").glob("*.json"))
    kept = last.read_bytes()
    last.unlink()
    code, said = run()
    assert (code, f"{noted[1]}, which was noted, is not in the chain" in said) == (1, True), said
    last.write_bytes(kept)

    [first] = [
        path for path in (tmp_path / "copy").rglob("*.jsonl.gz") if "stream=events" in path.parts and "03" in str(path)
    ][:1]
    kept = first.read_bytes()
    first.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    code, said = run()
    assert (code, "sha256_differs" in said) == (1, True), said
    first.unlink()
    (tmp_path / "copy" / Layout().manifest_key(str(first.relative_to(tmp_path / "copy")))).unlink()
    code, said = run()
    assert (code, "sealed_missing" in said, "gap" in said) == (1, True, True), said

    key_file.write_text(OTHER.public_key.pem)
    code, said = run()
    assert (code, "give start and end" in said) == (2, True), said
    code, said = run("--start", "2025-11-03T00:00:00Z", "--end", "2025-11-05T00:00:00Z")
    assert (code, "bad_signature" in said, "seal_broken" in said) == (1, True, True), said
    key_file.write_text("not a key")
    assert run()[0] == 2
    assert main([str(tmp_path / "nothing")]) == 2


def test_the_plain_function_says_what_the_operator_does(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, s3_prefix="curation", s3_key=DEFAULT_KEY)
    bucket.client.delete_object(Bucket=bucket.name, Key=result["key"])
    made = verifier(bucket, s3_prefix="curation", on_finding="return", recount=True, retention=36_500 * DAY)
    arguments: dict[str, Any] = {"curation_conn_id": "curation_default", "retention": 36_500 * DAY, "aws_conn_id": AWS}
    report = verify_archive(f"s3://{bucket.name}/curation", START, END, **arguments)
    said, returned = made.execute({}), report.as_dict()
    for each in (said, returned):
        # Both name the time by the clock, which goes on between them.
        del each["clock"], each["summary"]
    # Only the operator knows the server's memory.
    assert said.pop("days_left") == pytest.approx(report.days_left(36_500 * DAY), abs=0.02)
    assert said == returned
    assert report.counts == {"object_missing": 1}
    assert report.totals.recounted == 1
    assert [repair.window.start for repair in report.repairs] == [START]


@pytest.mark.parametrize("on_finding", ["fail", "warn", "return"])
def test_what_is_done_about_findings(
    on_finding: Any, server: Simulator, bucket: Bucket, log_text: Callable[[], str]
) -> None:
    made = verifier(bucket, on_finding=on_finding)
    if on_finding == "fail":
        with pytest.raises(errors.FindingsError, match="there is no export that can be read") as caught:
            made.execute({})
        assert not caught.value.retry_task
        assert "AirflowFailException" in str(type(caught.value).__mro__)
        return
    assert made.execute({})["counts"] == {"no_exports": 1}
    assert "there is no export that can be read" in log_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"read": "some"}, "read='some'"),
        ({"read": 1.5}, "read=1.5"),
        ({"read": True}, "read=True"),
        ({"workers": 0}, "workers=0"),
        ({"retention": 30}, "retention=30 is no"),
        ({"ignore": ["gaps"]}, "'gaps' is none of"),
        ({"expected": [("events", "xml")]}, "is not a stream"),
        ({"on_finding": "ignore"}, "on_finding='ignore'"),
        ({"s3_bucket": ""}, "s3_bucket='' is empty"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str, bucket: Bucket) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=named):
        verifier(bucket, **arguments).execute({})


def test_late_events_and_what_the_server_asks_for_trouble(bucket: Bucket) -> None:
    with simulated() as simulator:
        export(bucket)
        check = {"recount": True, "retention": 36_500 * DAY, "on_finding": "return"}
        assert verifier(bucket, **check).execute({})["recounted"] == 1
        simulator.insert(START + HOUR)
        report = verifier(bucket, **check).execute({})
        assert report["counts"] == {"late_events": 1}
        [repair] = report["repair"]
        assert export(bucket, **repair)["events"] == 401
        assert verifier(bucket, **check).execute({})["counts"] == {}
        # A count that was not had is no count.
        simulator.fail_next(Fault.UNAUTHORIZED, 50)
        with pytest.raises(errors.UnauthorizedError):
            verifier(bucket, **check).execute({})


def test_two_servers_in_one_archive(bucket: Bucket) -> None:
    check = {"s3_prefix": "curation/", "recount": True, "retention": 36_500 * DAY, "on_finding": "return"}
    with simulated() as first, simulated(events=90, seed=2, conn_id="curation_b") as second:
        for conn_id in ("curation_default", "curation_b"):
            for start in (START, START + DAY):
                day = {"start": start, "end": start + DAY, "s3_prefix": "curation", "s3_key": DEFAULT_KEY}
                export(bucket, curation_conn_id=conn_id, **day)

        def verified(conn_id: str, **arguments: Any) -> dict[str, Any]:
            return verifier(bucket, curation_conn_id=conn_id, **{**check, **arguments}).execute({})

        names = [f"127.0.0.1_{server.port}" for server in (first, second)]
        for conn_id, other in (("curation_default", names[1]), ("curation_b", names[0])):
            report = verified(conn_id)
            assert (report["counts"], report["repair"], report["manifests"], report["recounted"]) == ({}, [], 4, 2)
            assert report["other_servers"] == [other]
            assert f"the exports of {other}" in report["summary"]

        first.insert(START + HOUR)
        assert verified("curation_b")["counts"] == {}
        assert verified("curation_default")["counts"] == {"late_events": 1}
        export(bucket, **verified("curation_default")["repair"][0], s3_prefix="curation", s3_key=DEFAULT_KEY)

        for key in bucket.objects():
            if names[1] in key and "dt=2025-11-04" in key:
                bucket.client.delete_object(Bucket=bucket.name, Key=key)
        # Without a recount, too, the connection tells whose gaps its exports can repair.
        for recount in (True, False):
            for conn_id, repairs in (("curation_default", 0), ("curation_b", 1)):
                report = verified(conn_id, recount=recount)
                assert report["counts"] == {"gap": 1}
                assert [each["instance"] for each in report["findings"]] == [names[1]]
                assert len(report["repair"]) == repairs
        # Without a connection it cannot be told, and nothing but a recount needs one.
        report = verified("no_such_connection", recount=False)
        assert (report["counts"], report["repair"], report["other_servers"]) == ({"gap": 1}, [], sorted(names))
        with pytest.raises(errors.InvalidArgumentError, match="no_such_connection"):
            verified("no_such_connection")


# Personal data


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_people_are_tokens(
    file_format: str, server: Simulator, bucket: Bucket, keys: None, log_text: Callable[[], str]
) -> None:
    made = operator(
        bucket, file_format=file_format, pseudonymize=("username", "user_mail"), pseudonym_conn_id="pseudonym"
    )
    result = made.execute({})
    content, truth = bucket.content(result["key"]), list(server.truth(START, END))
    token = Pseudonymizer(("username", "user_mail"), SecretKey(PSEUDONYM.encode())).token

    def tokens(event: dict[str, Any]) -> tuple[str, str]:
        name, mail = event["username"], event["user_mail"]
        return token(name) if name else name, token(mail) if mail else mail

    wanted = {str(event["id"]): tokens(event) for event in truth}
    if file_format == "csv":
        found = {row["id"]: (row["user_name"], row["user_mail"]) for row in csv_rows(content)}
    else:
        found = {
            str(event["id"]): (event["username"], event["user_mail"]) for event in map(json.loads, content.splitlines())
        }
    assert found == wanted
    people = {event[name] for event in truth for name in ("username", "user_mail")} - {"", None}
    assert not [person for person in people if person.encode() in content]

    manifest = bucket.manifest(result["key"])
    assert manifest["personal_data"]["pseudonymized"] == ["username", "user_mail"]
    assert manifest["personal_data"]["pseudonym_key_id"] == SecretKey(PSEUDONYM.encode()).id
    assert export(
        bucket, file_format=file_format, pseudonymize=["user_mail", "username"], pseudonym_conn_id="pseudonym"
    ) == {**result, "uploaded": False}
    fields = json.dumps({name: str(getattr(made, name)) for name in made.template_fields})
    for secret in (PSEUDONYM, *people):
        assert secret not in log_text() + json.dumps([result, manifest]) + fields


def test_formulas_are_neutralised(bucket: Bucket) -> None:
    starts = [start + "1+1" for start in FORMULA_STARTS]
    with simulated(events=0) as simulator:
        for start in starts:
            simulator.insert(START + HOUR, package_name=start)
        result = export(bucket, file_format="csv", csv_safe=True)
        assert [row["package_name"] for row in csv_rows(bucket.content(result["key"]))] == [
            "'" + each for each in starts
        ]
        assert bucket.manifest(result["key"])["personal_data"]["csv_safe"] is True
        plain = export(bucket, file_format="csv", s3_key="plain{suffix}")
        assert [row["package_name"] for row in csv_rows(bucket.content(plain["key"]))] == starts
        with pytest.raises(errors.InvalidArgumentError, match="csv_safe=True goes with file_format='csv'"):
            export(bucket, csv_safe=True)
