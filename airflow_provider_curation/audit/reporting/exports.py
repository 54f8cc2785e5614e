"""Reads the manifests of a period, and keeps the few hundred bytes of each that a report needs."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from airflow_provider_curation.audit.evidence.archive import Archive, TooLargeError
from airflow_provider_curation.audit.evidence.findings import Series
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.listing import named_window
from airflow_provider_curation.audit.evidence.manifest import ManifestError, StoredManifest
from airflow_provider_curation.audit.window import Window


@dataclass(frozen=True, slots=True)
class Export:
    """One export, as its manifest describes it.

    :param manifest: the manifest's key.
    :param key: the object's key in this copy of the archive.
    :param facts: the manifest's other members.
    """

    manifest: str
    key: str
    window: Window
    series: Series
    facts: Mapping[str, Any]

    @property
    def run(self) -> str:
        """The DAG run, as ``dag_id, run_id``; empty for an export without a DAG."""
        made_by = self.facts["dag_run"] or {}
        return ", ".join(str(made_by[name]) for name in ("dag_id", "run_id") if made_by.get(name))


#: The members that are kept.
_KEPT = (
    "actions",
    "airflow_version",
    "compression",
    "dag_run",
    "encryption",
    "end",
    "events",
    "events_read",
    "exported_at",
    "filters",
    "object_lock",
    "personal_data",
    "provider_version",
    "reconciled",
    "reconciled_why",
    "replaces",
    "settle_seconds",
    "size",
    "total_after",
    "total_before",
    "version_id",
    "writer",
)


def read_exports(
    archive: Archive,
    layout: Layout,
    period: Window,
    aliases: Mapping[str, str] | None = None,
    workers: int = 8,
) -> Iterator[Export]:
    """Yield the exports of a period in order of key.

    Manifests that are gone or cannot be read are left out, since the verification reports them.

    :param aliases: the earlier names of renamed servers, each with the server's current name.
    :param workers: how many manifests are read at the same time.
    """
    shared: dict[str, Any] = {}

    def read(key: str) -> Export | None:
        try:
            body = archive.read(key)
            stored = StoredManifest.parse(body) if body is not None else None
        except (ManifestError, TooLargeError):
            return None
        if stored is None or not _touches(stored.window, period):
            return None
        instance, stream, form = stored.series
        series = Series((aliases or {}).get(instance, instance), stream, form)
        relative = layout.relative_key(key) or ""
        facts = {name: _shared(shared, stored.facts.get(name)) for name in _KEPT}
        return Export(key, layout.object_key(relative), stored.window, series, facts)

    under_way: deque[Future[Export | None]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="curation-report") as pool:
        for listed in archive.entries(layout.manifests):
            if layout.relative_key(listed.key) is None:
                continue
            window = named_window(listed.key)
            if window is not None and not _touches(window, period):
                continue
            under_way.append(pool.submit(read, listed.key))
            if len(under_way) >= 4 * workers and (export := under_way.popleft().result()):
                yield export
        while under_way:
            if export := under_way.popleft().result():
                yield export


def _touches(window: Window, period: Window) -> bool:
    return window.start < period.end and window.end > period.start


def _shared(shared: dict[str, Any], value: Any) -> Any:
    """Return the same object for equal values, since most manifests of an archive have the same ones."""
    if value is None or isinstance(value, int):
        return value
    return shared.setdefault(json.dumps(value, sort_keys=True), value) if len(shared) < 100_000 else value
