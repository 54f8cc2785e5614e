"""What a verification checks, and how thoroughly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from airflow_provider_curation.audit.evidence.chain import Trust
from airflow_provider_curation.audit.evidence.dsse import Signer
from airflow_provider_curation.audit.evidence.findings import FindingKind, Series
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.manifest import StoredManifest
from airflow_provider_curation.audit.evidence.seal import Stamp
from airflow_provider_curation.audit.window import Window

#: Which objects to read: those that neither the ETag nor the store's checksum proves; with ``checksums``, also those
#: that only the ETag proves; all of them; or also a share of the others.
Reading = Literal["suspects", "checksums", "all"] | float
#: Returns how many events a window has; the flag asks for the dry-run stream.
Count = Callable[[Window, bool], int]


@dataclass(frozen=True)
class Check:
    """What to verify, and how thoroughly.

    :param prefix: the archive's root, with a slash at its end; empty for the whole bucket or folder.
    :param period: the period to verify, which must have ended; any time in it without an export is a gap.
    :param expected: streams and formats whose unfiltered exports must exist, such as ``("events", "jsonl")``: those of
        ``instance``, or of each server if ``instance`` is not given. There may be others.
    :param retired: series that are no longer exported, and so not expected after their last export.
    :param aliases: the earlier names of servers, each with the server's current name.
    :param trust: whose signatures on manifests and seals count; without a key ring, no signature is checked.
    :param signer: signs the seal; ``None`` leaves it unsigned.
    :param stamp: requests a time stamp for the seal; ``None`` requests none.
    :param reading: which objects to read.
    :param count: asks the server how many events a window has; ``None`` asks nothing.
    :param instance: that server, as manifests name it; exports of others are neither counted again nor repaired.
        ``None`` means the archive's only server, or no server if it has several.
    :param remembered: since when the server still has all events; earlier windows cannot be counted or repaired.
    :param export_time: how long an export may take after its window has ended; until then it is pending, not missing.
    :param ignored: kinds of findings that are expected in this archive.
    :param seal: seal the period if nothing was found.
    :param workers: how many manifests and objects are read, or windows counted, at the same time.
    """

    prefix: str
    period: Window
    expected: Sequence[tuple[str, str]] = ()
    retired: frozenset[Series] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    signer: Signer | None = None
    stamp: Stamp | None = None
    reading: Reading = "suspects"
    count: Count | None = None
    instance: str | None = None
    remembered: datetime | None = None
    export_time: timedelta = timedelta(0)
    ignored: frozenset[FindingKind] = frozenset()
    seal: bool = False
    workers: int = 8

    @property
    def layout(self) -> Layout:
        """The archive's keys."""
        return Layout(self.prefix.rstrip("/"))

    def concerns(self, window: Window | None) -> bool:
        """Return whether a window is inside or overlaps the period; ``None`` means that the window is not known yet."""
        return window is None or (window.start < self.period.end and window.end > self.period.start)

    def series_of(self, stored: StoredManifest) -> Series:
        """Return a manifest's series, with its server's current name."""
        return self.renamed(Series(*stored.series))

    def renamed(self, series: Series) -> Series:
        """Return a series with its server's current name."""
        name = self.aliases.get(series.instance)
        return series if name is None else Series(name, series.stream, series.format)
