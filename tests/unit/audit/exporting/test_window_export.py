"""A whole export over a server in memory: the object's bytes, the facts about them, and that a fault completes none."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import IO, Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    ExpiredWindowError,
    IncompleteCsvError,
    IncompleteExportError,
    InvalidArgumentError,
    NotEntitledError,
    RowLimitError,
    ServerFaultError,
    ShrinkError,
    StoppedError,
    UnexpectedAnswerError,
    WindowTooWideError,
)
from airflow_provider_curation.audit.exporting.window_export import (
    COMPRESSIONS,
    FileFormat,
    WindowExport,
    export_until_whole,
)
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.window import Window

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DAY = Window.parse("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")
FORTNIGHT = Window.parse("2026-03-01T00:00:00Z", "2026-03-15T00:00:00Z")
COLUMNS = [
    "id",
    "created_at",
    "action",
    "package_type",
    "package_name",
    "curated_repo_name",
    "policy_id",
    "policy_name",
]

_T = TypeVar("_T")
Event = dict[str, Any]


class Unhurried(threading.Event):
    """Lets a reader that would wait go on at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def event(number: int, policies: int = 0, action: str | None = None, **fields: Any) -> Event:
    return {
        "id": number,
        "created_at": f"2026-03-09T{number % 24:02}:51:03Z",
        "action": action or ("blocked" if policies else "approved"),
        "package_type": "npm",
        "package_name": 'évil, "pkg"\u2028' if number % 3 == 0 else "chokidar",
        "curated_repository_name": "acme-npm-remote",
        "username": "dev1@acme.example",
        "policies": [
            {"policy_id": place, "policy_name": 'malicious, "hard"\nblock', "dry_run": False}
            for place in range(policies)
        ]
        or None,
        **fields,
    }


def day_of(number: int, policies: int = 1) -> list[Event]:
    """Events whose times ascend with their ids."""
    return [
        event(place, place % (policies + 1), created_at=f"2026-03-09T{place * 24 // number:02}:{place % 60:02}:00Z")
        for place in range(number)
    ]


