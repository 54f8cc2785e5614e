"""Splits a long range into exports for a mapped task, and sums up their results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any, Final

from airflow_provider_curation.audit.clipping import Clipped, clip
from airflow_provider_curation.audit.duration import format_duration
from airflow_provider_curation.audit.endpoint import RETENTION
from airflow_provider_curation.audit.errors import InvalidArgumentError, MissingExportsError
from airflow_provider_curation.audit.window import Window, format_utc
from airflow_provider_curation.compat import conf, ending_without_retries

log = logging.getLogger(__name__)

STREAMS = ("events", "dry_run")
FORMATS = ("jsonl", "csv", "parquet")
#: For ``map_index_template``: names a mapped export in Airflow's grid, as in "2026-10-27 events csv".
EXPORT_NAME: Final = (
    "{{ task.start[:10] if task.start.endswith('T00:00:00Z') else task.start[:16] }} "
    "{{ 'dry_run' if task.dry_run else 'events' }} {{ task.file_format }}"
)
#: An error lists at most this many missing exports.
_NAMED = 20


def export_windows(
    start: datetime | str,
    end: datetime | str,
    step: timedelta = timedelta(days=1),
    *,
    streams: Sequence[str] = ("events",),
    formats: Sequence[str] = ("jsonl",),
    retention: timedelta = RETENTION,
    settle_time: timedelta = timedelta(minutes=5),
) -> list[dict[str, Any]]:
    """Split a range into exports, as arguments for a mapped ``CurationAuditToS3Operator``.

    Call it in a task, since the result depends on the current time: it leaves out what the server has forgotten or will
    forget within the hour, and what has not settled yet, and logs a warning about it. Edges between windows are at
    whole steps from ``start``, so a second run writes the same keys.

    :param start: start, inclusive: an aware datetime or ISO 8601 string.
    :param end: end, exclusive.
    :param step: width of each export, at least a second; the first and the last one may be narrower.
    :param streams: ``events``, ``dry_run`` or both.
    :param formats: one or more of ``jsonl``, ``csv`` and ``parquet``.
    :param retention: how long the server remembers events; give the operator the same.
    :param settle_time: how long to wait after a window's end before reading it.
    :return: dicts with ``start``, ``end``, ``dry_run`` and ``file_format``, in order of time; never empty.
    :raises InvalidArgumentError: for an invalid argument, or more exports than Airflow maps a task over.
    :raises InvalidWindowError: for a naive or unreadable time, or an end that is not after the start.
    :raises ExpiredWindowError: if the server has forgotten the whole range.
    :raises FutureWindowError: if nothing of it has settled.
    """
    with ending_without_retries():
        _check_names("streams", streams, STREAMS)
        _check_names("formats", formats, FORMATS)
        clipped = clip(
            Window.parse(start, end), datetime.now(timezone.utc), retention=retention, settle_time=settle_time
        )
        _check_number(clipped, step, len(streams) * len(formats))
        windows = clipped.pieces(step)
    if clipped.note:
        log.warning("%s", clipped.note)
    exports = [
        {
            "start": format_utc(window.start),
            "end": format_utc(window.end),
            "dry_run": stream == "dry_run",
            "file_format": file_format,
        }
        for window, stream, file_format in product(windows, streams, formats)
    ]
    log.info("%s makes %d exports in steps of %s.", clipped.kept, len(exports), format_duration(step))
    return exports


def summarize_exports(
    exports: Sequence[Mapping[str, Any]] | None,
    results: Sequence[Mapping[str, Any] | None],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
) -> dict[str, Any]:
    """Sum up the exports of a range, if none is missing.

    :param exports: the result of :func:`export_windows`.
    :param results: the operator's result for each of them, in the same order; ``None`` for a missing one.
    :param start: the start that was asked for, so that the summary names what was left out before the first export.
    :param end: the end that was asked for.
    :return: ``start``, ``end`` (of what was exported), ``exports`` (objects), ``events`` (each window and stream
        counted once, in however many formats), ``bytes`` (of all objects), and ``note``: a sentence about what was
        left out, empty if nothing was.
    :raises MissingExportsError: if an export is missing; the message names its window, stream and format.
    """
    with ending_without_retries():
        return _summary(exports, results, start, end)


def _summary(
    exports: Sequence[Mapping[str, Any]] | None,
    results: Sequence[Mapping[str, Any] | None],
    start: datetime | str | None,
    end: datetime | str | None,
) -> dict[str, Any]:
    if not exports:
        raise MissingExportsError(
            "The range was never split into exports, so nothing was exported: see the log of the task that calls "
            "export_windows."
        )
    if len(results) != len(exports):
        raise InvalidArgumentError(f"{len(results)} results were given for {len(exports)} exports; give one for each.")
    missing = [_name(export) for export, result in zip(exports, results, strict=True) if not _fits(export, result)]
    if missing:
        more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise MissingExportsError(
            f"{len(missing)} of {len(exports)} exports are missing: {', '.join(missing[:_NAMED])}{more}. The logs of "
            "their tasks say why; fix that, then clear the failed tasks and those downstream of them."
        )
    kept = Window.parse(exports[0]["start"], exports[-1]["end"])
    asked = Window.parse(start or kept.start, end or kept.end)
    held = [result for result in results if result]
    # All formats contain the same events, so each window and stream counts once.
    events = {(result["start"], result["end"], result["stream"]): result["events"] for result in held}
    summary = {
        "start": format_utc(kept.start),
        "end": format_utc(kept.end),
        "exports": len(exports),
        "events": sum(events.values()),
        "bytes": sum(result["bytes"] for result in held),
        "note": Clipped(asked, kept).note,
    }
    log.info("All %(exports)d exports of [%(start)s, %(end)s) exist.", summary)
    if summary["note"]:
        log.warning("%s", summary["note"])
    return summary


def _check_names(argument: str, names: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(names, str) or not names or len(set(names)) != len(names) or not set(names) <= set(known):
        raise InvalidArgumentError(f"{argument}={names!r} is not usable; give a list of {' and '.join(known)}.")


def _check_number(clipped: Clipped, step: timedelta, for_each: int) -> None:
    """Check Airflow's limit of mapped tasks, with a clearer error than Airflow's own."""
    number = clipped.count(step) * for_each
    most = conf.getint("core", "max_map_length", fallback=1024)
    if number > most:
        raise InvalidArgumentError(
            f"{clipped.kept} in steps of {format_duration(step)} makes {number} exports, and Airflow maps a task over "
            f"at most {most} (core.max_map_length). Give a longer step or a shorter range, or raise that option."
        )


def _fits(export: Mapping[str, Any], result: Mapping[str, Any] | None) -> bool:
    """Return whether a result belongs to an export; results in the wrong order would hide a missing one."""
    stream = "dry_run" if export["dry_run"] else "events"
    wanted = {"start": export["start"], "end": export["end"], "stream": stream, "format": export["file_format"]}
    return result is not None and {name: result[name] for name in wanted} == wanted


def _name(export: Mapping[str, Any]) -> str:
    stream = "dry_run" if export["dry_run"] else "events"
    return f"[{export['start']}, {export['end']}) {stream} {export['file_format']}"
