"""The keys of an archive: data is below its root, and manifests, signatures and seals are in folders of their own.

Query engines skip folders whose names begin with an underscore, so they never read a manifest as a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MANIFEST_SUFFIX: Final = ".json"
#: Appended to a manifest's or a seal's key.
SIGNATURE_SUFFIX: Final = ".dsse"


@dataclass(frozen=True)
class Layout:
    """The keys of one archive.

    :param root: the archive's folder in its bucket, without a slash at either end; empty for the bucket itself.
    """

    root: str = ""

    @property
    def prefix(self) -> str:
        """The prefix of every key of the archive."""
        return f"{self.root}/" if self.root else ""

    @property
    def manifests(self) -> str:
        """The prefix of all manifests and their signatures."""
        return f"{self.prefix}_manifests/"

    @property
    def seals(self) -> str:
        """The prefix of all seals and their signatures."""
        return f"{self.prefix}_seals/"

    @property
    def quarantine(self) -> str:
        """The prefix of altered bytes that a repair has put aside."""
        return f"{self.prefix}_quarantine/"

    @property
    def reports(self) -> str:
        """The prefix of reports for people."""
        return f"{self.prefix}_reports/"

    def object_key(self, relative: str) -> str:
        """Return the key of an object, from its key below the root."""
        return f"{self.prefix}{relative}"

    def manifest_key(self, relative: str) -> str:
        """Return the key of an object's manifest, from the object's key below the root."""
        return f"{self.manifests}{relative}{MANIFEST_SUFFIX}"

    def relative_key(self, manifest_key: str) -> str | None:
        """Return the key below the root of a manifest's object; ``None`` if the key is not a manifest's."""
        if not manifest_key.startswith(self.manifests) or not manifest_key.endswith(MANIFEST_SUFFIX):
            return None
        return manifest_key[len(self.manifests) : -len(MANIFEST_SUFFIX)]
