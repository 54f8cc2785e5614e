"""Answers that are bombs: each one ends as a named error, within a bound on memory and time."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import AnswerTooLargeError, CutAnswerError, RequestError
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.pages.csv_page import AnswerEnd, csv_page
from airflow_provider_curation.audit.pages.envelope import json_envelope
from airflow_provider_curation.audit.pages.json_page import json_page
from airflow_provider_curation.audit.window import Window
from tests.support.effort import effort

WINDOW = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
QUERY = Query(WINDOW, 2000)
CSV = Query(WINDOW, 500_000, format="csv")
HEADER = b"id,created_at,action,policy_id,reason\n"
TIME = b"2026-03-09T00:00:00Z"
MIB = 1 << 20
SMALL = Limits(max_json_bytes=20_000, max_json_objects=50, max_line_bytes=2_000, max_nesting=20)


def envelope(event: str, **counts: int) -> bytes:
    known = f'"id":1,"created_at":"{TIME.decode()}","action":"blocked"'
    return f'{{"data":[{{{known},{event}}}],"meta":{json.dumps(counts)}}}'.encode()


def zipped(parts: Iterator[bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("audit_packages.csv", "w", force_zip64=True) as member,
    ):
        for part in parts:
            member.write(part)
    return file


# Every limit, by a small answer


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        (envelope('"reason":"' + "x" * 20_000 + '"'), "max_json_bytes=20000"),
        (envelope('"policies":[' + ",".join(["{}"] * 60) + "]"), "max_json_objects=50"),
        (envelope('"reason":"' + "x" * 2_000 + '"'), "max_line_bytes=2000"),
        (envelope('"new":' + "[" * 20 + "]" * 20), "max_nesting=20"),
        (envelope('"new":' + '{"a":' * 20 + "1" + "}" * 20), "max_nesting=20"),
        (envelope('"new":' + "[" * 5_000 + "]" * 5_000), "max_nesting=20"),
    ],
)
@pytest.mark.parametrize("space", [b"", b"\n"])
def test_an_error_names_the_limit_of_json(text: bytes, extra: str, space: bytes) -> None:
    with pytest.raises(AnswerTooLargeError, match=f"the connection's extra {extra} allows"):
        json_page(QUERY, space + text, limits=SMALL)


def test_nesting_counts_brackets_outside_of_strings() -> None:
    wide = '"new":[' + ",".join(["[]"] * 60) + "]"
    assert json_page(QUERY, envelope(wide), limits=SMALL).count == 1
    assert json_page(QUERY, envelope('"new":"' + "[" * 60 + '\\""'), limits=SMALL).count == 1
    assert json_page(QUERY, envelope('"new":' + "[" * 19 + "]" * 19), limits=SMALL).count == 1


@pytest.mark.parametrize(
    "content",
    [
        HEADER.replace(b"reason", b"x" * 3_000),
        HEADER + b"1," + TIME + b",blocked,5," + b"x" * 3_000,
        HEADER + b"1," + TIME + b',blocked,5,"' + b"\n" * 3_000 + b'"\n',
        HEADER + b"1," + TIME + b",blocked,5," + b'"x"' * 1_000 + b"\n",
        HEADER + b"".join(b"1,%s,blocked,%d,x\n" % (TIME, number) for number in range(100)),
    ],
    ids=["header", "row", "lines of a cell", "quotes", "rows of one event"],
)
def test_an_error_names_the_limit_of_csv(content: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        csv_page(CSV, zipped(iter([content])), limits=SMALL)
    if b'"x"' not in content:
        assert isinstance(caught.value, AnswerTooLargeError)
        assert "max_line_bytes=2000" in str(caught.value)


def test_an_event_as_long_as_the_limit_is_whole() -> None:
    rows = [b"1,%s,blocked,%d,x\n" % (TIME, number) for number in range(10, 60)]
    limits = Limits(max_line_bytes=sum(map(len, rows)))
    assert csv_page(CSV, zipped(iter([HEADER, *rows])), end=AnswerEnd(1, 50), limits=limits).tally.rows == 50


def test_a_declared_length_is_held_against_the_limit_before_it_is_read() -> None:
    with pytest.raises(AnswerTooLargeError, match="a CSV of 138 bytes, more than the connection's extra max_answer"):
        csv_page(CSV, zipped(iter([HEADER, b"x" * 100])), limits=Limits(max_answer_bytes=137))


@pytest.mark.parametrize("difference", [-1, 1, -20, 1000])
def test_a_length_that_is_not_the_declared_one_is_a_cut_answer(difference: int) -> None:
    """The CRC alone would not show it: zipfile stops at the declared length."""
    content = HEADER + b"1,%s,blocked,,x\n" % TIME
    whole = bytearray(zipped(iter([content])).getvalue())
    place = whole.index(b"PK\x01\x02")
    whole[place + 24 : place + 28] = struct.pack("<I", len(content) + difference)
    with pytest.raises(CutAnswerError):
        csv_page(CSV, io.BytesIO(bytes(whole)))


# Memory and time, by large answers; each in a process of its own


def csv_of(part: bytes, number: int) -> Callable[[], object]:
    return lambda: csv_page(CSV, zipped(iter([HEADER, *[part] * number])))


def numbered(number: int) -> Iterator[bytes]:
    yield HEADER
    for start in range(0, number, 10_000):
        yield b"".join(b"%d,%s,a%d,,%s\n" % (each, TIME, each, b"y" * 200) for each in range(start, start + 10_000))


def members(number: int) -> Callable[[], object]:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number & 0xFFFF, number & 0xFFFF, len(entry) * number, 0, 0)
    return lambda: csv_page(CSV, io.BytesIO(b"PK" + entry * number + end))


def whole(answer: bytes) -> object:
    return json_envelope(QUERY, answer, Limits())


def named(number: int) -> bytes:
    events = (b"{" + b",".join(b'"%d-%d":"%d"' % (event, each, each) for each in range(number // 10)) + b"}"
              for event in range(10))  # fmt: skip
    return b'{"data":[' + b",".join(events) + b'],"meta":{}}'


#: MiB; more than the bound on memory.
SIZE = effort(80, 200)
LINE = 8 * MIB - 200
BOMBS: dict[str, Callable[[], object]] = {
    "one cell": csv_of(b"x" * MIB, SIZE),
    "one quoted cell": lambda: csv_page(CSV, zipped(iter([HEADER + b'"', *[b"x\n" * (MIB // 2)] * SIZE]))),
    "one header": lambda: csv_page(CSV, zipped(iter([b"id", *[b",x" * (MIB // 2)] * SIZE]))),
    "blank lines": csv_of(b"\n" * MIB, SIZE),
    "rows of one event": csv_of(b"1,%s,a,,x\n" % TIME * 10_000, 200),
    "quoted cells of one row": lambda: csv_page(CSV, zipped(iter([HEADER, *[b'"\n",' * (MIB // 4)] * SIZE]))),
    "small rows": lambda: csv_page(CSV, zipped(iter([b"id\n", *[b"1\n" * (MIB // 2)] * 100]))),
    "different names": lambda: csv_page(CSV, zipped(numbered(300_000))),
    "members": members(200_000),
    "beyond the limit": csv_of(b"\n" * MIB, 257),
    "JSON numbers": lambda: json_page(QUERY, b'{"data":[' + b"1," * (LINE // 2) + b'1],"meta":{}}'),
    "JSON lists": lambda: json_page(QUERY, b"[" + b"[]," * (LINE // 3) + b"[]]"),
    "JSON objects": lambda: json_page(QUERY, b'{"data":[' + b"{}," * (LINE // 3) + b'{}],"meta":{}}'),
    "JSON policies": lambda: json_page(QUERY, envelope('"policies":[' + "{}," * 99_000 + "{}]")),
    "JSON names": lambda: json_page(QUERY, envelope('"action":"\U0001f600' + "x" * LINE + '"')),
    "JSON nesting": lambda: json_page(QUERY, b"[" * (LINE // 2) + b"]" * (LINE // 2)),
    "JSON meta": lambda: json_page(QUERY, b'{"data":null,"meta":{"a":[' + b"1," * (LINE // 2) + b"1]}}"),
    "JSON members": lambda: json_page(QUERY, b"{" + b'"a":1,' * (LINE // 6) + b'"data":null,"meta":{}}'),
    "JSON lines": lambda: json_page(QUERY, b"\n" * LINE + b'{"data":null,"meta":{}}'),
    "envelope of lists": lambda: whole(b'{"data":[{"a":[' + b"[]," * (LINE // 3) + b'[]]}],"meta":{}}'),
    "envelope of few lists": lambda: whole(b'{"data":[{"a":[' + b"[[]]," * 66_000 + b'[]]}],"meta":{}}'),
    "envelope of events": lambda: whole(b'{"data":[' + b"1," * (LINE // 2) + b'1],"meta":{}}'),
    "envelope of names": lambda: whole(named(190_000)),
    "envelope of long texts": lambda: whole(
        b'{"data":[' + b",".join(['{"a":"😀'.encode() + b"x" * (MIB - 99) + b'"}'] * 7) + b'],"meta":{}}'
    ),
    "envelope of meta": lambda: whole(b'{"data":null,"meta":{"a":"' + "😀".encode() + b"x" * LINE + b'"}}'),
    "envelope of nesting": lambda: whole(b"[" * (LINE // 2) + b"]" * (LINE // 2)),
    "JSON digits": lambda: json_page(QUERY, b'{"data":[{"id":' + b"1" * LINE + b"}]}"),
}


def main(name: str) -> None:
    import time

    answer = BOMBS[name]
    # What makes the answer costs memory too, which must not count: the answer is made first, and read afterwards.
    made: list[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]] = []
    for each in ("csv_page", "json_page", "json_envelope"):
        globals()[each] = partial(lambda reader, *given, **named: made.append((reader, given, named)), globals()[each])
    answer()
    [(read, given, named)] = made
    # From here on, VmHWM starts again at what is resident now.
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    now = peak()
    start = time.process_time()
    try:
        read(*given, **named)
        result = "page"
    except RequestError as error:
        result = type(error).__name__
    print(json.dumps([result, (peak() - now) / 1024, time.process_time() - start]))


def peak() -> int:
    """The highest resident memory in KiB since it was last reset."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_bounded_memory_and_time(name: str) -> None:
    code = f"from {__name__} import main; main({name!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    result, mebibytes, seconds = json.loads(ran.stdout)
    assert result in ("page", "AnswerTooLargeError", "UnexpectedAnswerError", "CutAnswerError", "RowsShiftedError")
    assert mebibytes < 64
    assert seconds < 30
