"""The judge finds each wrong in a run that was right before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.facts import Facts, Fault, State, Step, Stored, Try
from tests.chaos.judge import judge
from tests.chaos.reading import ids_digest
from tests.chaos.schedule import Schedule

KEY, MANIFEST = "curation/export.jsonl", "curation/_manifests/export.jsonl.json"
SCHEDULE = Schedule(
    seed=1,
    server={"seed": 1, "events": 3},
    client={"page_size": 8, "concurrency": 1, "slice_rows": 25},
    export={"file_format": "jsonl", "compression": "none"},
    window=[0, 60],
)


def events(*ids: int) -> list[dict[str, Any]]:
    same = {"action": "blocked", "package_type": "npm", "curated_repository_name": "npm-remote", "policies": None}
    return [{"id": id_, **same} for id_ in ids]


def body_of(*ids: int) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events(*ids))


def manifest_of(body: bytes, *ids: int, **changed: Any) -> bytes:
    sha256 = hashlib.sha256(body).hexdigest()
    facts: dict[str, Any] = {
        "manifest_version": 1,
        "start": "2025-11-03T00:00:00Z",
        "end": "2025-11-03T00:01:00Z",
        "filters": {},
        "ids_digest": f"{len(set(ids))}:"
        + ":".join(f"{sum(each**power for each in set(ids)):x}" for power in (1, 2, 3)),
        "size": len(body),
        "sha256": sha256,
        "content_size": len(body),
        "content_sha256": sha256,
        "events": len(ids),
        "rows": len(ids),
        "events_read": len(ids),
        "first_id": ids[0],
        "last_id": ids[-1],
        "stream": "events",
        "format": "jsonl",
        "actions": {"blocked": len(ids)},
        "total_before": len(ids),
        "total_after": len(ids),
        "reconciled": True,
    }
    return json.dumps({**facts, **changed}).encode()


def result_of(body: bytes, rows: int) -> dict[str, Any]:
    sha256 = hashlib.sha256(body).hexdigest()
    return {"key": KEY, "manifest_key": MANIFEST, "sha256": sha256, "bytes": len(body), "rows": rows, "uploaded": True}


def exported(*ids: int, held: tuple[int, ...] | None = None, name: str = "disturbed", **changed: Any) -> Step:
    """A step that has exported these events from a server that held the same ones, or others."""
    body = body_of(*ids)
    return Step(
        name,
        tries=[Try("try", result=result_of(body, len(ids)))],
        states=[State(events(*(ids if held is None else held)), [])],
        stored=Stored({KEY: body, MANIFEST: manifest_of(body, *ids, **changed)}, []),
    )


def failed(kinds: tuple[str, ...], text: str = "", by_s3: bool = False, **stored: bytes) -> Step:
    fault = Fault(kinds, "it failed", text, by_s3)
    return Step(
        "disturbed",
        tries=[Try("try", fault=fault)],
        states=[State(events(1, 2, 3), [])],
        stored=Stored({KEY if name == "object" else MANIFEST: body for name, body in stored.items()}, []),
    )


def verdicts(*steps: Step, logs: str = "", schedule: Schedule = SCHEDULE) -> str:
    return "; ".join(judge(schedule, Facts(list(steps), logs, ["made-up-token"])))


NAMED = ("IncompleteExportError", "CurationAuditError", "Exception")


@pytest.mark.parametrize(
    "step",
    [
        exported(1, 2, 3),
        failed(NAMED),
        replace(failed(NAMED), s3_failed=[1], stored=Stored({KEY: body_of(1, 2, 3)}, [])),
    ],
    ids=["exported", "failed", "failed while S3 did, too"],
)
def test_what_may_happen(step: Step) -> None:
    assert verdicts(step) == ""


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        (exported(1, 3, held=(1, 2, 3)), "lacks 1 items"),
        (exported(1, 2, 3, held=(1, 2)), "has too many of 1 items"),
        (exported(1, 2, 2, held=(1, 2)), "has too many of 1 items"),
        (exported(2, 1), "do not ascend"),
        (exported(1, 2, size=5), "the manifest says size=5"),
        (exported(1, 2, first_id=2), "the manifest says first_id=2"),
        (exported(1, 2, end="2025-11-03T00:02:00Z"), "the manifest says end="),
        (exported(1, 2, filters={"actions": ["blocked"]}), "the manifest says filters="),
        (exported(1, 2, ids_digest="2:4:6:a"), "the manifest says ids_digest="),
        (exported(1, 2, actions={"blocked": 1}), "do not add up"),
        (exported(1, 2, total_after=3), "reconciled with counts"),
        (exported(1, 2, total_before=None), "reconciled with counts"),
        (failed(("KeyError", "Exception")), "no name of ours"),
        (failed(("TookTooLongError", "BaseException")), "hung"),
        (failed(("Injected", "BaseException")), "nothing was raised in it"),
        (failed(NAMED, text="token made-up-token"), "holds a secret"),
        (failed(NAMED, object=b"half"), "without a manifest is left"),
        (replace(failed(NAMED), stored=Stored({}, ["export"])), "uploads are open"),
        (replace(failed(NAMED, by_s3=True), s3_failed=[3], stored=Stored({}, ["export"])), "uploads are open"),
        (replace(exported(1), stored=Stored({}, [])), "its object is not there"),
        (replace(exported(1), stored=Stored({KEY: b"{\xff}\n", MANIFEST: b"{}"}, [])), "the object cannot be read"),
        (replace(exported(1), stored=Stored({KEY: body_of(1)}, [])), "its manifest is not there"),
        (replace(exported(1), stored=Stored({KEY: body_of(2), MANIFEST: b""}, [])), "other bytes"),
    ],
)
def test_what_must_not_happen(step: Step, verdict: str) -> None:
    assert verdict in verdicts(step)


def test_a_digest_of_ids_is_their_number_and_the_sums_of_their_powers() -> None:
    assert ids_digest([1, 2, 3]) == "3:6:e:24"


def test_one_of_two_tries_that_succeeded_has_its_object() -> None:
    step = exported(1, 2, held=(1, 2))
    step.tries.append(Try("other", result=result_of(b"other bytes", 2)))
    assert verdicts(step) == ""
    step.tries[0] = Try("try", result=result_of(b"bytes of a third one", 2))
    assert "the object is none of theirs" in verdicts(step)


def test_a_secret_in_the_log_is_found() -> None:
    assert "the log holds a secret" in verdicts(exported(1), logs="Authorization: made-up-token")


def test_changes_while_reading_allow_whatever_was_there_at_some_moment() -> None:
    for ids in [(1, 2), (1, 2, 3), (2, 3), (2,)]:
        step = exported(*ids)
        step.states = [
            State(events(1, 2), []),
            State(events(2), []),
            State(events(2, 3), []),
            State(events(1, 2, 3), []),
        ]
        assert verdicts(step) == ""
    step = exported(1)
    step.states = [State(events(1, 2), []), State(events(2), [])]
    assert "lacks 1 items" in verdicts(step)


def test_an_object_is_never_replaced_by_one_that_lacks_its_events() -> None:
    before = exported(1, 2, 3, name="before")
    after = exported(1, 2, 4)
    schedule = replace(SCHEDULE, before="same")
    assert "are gone" in verdicts(before, after, schedule=schedule)
    assert verdicts(before, after, schedule=replace(schedule, export={**SCHEDULE.export, "allow_shrink": True})) == ""


def test_a_failure_between_object_and_manifest_may_leave_the_older_manifest() -> None:
    before, after = exported(1, 2, name="before"), exported(1, 2, 3)
    schedule = replace(SCHEDULE, before="same")
    after.stored = Stored({KEY: body_of(1, 2, 3), MANIFEST: before.stored.objects[MANIFEST]}, [])
    assert "the manifest is older than its object" in verdicts(before, after, schedule=schedule)
    after.tries, after.s3_failed = failed(NAMED).tries, [6]
    assert verdicts(before, after, schedule=schedule) == ""
    after.states = [State(events(1, 2), [])]
    assert "has too many of 1 items" in verdicts(before, after, schedule=schedule)


def test_a_calm_success_leaves_no_upload_open() -> None:
    calm = replace(exported(1), name="again")
    assert verdicts(exported(1), calm) == ""
    calm.stored = replace(calm.stored, uploads=["_manifests/export.json.claims/try"])
    assert "1 uploads are open after a calm success" in verdicts(exported(1), calm)


AGAIN: list[tuple[tuple[str, ...], Callable[[Schedule], Schedule] | None]] = [
    (("ShrinkError", *NAMED), None),
    (("ObjectExistsError", *NAMED), lambda schedule: replace(schedule, export={**schedule.export, "replace": False})),
    (("ExpiredWindowError", *NAMED), lambda schedule: replace(schedule, forgotten=5)),
    (("UnexpectedAnswerError", *NAMED), lambda schedule: replace(schedule, server={"repeat_from": 3})),
]


@pytest.mark.parametrize(("kinds", "excuse"), AGAIN, ids=[kinds[0] for kinds, _ in AGAIN])
def test_a_calm_export_fails_only_for_a_reason(
    kinds: tuple[str, ...], excuse: Callable[[Schedule], Schedule] | None
) -> None:
    before = exported(1, 2, 3)
    after = replace(failed(kinds), name="again", stored=before.stored)
    assert "the calm export after it failed" in verdicts(before, after)
    if excuse is not None:
        assert verdicts(before, after, schedule=excuse(SCHEDULE)) == ""
    else:
        after.states = [State(events(1, 2), [])]
        assert verdicts(before, after) == ""
