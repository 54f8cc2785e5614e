"""Whether what happened may happen. Nothing here uses the code under test."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.chaos.facts import PSEUDONYM_KEY, Facts, Fault, Step, Try, least_and_most
from tests.chaos.reading import FORMULA_STARTS, Content, content_of, expected, ids_digest, without_apostrophes
from tests.chaos.schedule import FILTERS, Schedule
from tests.support.exports import START

#: With these, a server cannot be read, or only with luck.
_SICK = ("csv_incomplete_over", "repeat_from")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_OTHERS = ("filtered", "wider", "foreign", "scribbled")


def judge(schedule: Schedule, facts: Facts) -> list[str]:
    """Return what must not have happened, in words; nothing if all is well."""
    return list(_Judge(schedule, facts).verdicts())


class _Judge:
    def __init__(self, schedule: Schedule, facts: Facts) -> None:
        self._schedule = schedule
        self._facts = facts
        self._csv_safe = bool(schedule.export.get("csv_safe"))

    def verdicts(self) -> Iterator[str]:
        earlier: Step | None = None
        for step in self._facts.steps:
            for verdict in self._of_step(step, earlier):
                yield f"{step.name}: {verdict}"
            earlier = step
        for secret in self._facts.secrets:
            if secret in self._facts.logs:
                yield f"the log holds a secret ({secret[:12]}...)"

    def _of_step(self, step: Step, earlier: Step | None) -> Iterator[str]:
        for each in step.tries:
            yield from self._of_try(each)
        if step.name == "before":
            if step.tries[0].fault is not None and not self._may_refuse(step.tries[0].fault, step, None):
                yield f"a calm export failed: {step.tries[0].fault.name}: {step.tries[0].fault.message}"
            return
        yield from self._of_stored(step, earlier)
        if step.name == "disturbed":
            yield from self._of_leftovers(step, earlier)
        else:
            fault = step.tries[0].fault
            if fault is not None and not self._may_refuse(fault, step, earlier):
                yield f"the calm export after it failed: {fault.name}: {fault.message}"
            if fault is None and step.stored.uploads:
                yield f"{len(step.stored.uploads)} uploads are open after a calm success"

    # Errors

    def _of_try(self, each: Try) -> Iterator[str]:
        if each.fault is None:
            return
        kinds = each.fault.kinds
        if "TookTooLongError" in kinds:
            yield f"{each.name} hung"
        elif "Injected" in kinds:
            if not each.disturbed:
                yield f"{each.name} ended with {each.fault.name}, and nothing was raised in it"
        elif "CurationAuditError" not in kinds and "AirflowSkipException" not in kinds:
            yield f"{each.name} failed with {each.fault.name}, which has no name of ours: {each.fault.message[:200]}"
        for secret in self._facts.secrets:
            if secret in each.fault.text:
                yield f"{each.name}'s error holds a secret ({secret[:12]}...)"

    def _may_refuse(self, fault: Fault, step: Step, earlier: Step | None) -> bool:
        """Whether a calm server and a calm S3 leave a reason for the error."""
        schedule = self._schedule
        there = bool(earlier and earlier.stored.data)
        if "ObjectExistsError" in fault.kinds:
            return schedule.export.get("replace") is False and there
        if "ShrinkError" in fault.kinds:
            return not schedule.export.get("allow_shrink") and there and self._holds_other(step, earlier)
        if "ExpiredWindowError" in fault.kinds or "AirflowSkipException" in fault.kinds:
            return schedule.forgotten is not None
        if "NotEntitledError" in fault.kinds:
            return schedule.server.get("entitled") is False
        return any(name in schedule.server for name in _SICK)

    def _holds_other(self, step: Step, earlier: Step | None) -> bool:
        """Whether what is there is something else, or holds what the server no longer has."""
        if self._schedule.before in _OTHERS or (self._schedule.forgotten or 0) > 0:
            return True
        assert earlier is not None
        for key, body in earlier.stored.data.items():
            if self._content(key, body).items - self._expected(step)[0]:
                return True
            if not _manifests_of(earlier, key):
                # An object without a manifest holds who knows what.
                return True
        return False

    # What is stored

    def _of_stored(self, step: Step, earlier: Step | None) -> Iterator[str]:
        stored = step.stored
        if len(stored.data) > 1:
            yield f"there are several objects: {sorted(stored.data)}"
        for each in step.tries:
            if each.result is not None:
                yield from self._of_success(each, step)
        for key, body in stored.data.items():
            if earlier is not None and stored.objects == earlier.stored.objects:
                continue
            before = earlier.stored.data.get(key) if earlier else None
            if body != before and (fault := _unreadable(key, body)):
                yield f"the object cannot be read: {fault}"
                continue
            for manifest in _manifests_of(step, key):
                untouched = earlier is not None and manifest in _manifests_of(earlier, key)
                if untouched and body != before:
                    # Replaced, but killed or failed before its manifest was: the object must be whole nevertheless.
                    if all(each.result is not None for each in step.tries):
                        yield "the manifest is older than its object, though the export succeeded"
                elif not untouched:
                    yield from self._of_manifest(manifest, key, body, step)
            if body != before:
                yield from self._of_content(key, body, step)
                yield from self._never_worse(key, body, before)

    def _of_success(self, each: Try, step: Step) -> Iterator[str]:
        result = each.result
        assert result is not None
        body = step.stored.objects.get(result["key"])
        if body is None:
            yield f"{each.name} succeeded, and its object is not there"
            return
        if result["manifest_key"] not in step.stored.objects:
            yield f"{each.name} succeeded, and its manifest is not there"
        if len([one for one in step.tries if one.result is not None]) > 1:
            # The later one may have replaced the object of the earlier one.
            if hashlib.sha256(body).hexdigest() not in [one.result["sha256"] for one in step.tries if one.result]:
                yield "several tries succeeded, and the object is none of theirs"
            return
        if hashlib.sha256(body).hexdigest() != result["sha256"] or len(body) != result["bytes"]:
            yield f"{each.name} succeeded, and its object has other bytes"
        content = self._content(result["key"], body)
        if result["rows"] != content.rows:
            yield f"{each.name} says that there are {result['rows']} rows, and its object has {content.rows}"

    def _of_manifest(self, manifest: dict[str, Any], key: str, body: bytes, step: Step) -> Iterator[str]:
        content = self._content(key, body)
        dry_run = bool(self._schedule.export.get("dry_run"))
        events = content.rows if dry_run else len(set(content.ids))
        start, end = (START + timedelta(seconds=second) for second in self._schedule.window)
        said = {
            "start": start.strftime(_TIME),
            "end": end.strftime(_TIME),
            "filters": {name: self._schedule.export[name] for name in FILTERS if name in self._schedule.export},
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "events": events,
            "rows": content.rows,
            "stream": "dry_run" if dry_run else "events",
            "format": self._schedule.export["file_format"],
        }
        if content.raw is not None:
            # A Parquet file is sorted by id, where the window's order is that of its slices.
            said |= {"first_id": content.ids[0] if content.ids else None}
            said |= {"last_id": content.ids[-1] if content.ids else None}
            said |= {"content_size": len(content.raw), "content_sha256": hashlib.sha256(content.raw).hexdigest()}
        if not dry_run:
            said["ids_digest"] = ids_digest(content.ids)
        for name, value in said.items():
            if manifest.get(name) != value:
                yield f"the manifest says {name}={manifest.get(name)!r}, and it is {value!r}"
        if sum(manifest["actions"].values()) != events:
            yield f"the manifest's actions {manifest['actions']} do not add up to {events}"
        totals = {len(state.events) for state in step.states}
        counts = (manifest["total_before"], manifest["total_after"])
        if manifest["reconciled"] and (
            None in counts or counts[0] != counts[1] or counts[0] != manifest["events_read"]
        ):
            yield f"the manifest is reconciled with counts of {counts} and {manifest['events_read']} events read"
        if manifest["reconciled"] and self._schedule.server.get("entitled") is not False and counts[0] not in totals:
            yield f"the manifest is reconciled with {counts[0]} events, and the server held {sorted(totals)}"

    def _of_content(self, key: str, body: bytes, step: Step) -> Iterator[str]:
        content = self._content(key, body)
        least, most = self._expected(step)
        items = without_apostrophes(content.items) if self._csv_safe else content.items
        for name, wrong in (("lacks", least - items), ("has too many of", items - most)):
            if wrong:
                yield f"the object {name} {sum(wrong.values())} items, such as {next(iter(wrong))[:160]}"
        if self._csv_safe and any(cell.startswith(FORMULA_STARTS) for cell in content.cells):
            yield "the object has a cell that a spreadsheet takes for a formula"
        # Slices follow each other in time, ids ascend within them; the tenant's ids ascend with time but for late ones.
        late = self._schedule.changes or self._schedule.late
        if not late and content.ids != sorted(content.ids):
            yield "the object's ids do not ascend"

    def _never_worse(self, key: str, body: bytes, before: bytes | None) -> Iterator[str]:
        if before is None or self._schedule.export.get("allow_shrink") or self._schedule.before in _OTHERS:
            return
        gone = self._content(key, before).items - self._content(key, body).items
        if gone:
            yield f"{sum(gone.values())} items that the replaced object held are gone, such as {next(iter(gone))[:160]}"

    def _of_leftovers(self, step: Step, earlier: Step | None) -> Iterator[str]:
        if any(each.killed for each in step.tries):
            return
        # S3 did not answer while the failed try was undone, so that it could not be.
        causes = 1 if any(each.fault and each.fault.by_s3 for each in step.tries) else 0
        failed = [each for each in step.tries if each.fault is not None]
        if len(step.s3_failed) > causes:
            return
        if step.stored.uploads:
            yield f"{len(step.stored.uploads)} uploads are open, and S3 answered"
        if failed and not any(each.result for each in step.tries):
            for key, body in step.stored.data.items():
                if not _manifests_of(step, key) and not (earlier and key in earlier.stored.data):
                    yield f"an object of {len(body)} bytes without a manifest is left, and S3 answered"

    # Reading

    def _content(self, key: str, body: bytes) -> Content:
        # Being unreadable is a verdict of its own.
        return Content(body, Counter(), [], []) if _unreadable(key, body) else content_of(key, body)

    def _expected(self, step: Step) -> tuple[Any, Any]:
        found = [expected(state, self._schedule, PSEUDONYM_KEY) for state in step.states]
        if self._csv_safe:
            found = [without_apostrophes(items) for items in found]
        if self._schedule.server.get("entitled") is False:
            found = [type(items)() for items in found]
        return least_and_most(found)


def _unreadable(key: str, body: bytes) -> str | None:
    """Say why an object cannot be read, in the words of the standard library."""
    try:
        content_of(key, body)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def _manifests_of(step: Step, key: str) -> list[dict[str, Any]]:
    """Return the manifest of an object, if there is one that can be read."""
    found = []
    for body in step.stored.manifests.values():
        try:
            manifest = json.loads(body)
        except ValueError:
            continue
        if isinstance(manifest, dict) and "manifest_version" in manifest:
            found.append(manifest)
    return found
