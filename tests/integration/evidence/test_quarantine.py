"""What an export replaces though it was altered: the bytes are kept, and the new manifest says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_curation.simulator import Simulator
from tests.support.exports import Bucket, export, manifest_key, s3_client, simulated

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_waits", "one_loader", "aws_default")]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with simulated() as simulator:
        yield simulator


def put(bucket: Bucket, key: str, body: bytes) -> str:
    return str(bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)["ETag"]).strip('"')


@pytest.mark.parametrize("same_size", [False, True])
@pytest.mark.parametrize("root", ["", "curation"])
def test_altered_bytes_are_kept(root: str, same_size: bool, server: Simulator, bucket: Bucket) -> None:
    result = export(bucket, s3_prefix=root)
    key, whole = result["key"], bucket.body(result["key"])
    altered = whole[:-1] + b"?" if same_size else b"altered"
    etag = put(bucket, key, altered)

    assert export(bucket, s3_prefix=root)["uploaded"] is True

    prefix = f"{root}/" if root else ""
    kept_at = f"{prefix}_quarantine/{key.removeprefix(prefix)}/{etag}"
    assert (bucket.body(key), bucket.body(kept_at)) == (whole, altered)
    manifest = bucket.client.get_object(Bucket=bucket.name, Key=result["manifest_key"])["Body"].read()
    replaced = json.loads(manifest)["replaced"]
    why = replaced.pop("why")
    assert replaced == {"size": len(altered), "etag": etag, "kept_at": kept_at}
    assert ("ETag was" if same_size else f"had 7 bytes instead of the manifest's {len(whole)}") in why


@pytest.mark.parametrize("late", [False, True])
def test_bytes_are_read_although_size_and_etag_are_the_manifests(late: bool, server: Simulator, bucket: Bucket) -> None:
    """Whoever can edit a manifest can edit the ETag in it, and not every store's ETag depends on the bytes."""
    result = export(bucket)
    key, whole = result["key"], bucket.body(result["key"])
    altered = whole[:-1] + b"?"
    etag = put(bucket, key, altered)
    manifest = {**bucket.manifest(key), "etag": etag}
    if late:
        # As if an event had come since, so that the bytes differ anyway.
        manifest["events_read"] -= 1
    put(bucket, result["manifest_key"], json.dumps(manifest).encode())

    assert export(bucket)["uploaded"] is True

    replaced = bucket.manifest(key)["replaced"]
    sha256 = hashlib.sha256(altered).hexdigest()
    assert replaced["why"] == f"the object's SHA-256 was {sha256} instead of the manifest's {result['sha256']}"
    assert (bucket.body(key), bucket.body(replaced["kept_at"])) == (whole, altered)
    assert export(bucket)["uploaded"] is False


def test_an_unreadable_manifest_is_kept(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket)
    etag = put(bucket, result["manifest_key"], b'{"events": 7}')
    export(bucket)
    kept_at = f"_quarantine/{manifest_key(result['key'])}/{etag}"
    assert bucket.body(kept_at) == b'{"events": 7}'
    assert bucket.manifest(result["key"])["replaced"]["why"] == "the manifest could not be read"


def test_what_was_gone_or_intact(server: Simulator, bucket: Bucket) -> None:
    result = export(bucket)
    assert bucket.manifest(result["key"])["replaced"] is None
    bucket.client.delete_object(Bucket=bucket.name, Key=result["key"])
    export(bucket)
    assert bucket.manifest(result["key"])["replaced"] == {"why": "the object of the manifest was gone"}
    # A half that a killed try left has no manifest that it could differ from.
    bucket.client.delete_object(Bucket=bucket.name, Key=result["manifest_key"])
    export(bucket)
    assert bucket.manifest(result["key"])["replaced"] is None
    assert not [key for key in bucket.objects() if "_quarantine" in key]


def test_a_bucket_with_versions_keeps_the_version(server: Simulator, s3_url: str) -> None:
    client: Any = s3_client(s3_url)
    client.create_bucket(Bucket="audit-versions")
    client.put_bucket_versioning(Bucket="audit-versions", VersioningConfiguration={"Status": "Enabled"})
    bucket = Bucket(client, "audit-versions")
    result = export(bucket)
    altered = client.put_object(Bucket=bucket.name, Key=result["key"], Body=b"altered")
    export(bucket)
    replaced = bucket.manifest(result["key"])["replaced"]
    assert replaced["version_id"] == altered["VersionId"]
    found = client.get_object(Bucket=bucket.name, Key=result["key"], VersionId=replaced["version_id"])
    assert found["Body"].read() == b"altered"
    assert not [key for key in bucket.objects() if "_quarantine" in key]