class Client:
    """Answers queries from a list, as the client does: bytes for the decoder, or an error.

    :param rows: events that a CSV answer holds at the most; more are refused with their number.
    :param cap: rows of policies that a CSV answer holds at the most: the last event may be cut.
    :param counts_rows: ``num_of_rows`` is a number of CSV rows, not of events.
    :param most: events of a window that fit into a CSV answer.
    """

    def __init__(
        self,
        events: Iterable[Event] = (),
        *,
        entitled: bool | None = True,
        rows: int = 500_000,
        cap: int | None = None,
        counts_rows: bool = False,
        most: int | None = None,
        bom: str = "",
        line_break: str = "\n",
        ended: bool = True,
        columns: list[str] = COLUMNS,
        pretty: bool = False,
    ) -> None:
        self.events = sorted(events, key=lambda each: each["id"])
        self.throttled = False
        self.queries: list[Query] = []
        self.before: Callable[[Query], None] = lambda query: None
        self._entitled = entitled
        self._rows = rows
        self._cap = cap
        self._counts_rows = counts_rows
        self._most = most
        self._bom = bom
        self._line_break = line_break
        self._ended = ended
        self._columns = columns
        self._pretty = pretty

    def entitled(self) -> bool | None:
        return self._entitled

    def _within(self, query: Query) -> list[Event]:
        self.queries.append(query)
        self.before(query)
        if query.window.width.total_seconds() > 168 * 3600:
            raise WindowTooWideError(query.asked, "400")
        params = query.params()
        start, end = params["created_at_start"], params["created_at_end"]
        return [each for each in self.events if start <= each["created_at"] < end]

    def read_json(self, query: Query, decode: Callable[[bytes], _T], stop: threading.Event | None = None) -> _T:
        within = self._within(query)
        ordered = within if query.direction == "asc" else within[::-1]
        data = ordered[query.offset : query.offset + query.num_of_rows]
        meta = {"total_count": len(within)} if query.include_total else {}
        return decode(json.dumps({"data": data or None, "meta": meta}, indent=1 if self._pretty else None).encode())

    def read_zip(self, query: Query, decode: Callable[[IO[bytes]], _T], stop: threading.Event | None = None) -> _T:
        within = self._within(query)
        if query.num_of_rows > self._rows:
            error = RowLimitError(query.asked, "400")
            error.limit = self._rows
            raise error
        rows = [row for each in within[query.offset : query.offset + query.num_of_rows] for row in rows_of(each)]
        member = "audit_packages.csv"
        if self._most is not None and len(within) > self._most:
            member = "audit_packages_incomplete.csv"
        cap = min(query.num_of_rows if self._counts_rows else len(rows), len(rows) if self._cap is None else self._cap)
        return decode(self.zipped(rows[:cap], member))

    def content(self, rows: list[list[str]]) -> bytes:
        """Return the CSV that one answer with these rows would hold, last line break included."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=self._line_break)
        writer.writerow(self._columns)
        places = [COLUMNS.index(name) for name in self._columns]
        writer.writerows([row[place] for place in places] for row in rows)
        return (self._bom + text.getvalue()).encode()

    def zipped(self, rows: list[list[str]], member: str) -> IO[bytes]:
        content = self.content(rows)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content if self._ended else content.removesuffix(self._line_break.encode()))
        return file


def rows_of(each: Event) -> list[list[str]]:
    policies = each["policies"] or [{"policy_id": "", "policy_name": ""}]
    about = [each["id"], each["created_at"], each["action"], each["package_type"], each["package_name"]]
    about.append(each["curated_repository_name"])
    return [[str(cell) for cell in [*about, policy["policy_id"], policy["policy_name"]]] for policy in policies]


def jsonl(events: Iterable[Event]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


def make(
    client: Client, window: Window = DAY, file_format: str = "jsonl", compression: str | None = None, **options: Any
) -> WindowExport:
    options = {"stop": Unhurried(), **options}
    return WindowExport(client, window, FileFormat.of(file_format, compression), **options)  # type: ignore[arg-type]


def read(export: WindowExport) -> bytes:
    return export.open().read()


def unpacked(whole: bytes, compression: str, member: str = "audit_packages.jsonl") -> bytes:
    if compression == "gzip":
        return gzip.decompress(whole)
    if compression == "zip":
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            assert archive.namelist() == [member]
            return archive.read(member)
    if compression == "zstd":
        return bytes(pytest.importorskip("zstandard").ZstdDecompressor().stream_reader(whole).read())
    return whole


def unzipped(whole: bytes) -> bytes:
    return unpacked(whole, "zip", "audit_packages.csv")


# File formats


@pytest.mark.parametrize(
    ("file_format", "compression", "suffix"),
    [
        ("jsonl", None, ".jsonl.gz"),
        ("jsonl", "gzip", ".jsonl.gz"),
        ("jsonl", "zip", ".jsonl.zip"),
        ("jsonl", "zstd", ".jsonl.zst"),
        ("jsonl", "none", ".jsonl"),
        ("csv", None, ".csv.zip"),
        ("csv", "zip", ".csv.zip"),
    ],
)
def test_formats_have_their_suffix(file_format: str, compression: str | None, suffix: str) -> None:
    assert FileFormat.of(file_format, compression).suffix == suffix


@pytest.mark.parametrize(
    ("file_format", "compression", "named"),
    [
        ("parquet", None, "file_format='parquet'"),
        ("JSONL", None, "file_format='JSONL'"),
        ("jsonl", "brotli", "compression='brotli'"),
        ("jsonl", "", "compression=''"),
        ("csv", "gzip", "compression='gzip' does not go with file_format='csv'"),
        ("csv", "none", "compression='none'"),
    ],
)
def test_a_format_that_does_not_exist_is_refused_by_name(file_format: str, compression: str | None, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{named}"):
        FileFormat.of(file_format, compression)


# JSONL


@pytest.mark.parametrize("compression", COMPRESSIONS["jsonl"])
def test_jsonl_holds_every_event_as_the_server_wrote_it(compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard")
    events = [event(number, number % 3) for number in range(50)]
    export = make(Client(events), compression=compression, page_size=7)
    whole = read(export)

    content = unpacked(whole, compression)
    assert content == jsonl(events)
    assert (export.content.bytes, export.content.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (export.object.bytes, export.object.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert export.reader.reconciled
    assert (export.tally.read, export.tally.kept, export.tally.rows) == (50, 50, 50)
    assert export.tally.actions == {"blocked": 33, "approved": 17}


@settings(UNHURRIED, max_examples=25)
@given(st.integers(0, 150), st.integers(1, 40), st.integers(1, 8), st.sampled_from(["gzip", "zip"]))
def test_the_object_is_the_same_whatever_the_pages(
    number: int, page_size: int, concurrency: int, compression: str
) -> None:
    events = day_of(number)
    one = read(make(Client(events), compression=compression))
    other = read(make(Client(events), compression=compression, page_size=page_size, concurrency=concurrency))
    assert one == other
    assert unpacked(one, compression) == jsonl(events)


@pytest.mark.parametrize("page_size", [1, 2, 3])
def test_the_smallest_pages_work(page_size: int) -> None:
    events = day_of(20)
    assert read(make(Client(events), compression="none", page_size=page_size)) == jsonl(events)


def test_filtered_lines_are_whole_and_what_was_read_is_counted() -> None:
    events = [event(number, number % 2) for number in range(40)]
    export = make(Client(events), compression="none", wanted=EventFilter.of(actions=["blocked"]), page_size=10)
    assert read(export) == jsonl(each for each in events if each["action"] == "blocked")
    assert (export.tally.read, export.tally.kept) == (40, 20)
    assert export.reader.reconciled


def test_an_empty_window_is_an_empty_file() -> None:
    export = make(Client())
    assert gzip.decompress(read(export)) == b""
    assert export.content.bytes == 0
    assert (export.reader.total_before, export.reader.total_after) == (0, 0)


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_an_empty_window_of_a_server_that_is_not_entitled_is_an_error(file_format: str) -> None:
    with pytest.raises(NotEntitledError):
        read(make(Client(entitled=False), file_format=file_format))


# CSV


dialects: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "bom": st.sampled_from(["", "\ufeff"]),
        "line_break": st.sampled_from(["\n", "\r\n"]),
        "ended": st.booleans(),
        "columns": st.permutations(COLUMNS),
    }
)


@settings(UNHURRIED, max_examples=50)
@given(
    st.integers(0, 60),
    st.integers(0, 3),
    dialects,
    st.integers(3, 70),
    st.integers(1, 4),
    st.none() | st.integers(6, 70),
)
def test_csv_is_one_zip_with_one_header_whatever_the_answers(
    number: int, policies: int, dialect: dict[str, Any], rows: int, concurrency: int, most: int | None
) -> None:
    events = day_of(number, policies)
    client = Client(events, rows=rows, most=most, **dialect)
    export = make(client, file_format="csv", concurrency=concurrency)
    content = unzipped(read(export))

    every = [row for each in events for row in rows_of(each)]
    # An answer without rows does not show its line break.
    expected = client.content(every)
    assert content == expected if every else content.rstrip(b"\r\n") == expected.rstrip(b"\r\n")
    assert export.tally.read == export.tally.kept == number
    assert export.tally.rows == len(every)
    assert export.reader.reconciled
    assert export.content.sha256 == hashlib.sha256(content).hexdigest()


def test_csv_of_one_answer_is_the_servers_own() -> None:
    client = Client(day_of(30, 3), line_break="\r\n", bom="\ufeff")
    whole = unzipped(read(make(client, file_format="csv")))
    [answered] = [query for query in client.queries if query.format == "csv"]
    assert client.read_zip(answered, lambda file: unzipped(file.getvalue())) == whole  # type: ignore[attr-defined]


@settings(UNHURRIED, max_examples=50)
@given(st.integers(0, 60), st.integers(1, 3), st.integers(9, 40))
@example(number=8, policies=3, cap=13)
def test_rows_that_were_cut_are_never_lost_in_silence(number: int, policies: int, cap: int) -> None:
    """A server that counts rows may cut the last event of an answer."""
    events = day_of(number, policies)
    client = Client(events, cap=cap)
    try:
        content = unzipped(read(make(client, file_format="csv")))
    except (IncompleteExportError, UnexpectedAnswerError):
        return
    assert content == client.content([row for each in events for row in rows_of(each)])


def test_all_rows_of_an_only_event_are_read() -> None:
    client = Client([event(1, policies=4)], counts_rows=True)
    assert unzipped(read(make(client, file_format="csv"))) == client.content(rows_of(client.events[0]))


@pytest.mark.parametrize("window", [DAY, FORTNIGHT])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("ended", [True, False])
def test_an_empty_csv_has_its_header(window: Window, line_break: str, ended: bool) -> None:
    client = Client(line_break=line_break, ended=ended)
    assert unzipped(read(make(client, window, "csv"))).rstrip() == ",".join(COLUMNS).encode()


def test_parts_without_events_change_nothing() -> None:
    """A wide window with events on its first and last day only, in slices of which most are empty."""
    events = [
        event(number, 1, created_at=f"2026-03-{day:02}T00:00:0{number % 10}Z")
        for number, day in enumerate([1, 1, 14, 14])
    ]
    for ended in (True, False):
        client = Client(events, line_break="\r\n", ended=ended, most=1)
        content = unzipped(read(make(client, FORTNIGHT, "csv")))
        assert content == client.content([row for each in events for row in rows_of(each)])


def test_a_header_that_changes_between_answers_is_an_error() -> None:
    client = Client(day_of(30), rows=10)

    def swap(query: Query) -> None:
        if query.format == "csv" and query.offset:
            client._columns = COLUMNS[::-1]

    client.before = swap
    with pytest.raises(UnexpectedAnswerError, match="header"):
        read(make(client, file_format="csv"))


def test_csv_filters_keep_an_events_rows() -> None:
    events = day_of(30, 3)
    client = Client(events, rows=12)
    wanted = EventFilter.of(policies=["2"])
    export = make(client, file_format="csv", wanted=wanted)
    kept = [each for each in events if len(each["policies"] or ()) == 3]
    assert unzipped(read(export)) == client.content([row for each in kept for row in rows_of(each)])
    assert (export.tally.read, export.tally.kept, export.tally.rows) == (30, len(kept), 3 * len(kept))


def test_jsonl_and_csv_hold_the_same_events() -> None:
    events = day_of(100, 2)
    lines = read(make(Client(events), compression="none")).splitlines()
    rows = csv.DictReader(io.StringIO(unzipped(read(make(Client(events), file_format="csv"))).decode(), newline=""))
    assert [json.loads(line)["id"] for line in lines] == sorted({int(row["id"]) for row in rows})


def test_a_crowded_second_that_is_incomplete_is_an_error() -> None:
    events = [event(number, created_at="2026-03-09T12:00:00Z") for number in range(9)]
    with pytest.raises(IncompleteCsvError):
        read(make(Client(events, most=5), file_format="csv"))


# Nothing is completed unless the whole is right


def is_whole_gzip(content: bytes) -> bool:
    inflate = zlib.decompressobj(wbits=31)
    inflate.decompress(content)
    return inflate.eof


def pieces(export: WindowExport) -> tuple[list[bytes], Exception | None]:
    reader, given_out = export.open(), []
    try:
        while piece := reader.read(64):
            given_out.append(piece)
    except Exception as error:
        return given_out, error
    return given_out, None


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("at", [0, 1, 2, 4, "last"])
def test_a_fault_at_any_request_ends_reading_with_it(file_format: str, at: int | str) -> None:
    events = day_of(40)

    def export(before: Callable[[Query], None], client: Client) -> WindowExport:
        client.before = before
        return make(client, file_format=file_format, page_size=10, concurrency=1)

    sound = Client(events, rows=10)
    assert pieces(export(lambda query: None, sound))[1] is None
    number = len(sound.queries) - 1 if at == "last" else int(at)
    broken = Client(events, rows=10)

    def fail(query: Query) -> None:
        if len(broken.queries) == number + 1:
            raise ServerFaultError(query.asked, "503")

    given_out, error = pieces(export(fail, broken))
    assert isinstance(error, ServerFaultError)
    if file_format == "csv":
        with pytest.raises(zipfile.BadZipFile):
            unzipped(b"".join(given_out))
    else:
        assert not is_whole_gzip(b"".join(given_out))


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_an_event_that_arrives_before_the_last_count_completes_nothing(file_format: str) -> None:
    client = Client(day_of(10))

    def arrive(query: Query) -> None:
        if len(client.queries) > 2 and query.num_of_rows == 1 and query.direction == "desc":
            client.events = [*client.events, event(99, created_at="2026-03-09T23:59:59Z")]

    client.before = arrive
    _, error = pieces(make(client, file_format=file_format))
    assert isinstance(error, IncompleteExportError)


def test_the_check_comes_after_reconciling_and_before_the_end() -> None:
    checked: list[tuple[bool, int]] = []

    def refuse(export: WindowExport) -> None:
        checked.append((export.reader.reconciled, export.tally.kept))
        raise ShrinkError("fewer")

    given_out, error = pieces(make(Client(day_of(10)), check=refuse))
    assert isinstance(error, ShrinkError)
    assert checked == [(True, 10)]
    assert not is_whole_gzip(b"".join(given_out))


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("when", ["before", "while counting", "while reading", "at the end"])
def test_a_stopped_task_completes_nothing(file_format: str, when: str) -> None:
    stop = threading.Event()
    client = Client(day_of(40), rows=10)
    if when == "before":
        stop.set()
    elif when != "at the end":
        number = 1 if when == "while counting" else 3
        client.before = lambda query: stop.set() if len(client.queries) == number else None

    def press(export: WindowExport) -> None:
        if when == "at the end":
            stop.set()

    _, error = pieces(make(client, file_format=file_format, page_size=10, stop=stop, check=press))
    assert isinstance(error, StoppedError)


# Again, until it is whole


def test_an_export_that_did_not_add_up_is_made_again() -> None:
    begun: list[WindowExport] = []
    kept: list[bytes] = []
    client = Client(day_of(10))

    def begin() -> WindowExport:
        begun.append(make(client, compression="none"))
        return begun[-1]

    def keep(export: WindowExport) -> None:
        if len(begun) < 3:
            raise IncompleteExportError("it moved")
        kept.append(read(export))

    assert export_until_whole(begin, keep) is begun[2]
    assert kept == [jsonl(client.events)]


class Losing:
    """Keeps exports of a server that has lost two events when the first try fails."""

    def __init__(self) -> None:
        self.client = Client(day_of(10))
        self.given: list[bytes] = []
        self._tries = 0

    def begin(self) -> WindowExport:
        return make(self.client, compression="none")

    def keep(self, export: WindowExport) -> None:
        self._tries += 1
        if self._tries == 1:
            next(export.reader.pages())
            del self.client.events[:2]
            raise IncompleteExportError("two have gone")
        self.given.append(read(export))


def test_events_that_went_between_two_tries_are_not_left_out_in_silence() -> None:
    losing = Losing()
    with pytest.raises(IncompleteExportError, match="counts 8 events, and counted 10 when the window was read before"):
        export_until_whole(losing.begin, losing.keep)
    assert losing.given == []


def test_what_is_left_of_a_window_that_is_being_forgotten_can_be_had() -> None:
    losing = Losing()
    export_until_whole(losing.begin, losing.keep, forgetting=True)
    assert losing.given == [jsonl(losing.client.events)]


def test_a_window_that_begins_before_the_server_s_memory_is_not_read() -> None:
    client = Client(day_of(10))
    export = make(client, retention=timedelta(days=1))
    with pytest.raises(ExpiredWindowError, match="first second that can still be had"):
        read(export)
    assert len(client.queries) == 1, "the count alone"
    assert read(make(client, compression="none", retention=timedelta(days=36_500))) == jsonl(client.events)


@pytest.mark.parametrize(
    ("error", "tries"), [(IncompleteExportError("moved"), 3), (StoppedError("stop"), 1), (OSError(), 1)]
)
def test_only_what_may_add_up_is_tried_again(error: Exception, tries: int) -> None:
    begun: list[WindowExport] = []

    def keep(export: WindowExport) -> None:
        begun.append(export)
        raise error

    with pytest.raises(type(error)):
        export_until_whole(lambda: make(Client()), keep)
    assert len(begun) == tries
