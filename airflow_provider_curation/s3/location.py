"""Where an export goes: the bucket, the archive's root in it, and the key that the arguments give for a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.layout import Layout

#: S3's limit.
MOST_KEY_BYTES: Final = 1024
#: Bytes that the key of a signature or of a claim adds to that of its manifest.
LONGEST_SUFFIX: Final = 40
DEFAULT_PREFIX: Final = "curation"
#: Below the root. Query engines read `name=value` folders as columns.
DEFAULT_KEY: Final = (
    "instance={instance}/stream={stream}/format={file_format}/dt={start:%Y-%m-%d}/"
    "{start:%Y%m%dT%H%M%SZ}_{end:%Y%m%dT%H%M%SZ}{suffix}"
)


@dataclass(frozen=True)
class Location:
    """Where one object of an archive lies.

    :param relative: the object's key below the archive's root.
    """

    bucket: str
    layout: Layout
    relative: str

    @property
    def key(self) -> str:
        return self.layout.object_key(self.relative)

    @property
    def manifest_key(self) -> str:
        return self.layout.manifest_key(self.relative)


def locate(s3_bucket: str | None, s3_prefix: str | None, s3_key: str, fields: Mapping[str, Any]) -> Location:
    """Return where an export's object goes.

    :param s3_bucket: the bucket; ``None`` or empty if ``s3_key`` is a full ``s3://`` URL.
    :param s3_prefix: the archive's root; ``None`` or empty if it is the bucket itself.
    :param s3_key: the key below the root, or a full ``s3://`` URL that lies below it, with fields in the form of
        :meth:`str.format`.
    :param fields: the values of the fields.
    :raises InvalidArgumentError: for a field that does not exist, a bucket that is named twice or not at all, or a key
        that is empty, too long, ends like a folder's, has control characters or ``..``, or is outside the root or in
        one of the archive's own folders.
    """
    layout = Layout((s3_prefix or "").strip("/"))
    try:
        key = s3_key.format(**fields)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgumentError(
            f"s3_key={s3_key!r} cannot be filled in ({type(error).__name__}: {error}); its fields are "
            f"{', '.join('{' + name + '}' for name in fields)}."
        ) from None
    bucket, is_url = s3_bucket, key.startswith("s3://")
    if is_url:
        if bucket:
            raise InvalidArgumentError(f"s3_key={key!r} already names a bucket; leave out s3_bucket={bucket!r}.")
        bucket, _, key = key.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidArgumentError(f"s3_bucket={s3_bucket!r} is empty, and s3_key names no bucket either.")
    if not key or key.endswith("/"):
        raise InvalidArgumentError(f"s3_key={s3_key!r} makes {key!r}, which is not an object's key.")
    if is_url:
        if not key.startswith(layout.prefix):
            raise InvalidArgumentError(
                f"s3_key={s3_key!r} is outside the archive's root, s3_prefix={s3_prefix!r}: begin it with "
                f"s3://{bucket}/{layout.prefix}, or set s3_prefix to the archive's root."
            )
        key = key.removeprefix(layout.prefix)
    location = Location(bucket, layout, key)
    _check_key(s3_key, location)
    for reserved in (layout.manifests, layout.seals, layout.quarantine, layout.reports):
        if location.key.startswith(reserved):
            raise InvalidArgumentError(
                f"s3_key={s3_key!r} makes {location.key!r}, but {reserved} is reserved for the archive's own files. "
                "Choose another folder."
            )
    return location


def _check_key(s3_key: str, location: Location) -> None:
    """Check that S3, and a copy of the archive in a folder, can hold the key.

    :raises InvalidArgumentError: if they cannot, with the reason.
    """
    key = location.key
    if any(
        ord(character) < 32 or 127 <= ord(character) < 160 or 0xD800 <= ord(character) < 0xE000 for character in key
    ):
        raise InvalidArgumentError(f"s3_key={s3_key!r} makes {key!r}, which has control characters: leave them out.")
    if ".." in key.split("/"):
        raise InvalidArgumentError(
            f"s3_key={s3_key!r} makes {key!r}: '..' in a key does not mean the parent folder. Leave it out."
        )
    longest = len(location.manifest_key.encode()) + LONGEST_SUFFIX
    if longest > MOST_KEY_BYTES:
        raise InvalidArgumentError(
            f"s3_key={s3_key!r} makes a key of {len(key.encode()):,} bytes. The keys of its manifest and its claim "
            f"have up to {longest:,}, and S3 allows {MOST_KEY_BYTES:,}. Shorten s3_prefix or s3_key."
        )
