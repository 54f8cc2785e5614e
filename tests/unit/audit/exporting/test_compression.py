"""Encoders: repeatable, and nothing but the content comes out again."""

from __future__ import annotations

import builtins
import contextlib
import gzip
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.errors import MissingPackageError
from airflow_provider_curation.audit.exporting.compression import SUFFIXES, compressor

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MEMBER = "audit_packages.jsonl"


def unzip(packed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [MEMBER]
        return archive.read(MEMBER)


def unzstd(packed: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return bytes(reader.read())


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zip": unzip,
    "zstd": unzstd,
    "none": bytes,
}

compressions = st.sampled_from(sorted(UNPACK))


def packed(compression: str, chunks: list[bytes]) -> bytes:
    if compression == "zstd":
        pytest.importorskip("zstandard")
    return b"".join(compressor(compression, MEMBER)(iter(chunks)))


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


def events(number: int, seed: int = 0) -> bytes:
    """Lines that compress as events do."""
    random_ = random.Random(seed)
    return b"".join(
        b'{"id":%d,"created_at":"2026-03-09T14:%02d:%02dZ","action":"%s","package_name":"pkg-%x","reason":"%s"}\n'
        % (
            place,
            random_.randrange(60),
            random_.randrange(60),
            random_.choice([b"blocked", b"approved"]),
            random_.getrandbits(60),
            random_.choice([b"Policy violations", b"No policy violations"]),
        )
        for place in range(number)
    )


@settings(UNHURRIED, max_examples=100)
@given(compressions, st.lists(st.binary(max_size=200), max_size=6))
def test_the_content_comes_out_again(compression: str, chunks: list[bytes]) -> None:
    assert UNPACK[compression](packed(compression, chunks)) == b"".join(chunks)


@settings(UNHURRIED, max_examples=40)
@given(compressions, st.lists(st.integers(0, 10**7), max_size=12))
def test_the_same_content_gives_the_same_bytes_however_it_is_cut(compression: str, places: list[int]) -> None:
    """Page limits move with page sizes, retries and slices; the object must not."""
    content = CONTENT
    assert packed(compression, cut(content, places)) == packed(compression, [content])


CONTENT = events(4000)


@pytest.mark.parametrize("size", [1000, 4096, 65_536, 262_144])
@pytest.mark.parametrize("compression", sorted(UNPACK))
def test_megabytes_give_the_same_bytes_however_they_are_cut(compression: str, size: int) -> None:
    content = events(40_000, seed=7)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    whole = packed(compression, [content])
    assert packed(compression, pieces) == whole
    assert UNPACK[compression](whole) == content


@pytest.mark.parametrize("compression", ["gzip", "zip", "zstd"])
def test_packs(compression: str) -> None:
    assert len(packed(compression, [CONTENT])) < len(CONTENT) / 3


def test_gzip_holds_neither_time_nor_name() -> None:
    whole = packed("gzip", [b"content"])
    assert whole[:4] == b"\x1f\x8b\x08\x00"  # deflate, no name, no comment, no extra field
    assert whole[4:8] == bytes(4)  # no time


def test_zip_holds_one_member_without_the_time_of_today() -> None:
    for name in ("audit_packages.csv", MEMBER):
        whole = b"".join(compressor("zip", name)([b"one\n", b"two\n"]))
        [entry] = zipfile.ZipFile(io.BytesIO(whole)).infolist()
        assert entry.filename == name
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert entry.file_size == 8
        assert entry.compress_type == zipfile.ZIP_DEFLATED
        assert entry.external_attr >> 16 == 0o644
        assert entry.create_system == 3


def test_zstd_has_a_checksum() -> None:
    pytest.importorskip("zstandard")
    whole = bytearray(packed("zstd", [b"content " * 100]))
    whole[-1] ^= 1
    with pytest.raises(Exception, match=r"[Cc]hecksum"):
        unzstd(bytes(whole))


def test_zstd_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "zstandard":
            raise ModuleNotFoundError(name)
        return find(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"compression='zstd'.*airflow-provider-curation\[zstd\]"):
        compressor("zstd", MEMBER)  # at once, before any request


def test_every_compression_has_a_suffix() -> None:
    assert set(SUFFIXES) == set(UNPACK)


class Lost(Exception):
    pass


def lost_after(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise Lost


@pytest.mark.parametrize("compression", sorted(UNPACK))
def test_an_error_before_the_end_never_completes_the_object(compression: str) -> None:
    """What was given until then must not be a whole object: an uploader may hold it already."""
    if compression == "zstd":
        pytest.importorskip("zstandard")
    given_out = []
    with pytest.raises(Lost):
        given_out.extend(compressor(compression, MEMBER)(lost_after(CONTENT, CONTENT)))
    if compression == "none":
        return
    with contextlib.suppress(EOFError, zipfile.BadZipFile):
        assert UNPACK[compression](b"".join(given_out)) != CONTENT + CONTENT


@pytest.mark.parametrize("compression", ["gzip", "zip", "none"])
def test_bytes_come_while_chunks_go(compression: str) -> None:
    """Memory does not grow with the content."""
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for place in range(50):
            taken = place
            yield events(500, seed=place)

    sizes = []
    for piece in compressor(compression, MEMBER)(chunks()):
        sizes.append(len(piece))
        if taken < 25:
            early = sum(sizes)
    assert early > 0.3 * sum(sizes)
    assert max(sizes) < 0.2 * sum(sizes)
