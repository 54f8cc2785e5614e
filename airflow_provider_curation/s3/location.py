"""Where an export goes: the bucket and the key that a user's arguments make for a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError

DEFAULT_KEY: Final = (
    "curation/{instance}/{stream}/dt={start:%Y-%m-%d}/{start:%Y%m%dT%H%M%SZ}_{end:%Y%m%dT%H%M%SZ}{suffix}"
)


def bucket_and_key(s3_bucket: str | None, s3_key: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the bucket and the key of an export's object.

    :param s3_bucket: the bucket; ``None`` or empty if ``s3_key`` is a full ``s3://`` URL.
    :param s3_key: the key, with fields in the form of :meth:`str.format`.
    :param fields: what the fields stand for.
    :raises InvalidArgumentError: for a field that does not exist, a bucket that is named twice or not at all, or a key
        that is empty or ends like a folder's.
    """
    try:
        key = s3_key.format(**fields)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgumentError(
            f"s3_key={s3_key!r} cannot be filled in ({type(error).__name__}: {error}); its fields are "
            f"{', '.join('{' + name + '}' for name in fields)}."
        ) from None
    bucket = s3_bucket
    if key.startswith("s3://"):
        if bucket:
            raise InvalidArgumentError(f"s3_key={key!r} names a bucket already; leave s3_bucket={bucket!r} out.")
        bucket, _, key = key.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidArgumentError(f"s3_bucket={s3_bucket!r} is empty, and s3_key names no bucket either.")
    if not key or key.endswith("/"):
        raise InvalidArgumentError(f"s3_key={s3_key!r} makes {key!r}, which is no object's key.")
    return bucket, key
