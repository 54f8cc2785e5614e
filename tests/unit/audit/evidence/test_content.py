"""Reading an object again: everything that its manifest claims is compared, in every format."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import zstandard

from airflow_provider_curation.audit.evidence.content import read_object
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, START

WINDOW = Window(START, START + DAY)
Event = dict[str, Any]


def zipped(content: bytes, members: int = 1) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"{number}.csv", content)
    return body.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda content: content,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "zip": zipped,
}


def events(number: int = 5) -> list[Event]:
    return [
        {"id": 10 + each, "created_at": f"2025-01-01T00:00:0{each}Z", "action": ["blocked", "approved"][each % 2]}
        for each in range(number)
    ]


def jsonl(made: list[Event]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in made)


def csv(made: list[Event]) -> bytes:
    rows = ["action,id,name,created_at"]
    rows += [f'{each["action"]},{each["id"]},"a, ""b""\n",{each["created_at"]}' for each in made]
    return "\r\n".join(["\ufeff" + rows[0], *rows[1:], ""]).encode()


def facts(made: list[Event], content: bytes, form: str = "jsonl", compression: str = "gzip") -> dict[str, Any]:
    """What a manifest claims of events that are all different."""
    actions = {"blocked": 0, "approved": 0}
    for each in made:
        actions[each["action"]] += 1
    return {
        "format": form,
        "compression": compression,
        "stream": "events",
        "content_size": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "events": len(made),
        "rows": len(made),
        "first_id": made[0]["id"] if made else None,
        "last_id": made[-1]["id"] if made else None,
        "actions": {name: count for name, count in actions.items() if count},
        "ids_digest": str(IdsDigest.of([each["id"] for each in made])),
    }


def pieces(body: bytes) -> Iterator[bytes]:
    yield from (body[place : place + 7] for place in range(0, len(body), 7))


def faults(content: bytes, claimed: dict[str, Any]) -> str:
    body = PACK[claimed["compression"]](content)
    read = read_object(pieces(body), claimed, WINDOW)
    assert (read.size, read.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    return "; ".join(read.faults)


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_is_as_claimed_has_no_fault(form: str, compression: str, number: int) -> None:
    made = events(number)
    content = jsonl(made) if form == "jsonl" else csv(made)
    assert faults(content, facts(made, content, form, compression)) == ""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("content_size", 10_000),
        ("content_sha256", "0" * 64),
        ("events", 4),
        ("rows", 6),
        ("rows", 5.0),
        ("first_id", 9),
        ("last_id", None),
        ("actions", {"blocked": 5}),
        ("ids_digest", "5:0:0:0"),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_each_claim_is_compared(form: str, name: str, wrong: Any) -> None:
    made = events()
    content = jsonl(made) if form == "jsonl" else csv(made)
    said = faults(content, {**facts(made, content, form), name: wrong})
    assert said.startswith(f"its {name} is ")
    assert said.endswith(f"the manifest's {wrong!r}")
    missing = facts(made, content, form)
    del missing[name]
    assert faults(content, missing)


def test_events_outside_of_the_window_and_out_of_order() -> None:
    def said(*changes: tuple[int, str, Any], stream: str = "events", form: str = "jsonl") -> str:
        made = events()
        for place, name, value in changes:
            made[place][name] = value
        content = jsonl(made) if form == "jsonl" else csv(made)
        return faults(content, {**facts(made, content, form), "stream": stream, "events": 5})

    for form in ("jsonl", "csv"):
        late = said((4, "created_at", "2025-01-02T00:00:00Z"), form=form)
        assert "event 14 is of 2025-01-02T00:00:00Z, outside of the manifest's window" in late
        assert "outside" in said((0, "created_at", "2024-12-31T23:59:59.999Z"), form=form)
        assert "outside" in said((4, "created_at", "2025-01-02T00:30:00+00:29"), form=form)
        assert said((4, "created_at", "2025-01-02T00:30:00.5+01:00"), form=form) == ""
        assert "event 10 is not in ascending order of id" in said(
            (3, "id", 10), (3, "created_at", "2025-01-01T00:00:02Z"), form=form
        )
        # A window is read in parts, in order of time: ids may start over with a later part.
        assert "ascending" not in said((3, "id", 3), (4, "id", 4), form=form)
        assert "ascending" in said((3, "id", 3), (4, "id", 4), (4, "created_at", "2025-01-01T00:00:01Z"), form=form)
    assert "event 11 is in it more than once" in said((2, "id", 11))
    # Dry-run events of one id differ in their policy.
    assert said((2, "id", 11), stream="dry_run") == ""
    again = [(2, "id", 11), (2, "created_at", "2025-01-01T00:00:01Z"), (2, "action", "approved")]
    assert "event 11 is in it more than once" in said(*again, stream="dry_run")


def test_an_event_of_several_policies_has_several_csv_rows() -> None:
    made = events(3)
    content = csv([made[0], made[1], made[1], made[2]])
    assert faults(content, {**facts(made, content, "csv"), "rows": 4}) == ""


@pytest.mark.parametrize(
    ("form", "content", "named"),
    [
        ("jsonl", b"\n", "its line 1 is not an event"),
        ("jsonl", b"[" * 100_000, "its line 1 is not an event"),
        ("jsonl", jsonl(events())[:-20], "its line 5 is not an event"),
        ("jsonl", b"\xff\xfe{", "is not an event"),
        ("csv", b"", "no column named id"),
        ("csv", b"name\r\nx\r\n", "no column named id"),
        ("csv", csv(events()) + b"1,2\r\n", "its row 6 has 2 cells instead of 4"),
        ("csv", b"id\r\nx\r\n", "cannot be unpacked and read (ValueError)"),
    ],
)
def test_content_that_is_no_events(form: str, content: bytes, named: str) -> None:
    assert named in faults(content, facts(events(), content, form))


def test_bytes_that_do_not_unpack() -> None:
    content = jsonl(events())
    for compression, pack in PACK.items():
        claimed = facts(events(), content, "jsonl", compression)
        for body in (pack(content)[:-9], b"", b"x" * 500, pack(content)[:5] + bytes(100)):
            assert read_object(pieces(body), claimed, WINDOW).faults, (compression, body)
    several = read_object(pieces(zipped(content, 2)), facts(events(), content, "jsonl", "zip"), WINDOW)
    assert several.faults == ("its zip has 2 members instead of one",)
    unknown = read_object(pieces(content), facts(events(), content, "jsonl", "bzip2"), WINDOW)
    assert unknown.faults == ("the manifest does not name a known compression",)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zip"])
def test_a_bomb_is_unpacked_as_far_as_the_manifest_claims(compression: str) -> None:
    body = PACK[compression](bytes(64 << 20))
    claimed = {**facts([], b""), "compression": compression, "content_size": 1000}
    read = read_object(iter([body]), claimed, WINDOW)
    assert read.faults == ("its content is longer than the 1,000 bytes that the manifest claims",)


def test_a_line_is_read_within_bounds() -> None:
    content = b'{"id": 1, "x": "' + bytes(17 << 20)
    read = read_object(iter([content]), facts([], content, "jsonl", "none"), WINDOW)
    assert read.faults == ("its line 1 is longer than 16,777,216 bytes",)


def test_a_format_that_cannot_be_read_here_is_hashed() -> None:
    read = read_object(iter([b"Obj1"]), {"format": "avro"}, WINDOW)
    assert (read.size, read.faults) == (4, ())


def test_a_store_that_fails_is_no_finding() -> None:
    def broken() -> Iterator[bytes]:
        yield gzip.compress(jsonl(events()))[:30]
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        read_object(broken(), facts(events(), jsonl(events())), Window(START, START + timedelta(1)))
