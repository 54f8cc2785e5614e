"""Keeps what an export is about to replace, if it is not what its manifest says: a wound stays visible.

In a bucket with versions what is replaced stays as a version; elsewhere it is copied below ``_quarantine/`` first.
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
    """Keep an object or a manifest that was altered, and return what the new manifest says of it.

    :param present: what is at the key.
    :param extra_args: of boto3's uploads; the copies are encrypted in the same way.
    :return: ``why``, and of what is kept ``size``, ``etag`` and either ``version_id`` or ``kept_at``; ``None`` if there
        is nothing to replace, or it is what its manifest says.
    :raises IncompleteExportError: if the copy is not what was to be kept; nothing is replaced then.
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
    # SHA-256 or ETag make the key the same for another try, and another one for other bytes.
    kept_at = f"{layout.quarantine}{key.removeprefix(layout.prefix)}/{sha256 or etag}"
    encryption = {name: extra_args[name] for name in _ENCRYPTION if name in extra_args}
    client.copy({"Bucket": bucket, "Key": key}, bucket, kept_at, ExtraArgs=encryption)
    copied = client.head_object(Bucket=bucket, Key=kept_at)["ContentLength"]
    if copied != size:
        raise IncompleteExportError(
            f"s3://{bucket}/{key} differs from its manifest and was to be kept at s3://{bucket}/{kept_at} before it is "
            f"replaced, but the copy has {copied} bytes instead of {size}. Nothing was replaced; the next try copies "
            "it again."
        )
    return {"size": size, "etag": etag, "kept_at": kept_at}


def _layout(manifest_key: str) -> Layout:
    """Return the layout of the archive that a manifest's key belongs to."""
    root, _, _ = f"/{manifest_key}".partition("/_manifests/")
    return Layout(root.lstrip("/"))
