"""Whatever a stored manifest or seal contains is a finding, and stops nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.archive import Entry, TooLargeError
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.findings import FindingKind
from airflow_provider_curation.audit.evidence.report import Report
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, HOUR, KEY, START, TRUST, Exporter, MemoryArchive, TruthClient, manifest_key

WHAT = ["manifest", "seal"]
PERIOD = Window(START, START + 3 * DAY)
DAYS = list(PERIOD.split(DAY))
NOW = PERIOD.end + HOUR


@pytest.fixture(scope="module")
def sealed() -> tuple[MemoryArchive, str, str]:
    """An archive, the key of its second manifest, and that of its seal."""
    archive, exporter = MemoryArchive(), Exporter(TruthClient(30, PERIOD))
    for day in DAYS:
        exporter.export(archive, day)
    seal = verify(archive, Check("curation/", PERIOD, trust=TRUST, signer=KEY, seal=True), NOW).seal
    assert seal is not None
    return archive, manifest_key(exporter.key(DAYS[1])), seal


def check(archive: MemoryArchive, **arguments: Any) -> Report:
    report = verify(archive, Check("curation/", PERIOD, trust=TRUST, **arguments), NOW)
    # It can be shown, as text and as data.
    assert all(line.isprintable() for line in report.summary().splitlines())
    json.dumps(report.as_dict()).encode("ascii")
    return report


def changed(body: bytes, **members: Any) -> bytes:
    return json.dumps({**json.loads(body), **members}).encode()


def stored(body: bytes, name: str) -> bytes:
    """A manifest or seal with one of the contents that are known to have stopped something."""
    text = body.decode()
    return {
        "personal_data": changed(body, personal_data=[1]),
        "signature list": changed(body, signature=["x"]),
        "previous": changed(body, previous="x"),
        "previous list": changed(body, previous=[{"sha256": 1}]),
        "surrogate": text.replace('"acme"', '"\\ud800"').encode(),
        "nesting": changed(body, dag_run=None).replace(b"null", b"[" * 100_000 + b"]" * 100_000, 1),
        "duplicate": b'{"events": 7, ' + body.lstrip()[1:],
        "utf-16": text.encode("utf-16"),
        "utf-8 mark": b"\xef\xbb\xbf" + body,
        "nan": changed(body, events=float("nan")),
        "huge number": changed(body, events=0).replace(b'"events": 0', b'"events": ' + b"9" * 5000),
        "float": changed(body, events=1e300),
        "year 1": changed(body, start="0001-01-01T00:00:00+14:00"),
        "no window": changed(body, start="2025-01-02", end=None),
        "screen": changed(body, instance="\x1b[2J\x1b[HNothing is missing.\n"),
        "manifests": changed(body, manifests=[{}]),
        "manifests of numbers": changed(body, manifests=[1, None, "x"]),
        "no manifests": changed(body, manifests=None),
        "version": changed(body, manifest_version=2, seal_version=[]),
        "empty": b"",
        "zeros": bytes(1000),
    }[name]


NAMES = """personal_data|signature list|previous|previous list|surrogate|nesting|duplicate|utf-16|utf-8 mark|
nan|huge number|float|year 1|no window|screen|manifests|manifests of numbers|no manifests|version|empty|zeros"""


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("name", [name.strip() for name in NAMES.split("|")])
def test_known_contents_are_findings(name: str, what: str, sealed: tuple[MemoryArchive, str, str]) -> None:
    whole, manifest, seal = sealed
    archive = whole.copy()
    key = manifest if what == "manifest" else seal
    archive.objects[key] = stored(archive.objects[key], name)
    report = check(archive)
    assert report.findings
    assert key in {each.key for each in report.findings}
    assert report.seal is None


@pytest.mark.parametrize("what", WHAT)
def test_a_file_of_gigabytes_is_not_read(what: str, sealed: tuple[MemoryArchive, str, str]) -> None:
    whole, manifest, seal = sealed
    key = manifest if what == "manifest" else seal

    class Huge(MemoryArchive):
        def entries(self, prefix: str) -> Any:
            return (Entry(each.key, 6 << 30) if each.key == key else each for each in super().entries(prefix))

        def read(self, name: str, *most: int) -> bytes | None:
            if name == key:
                # As stores do, which read no more than they are asked for.
                assert what == "seal", "a manifest of 6 GB was read"
                raise TooLargeError("it has more bytes than a seal has")
            return super().read(name, *most)

    report = check(Huge(whole.objects))
    kind = FindingKind.MANIFEST_UNREADABLE if what == "manifest" else FindingKind.SEAL_BROKEN
    assert (kind, key) in {(each.kind, each.key) for each in report.findings}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), what=st.sampled_from(WHAT))
def test_no_value_of_a_member_stops_a_verification(
    data: st.DataObject, what: str, sealed: tuple[MemoryArchive, str, str]
) -> None:
    whole, manifest, seal = sealed
    key = manifest if what == "manifest" else seal
    facts = json.loads(whole.objects[key])
    at: Any = facts
    if what == "seal" and data.draw(st.booleans()):
        at = facts["manifests"][data.draw(st.integers(0, 2))]
    name = data.draw(st.sampled_from(sorted(at)))
    value = data.draw(values)
    same = type(value) is type(at[name]) and value == at[name]
    at[name] = value
    archive = whole.copy()
    archive.objects[key] = json.dumps(facts).encode()
    report = check(archive)
    # The bytes differ from what was sealed, or the seal from what was signed, in any case.
    assert report.findings or same


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("seed", range(100))
def test_no_mutation_of_bytes_stops_a_verification(
    seed: int, what: str, sealed: tuple[MemoryArchive, str, str]
) -> None:
    whole, manifest, seal = sealed
    key, chance = manifest if what == "manifest" else seal, random.Random(seed)
    archive = whole.copy()
    body = bytearray(archive.objects[key])
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(body))
        body[place : place + chance.randrange(3)] = chance.choice([b"", b"\x00", b'"', b"{", b"\xff", b"9", b"\\u0000"])
    archive.objects[key] = bytes(body)
    report = check(archive)
    assert report.findings or bytes(body) == whole.objects[key]
