"""Keeps an altered object that an export is about to replace, so that the alteration stays visible.

In a bucket with versions, the replaced object stays as a version. In others it is first copied below ``_quarantine/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_curation.audit.errors import IncompleteExportError
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.replacement import Present

_ENCRYPTION: Final = ("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "BucketKeyEnabled")


def keep_altered(
    client: Any, bucket: str, key: str, manifest_key: str, present: Present, extra_args: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Keep an object or a manifest that was altered, and return what the new manifest says about it.

    :param present: what is at the key.
    :param extra_args: arguments of boto3's uploads; the copies are encrypted in the same way.
    :return: ``why``, and of the kept object ``size``, ``etag`` and either ``version_id`` or ``kept_at``; ``None`` if
        nothing is replaced, or the object is the one that its manifest describes.
    :raises IncompleteExportError: if the copy differs from the original; then nothing is replaced.
    """
    if present.manifest_sha256 is None or present.intact:
        return None
    if present.size is None:
        return {"why": "the object of the manifest was gone"}
    if present.manifest is None:
        kept = _keep(client, bucket, manifest_key, manifest_key, extra_args)
        return {"why": "the manifest could not be read", **kept}
    facts = present.manifest.facts
    if present.size != facts["size"]:
        why = f"the object had {present.size} bytes instead of the manifest's {facts['size']}"
    elif present.sha256 not in (None, facts["sha256"]):
        why = f"the object's SHA-256 was {present.sha256} instead of the manifest's {facts['sha256']}"
    else:
        why = f"the object's ETag was {present.etag} instead of the manifest's {facts.get('etag')}"
    return {"why": why, **_keep(client, bucket, key, manifest_key, extra_args, present.sha256)}


def _keep(
    client: Any, bucket: str, key: str, manifest_key: str, extra_args: Mapping[str, Any], sha256: str | None = None
) -> dict[str, Any]:
    head = client.head_object(Bucket=bucket, Key=key)
    size, etag = head["ContentLength"], str(head["ETag"]).strip('"')
    version = head.get("VersionId")
    if version not in (None, "null"):
        return {"size": size, "etag": etag, "version_id": version}
    layout = _layout(manifest_key)
    # With the SHA-256 or the ETag, another try has the same key, and other bytes have another one.
    kept_at = f"{layout.quarantine}{key.removeprefix(layout.prefix)}/{sha256 or etag}"
    encryption = {name: extra_args[name] for name in _ENCRYPTION if name in extra_args}
    client.copy({"Bucket": bucket, "Key": key}, bucket, kept_at, ExtraArgs=encryption)
    copied = client.head_object(Bucket=bucket, Key=kept_at)["ContentLength"]
    if copied != size:
        raise IncompleteExportError(
            f"s3://{bucket}/{key} differs from its manifest, so it is copied to s3://{bucket}/{kept_at} before it is "
            f"replaced. The copy has {copied} bytes instead of {size}. Nothing was replaced; the next try copies it "
            "again."
        )
    return {"size": size, "etag": etag, "kept_at": kept_at}


def _layout(manifest_key: str) -> Layout:
    """Return the layout of the archive that a manifest's key belongs to."""
    root, _, _ = f"/{manifest_key}".partition("/_manifests/")
    return Layout(root.lstrip("/"))
