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
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.api.query import Query
from airflow_provider_curation.audit.errors import (
    AnswerTooLargeError,
    ContradictoryAnswerError,
    CurationAuditError,
    ExpiredWindowError,
    IncompleteCsvError,
    IncompleteExportError,
    NotEntitledError,
    ServerFaultError,
    ShrinkError,
    StoppedError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.exporting.file_format import COMPRESSIONS
from airflow_provider_curation.audit.exporting.window_export import WindowExport, export_until_whole
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.ids_digest import IdsDigest
from airflow_provider_curation.audit.limits import Limits
from airflow_provider_curation.audit.window import Window
from tests.support.listed import (
    COLUMNS,
    DAY,
    FORTNIGHT,
    Client,
    day_of,
    event,
    jsonl,
    make,
    read,
    rows_of,
    unpacked,
    unzipped,
)
from tests.support.unhurried import UNHURRIED

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
    other = read(make(Client(events, concurrency=concurrency), compression=compression, page_size=page_size))
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
    client = Client(events, rows=rows, most=most, concurrency=concurrency, **dialect)
    export = make(client, file_format="csv")
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


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("wanted", [None, EventFilter.of(actions=["blocked"])])
@pytest.mark.parametrize("page_size", [7, 2000])
def test_the_digest_of_ids_is_that_of_the_kept_events(
    file_format: str, wanted: EventFilter | None, page_size: int
) -> None:
    events = day_of(50, 2)
    export = make(Client(events, rows=page_size), file_format=file_format, wanted=wanted, page_size=page_size)
    read(export)
    kept = [each["id"] for each in events if wanted is None or each["action"] == "blocked"]
    assert export.facts()["ids_digest"] == str(IdsDigest.of(kept))


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_the_digest_of_dry_run_events_is_that_of_ids_and_policies(file_format: str) -> None:
    events = day_of(40, 1)
    export = make(Client(events), file_format=file_format, dry_run=True)
    read(export)
    policies = [("0",) if each["policies"] else () for each in events]
    if file_format == "csv":
        policies = [each or ("",) for each in policies]
    keys = zip([each["id"] for each in events], policies, strict=True)
    assert export.facts()["ids_digest"] == str(IdsDigest.of_dry_run(keys))


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
        return make(client, file_format=file_format, page_size=10)

    sound = Client(events, rows=10, concurrency=1)
    assert pieces(export(lambda query: None, sound))[1] is None
    number = len(sound.queries) - 1 if at == "last" else int(at)
    broken = Client(events, rows=10, concurrency=1)

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
        if len(client.queries) > 1 and query.num_of_rows == 1 and query.direction == "desc":
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


@settings(UNHURRIED, max_examples=60)
@given(
    st.integers(1, 40),
    st.sets(st.integers(0, 12), max_size=4),
    st.booleans(),
    st.sampled_from(["jsonl", "csv"]),
    st.integers(3, 50),
)
@example(number=30, holes={1}, totals=False, file_format="jsonl", rows=50)
@example(number=30, holes={2}, totals=False, file_format="csv", rows=50)
@example(number=30, holes={0, 1, 2}, totals=False, file_format="jsonl", rows=50)
def test_answers_without_events_never_make_a_hole_in_silence(
    number: int, holes: set[int], totals: bool, file_format: str, rows: int
) -> None:
    events = day_of(number)
    client = Client(events, rows=rows, totals=totals, holes=holes, concurrency=1)
    export = make(client, file_format=file_format, page_size=rows, compression=None)
    given_out, error = pieces(export)
    if error is not None:
        assert isinstance(error, CurationAuditError)
        assert error.retry_task
        return
    assert export.tally.read == number, given_out


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("total", [0, -1, 29, 10**15, 10**30])
def test_a_total_that_contradicts_the_events_beside_it_is_an_error(file_format: str, total: int) -> None:
    client = Client(day_of(30))

    class Lying(Client):
        def read_json(self, query: Query, decode: Callable[[bytes], Any], stop: threading.Event | None = None) -> Any:
            def lying(answer: bytes) -> Any:
                return decode(answer.replace(b'"total_count": 30', b'"total_count": %d' % total))

            return client.read_json(query, lying, stop)

    export = make(Lying(client.events), file_format=file_format)
    _, error = pieces(export)
    assert isinstance(error, (ContradictoryAnswerError, IncompleteExportError))
    assert total > 30 or file_format == "csv" or isinstance(error, ContradictoryAnswerError)
    assert not export.reader.reconciled
    assert len(client.queries) < 40


def test_rows_behind_a_count_of_none_are_an_error() -> None:
    """The answer that an empty CSV's header is taken from shows whatever is there."""
    client = Client()

    def arrive(query: Query) -> None:
        if query.format == "csv":
            client.events = day_of(3)

    client.before = arrive
    _, error = pieces(make(client, file_format="csv"))
    assert isinstance(error, IncompleteExportError)
    assert "it gave 3 rows" in str(error)


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
    with pytest.raises(ExpiredWindowError, match="first second that the server still has if it keeps events for 1 day"):
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


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_the_connections_limits_reach_every_page(file_format: str) -> None:
    client = Client(day_of(3))
    client.limits = Limits(max_line_bytes=20)
    with pytest.raises(AnswerTooLargeError, match="max_line_bytes=20"):
        read(make(client, file_format=file_format))
