"""What a verification checks, and how far it goes."""

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

#: Which objects to read: those that neither the ETag nor the store's checksum vouches for, or no checksum whatever the
#: ETag; all of them; or a share of the others as well.
Reading = Literal["suspects", "checksums", "all"] | float
#: Returns how many events a window has; the flag asks for the dry-run stream.
Count = Callable[[Window, bool], int]


@dataclass(frozen=True)
class Check:
    """What to verify, and how far.

    :param prefix: the archive's root, with a slash at its end; empty for the whole bucket or folder.
    :param period: time without an export in it is a gap; it must have ended.
    :param expected: streams and formats whose unfiltered exports must be there, as ``("events", "jsonl")``, of
        ``instance``, or of each server if that is not given; more may be found.
    :param retired: series that are no longer exported: they are not expected behind their last export.
    :param aliases: a server's earlier names, each with the name that it has now.
    :param trust: who must have signed manifests and seals; without a key ring no signature is checked.
    :param signer: signs the seal; ``None`` leaves it unsigned.
    :param stamp: asks for a time stamp on the seal; ``None`` asks for none.
    :param reading: which objects to read.
    :param count: asks the server how many events a window has; ``None`` asks nothing.
    :param instance: that server, as manifests name it: exports of others are neither counted again nor mended.
        ``None`` takes the only one in the archive; of several none.
    :param remembered: from when on the server still has all events; what begins before cannot be counted or mended.
    :param export_time: how long an export may take after its window has ended: until then it is pending, not missing.
    :param ignored: kinds of findings that are as they should be in this archive.
    :param seal: seal the period if nothing was found.
    :param workers: manifests and objects that are read at the same time, and windows that are counted.
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
        """Return whether something of this window is to be looked at; ``None`` is a window that is not known yet."""
        return window is None or (window.start < self.period.end and window.end > self.period.start)

    def series_of(self, stored: StoredManifest) -> Series:
        """Return the series of a manifest, under the name that its server has now."""
        return self.renamed(Series(*stored.series))

    def renamed(self, series: Series) -> Series:
        """Return a series under the name that its server has now."""
        name = self.aliases.get(series.instance)
        return series if name is None else Series(name, series.stream, series.format)
