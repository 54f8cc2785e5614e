"""An archive in a folder, as a user copies one from S3, beside the events that the server really had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.exports import Bucket


class CopiedArchive:
    """A copy of an archive.

    :param folder: its root.
    :param events: the server's events, in its order.
    :param dry_run: the server's rows of dry-run policies.
    """

    def __init__(self, folder: Path, events: list[dict[str, Any]], dry_run: list[dict[str, Any]]) -> None:
        self.root, self.events, self.dry_run = str(folder), events, dry_run
        [instance] = folder.glob("instance=*")
        self.server = instance.name.removeprefix("instance=")


def copy(bucket: Bucket, prefix: str, folder: Path) -> None:
    """Copy every object below a prefix to a folder."""
    for key in bucket.objects():
        path = folder / key.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.body(key))
