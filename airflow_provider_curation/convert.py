"""Derives Parquet from archived JSON lines, even if the server has forgotten their windows.

``python -m airflow_provider_curation.convert s3://bucket/curation --to parquet`` converts every JSONL export of an
archive that has no Parquet file yet; it can be stopped and started again, and never touches what it reads.

A file is checked before it appears: the lines it is made from must have the SHA-256 in the source's manifest.
Its own manifest states the same counts and ``content_sha256``, and names the export it was derived from.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_curation import __version__
from airflow_provider_curation.audit.errors import (
    ConversionError,
    CurationAuditError,
    InvalidArgumentError,
    UnexpectedAnswerError,
)
from airflow_provider_curation.audit.evidence.layout import Layout
from airflow_provider_curation.audit.evidence.local_archive import LocalArchive
from airflow_provider_curation.audit.evidence.manifest import Manifest, ManifestError, StoredManifest
from airflow_provider_curation.audit.evidence.unpacking import UNPACKING_FAULTS, ContentError, Source, unpacked
from airflow_provider_curation.audit.exporting.byte_meter import ByteMeter
from airflow_provider_curation.audit.exporting.chunk_reader import ChunkReader
from airflow_provider_curation.audit.exporting.file_format import FileFormat
from airflow_provider_curation.audit.window import Window, format_utc

if TYPE_CHECKING:
    from airflow_provider_curation.audit.evidence.archive import Archive

__all__ = ["Converted", "conversions", "convert_archive", "convert_export"]

log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 256 * 1024
_SUFFIXES: Final = (".jsonl.gz", ".jsonl.zip", ".jsonl.zst", ".jsonl")


@dataclass(frozen=True)
class Converted:
    """The outcome of a conversion.

    :param source: the JSONL export's key below the archive's root.
    :param key: the Parquet file's.
    :param events: in the file.
    :param written: ``False`` if the file already existed.
    """

    source: str
    key: str
    events: int
    written: bool


def conversions(
    location: str | os.PathLike[str],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    aws_conn_id: str | None = None,
) -> list[dict[str, str]]:
    """Return the JSONL exports that have no Parquet file yet, as arguments for :func:`convert_export`.

    A DAG maps a task over them: ``convert.expand_kwargs(conversions(...))``.

    :param location: the archive's root: ``s3://bucket/curation``, or a folder.
    :param start: exports whose windows end after this moment: an aware datetime or ISO 8601 string; default: all.
    :param end: exports whose windows begin before this moment.
    :param aws_conn_id: connection of type ``aws``; ``None`` uses boto3's own credentials.
    """
    place = _Place.of(location, aws_conn_id)
    period = Window.parse(start, end) if start is not None and end is not None else None
    if (start is None) != (end is None):
        raise InvalidArgumentError("Give both start and end, or neither.")
    listed: dict[str, bool] = {}
    for entry in place.archive.entries(place.layout.manifests):
        relative = place.layout.relative_key(entry.key)
        if relative is not None:
            listed[relative] = True
    found = []
    for relative in listed:
        if not relative.endswith(_SUFFIXES) or parquet_key(relative) in listed:
            continue
        stored = place.manifest(relative)
        if stored is None or (period and not (stored.window.start < period.end and stored.window.end > period.start)):
            continue
        found.append({"location": os.fspath(location), "key": relative})
    return found


def convert_export(location: str | os.PathLike[str], key: str, *, aws_conn_id: str | None = None) -> dict[str, Any]:
    """Derive the Parquet file of one JSONL export.

    :param location: the archive's root.
    :param key: the export's key below it.
    :return: :class:`Converted`, as a dict.
    :raises ConversionError: if the export is not what its manifest states, or a line is not an event; it names both.
    :raises MissingPackageError: without the extra ``parquet``.
    """
    place = _Place.of(location, aws_conn_id)
    stored = place.manifest(key)
    if stored is None:
        raise ConversionError(f"{place.uri(key)} has no readable manifest: nothing proves what it holds.")
    target = parquet_key(key)
    existing = place.manifest(target)
    if existing is not None:
        return asdict(Converted(key, target, existing.facts["events"], written=False))
    file_format = FileFormat.of("parquet", None)
    stream = _Stream(place, key, stored, file_format)
    try:
        place.write(target, stream, lambda kept: _manifest(stored, stream, place, target, kept))
    except UnexpectedAnswerError as error:
        raise ConversionError(
            f"{place.uri(key)}: {error.came_back}. Nothing was derived from it; look at that line."
        ) from None
    log.info("Derived %s from %s: %s events.", place.uri(target), place.uri(key), stored.facts["events"])
    return asdict(Converted(key, target, stored.facts["events"], written=True))


def convert_archive(
    location: str | os.PathLike[str],
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    aws_conn_id: str | None = None,
) -> Iterator[Converted]:
    """Derive the Parquet files that an archive's JSONL exports do not have yet, one after the other.

    The parameters are those of :func:`conversions`, the errors those of :func:`convert_export`.
    """
    for arguments in conversions(location, start, end, aws_conn_id=aws_conn_id):
        yield Converted(**convert_export(**arguments, aws_conn_id=aws_conn_id))


def parquet_key(key: str) -> str:
    """Return the key of the Parquet file that is derived from a JSONL export."""
    stem = next((key.removesuffix(suffix) for suffix in _SUFFIXES if key.endswith(suffix)), None)
    if stem is None:
        raise InvalidArgumentError(f"key={key!r} is not a JSONL export's: those end in {', '.join(_SUFFIXES)}.")
    return stem.replace("format=jsonl/", "format=parquet/") + ".parquet"


class _Stream(ChunkReader):
    """A Parquet file's bytes, generated while they are read; reading raises unless the source is what it should be."""

    def __init__(self, place: _Place, key: str, stored: StoredManifest, file_format: FileFormat) -> None:
        self.content = ByteMeter()
        self.object = ByteMeter()
        self.writer = file_format.writer
        self._place, self._key, self._stored = place, key, stored
        super().__init__(self.object.through(file_format.encoder()(self._lines())))

    def _lines(self) -> Iterator[bytes]:
        facts = self._stored.facts
        with ExitStack() as opened:
            source = Source(self._place.archive.chunks(self._place.layout.object_key(self._key)))
            try:
                read = unpacked(source, facts["compression"], opened)
                while chunk := read(_BLOCK_BYTES):
                    if self.content.bytes + len(chunk) > facts["content_size"]:
                        raise self._differs(f"its content is longer than {facts['content_size']:,} bytes")
                    yield from self.content.through([chunk])
                while source.read(_BLOCK_BYTES):
                    pass
            except (*UNPACKING_FAULTS, ContentError) as error:
                if source.failed:
                    raise
                raise self._differs(f"it cannot be unpacked ({error})") from None
        # Checked before the file's end is yielded, so that no unproven file ever appears.
        for name, value in (("sha256", source.sha256), ("content_sha256", self.content.sha256)):
            if value != facts[name]:
                raise self._differs(f"its {name} is {value}, not {facts[name]}")

    def _differs(self, why: str) -> ConversionError:
        return ConversionError(
            f"{self._place.uri(self._key)} is not what its manifest states: {why}. Nothing was derived from it; "
            "verify the archive (python -m airflow_provider_curation.evidence)."
        )


def _manifest(stored: StoredManifest, stream: _Stream, place: _Place, key: str, kept: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a derived file: the source's manifest, except what depends on the bytes."""
    facts = dict(stored.facts)
    of_object = {
        "format": "parquet",
        "compression": "zstd",
        "writer": stream.writer,
        "size": stream.object.bytes,
        "sha256": stream.object.sha256,
        "key": place.layout.object_key(key),
        "etag": None,
        "checksum": None,
        "version_id": None,
        "encryption": {},
        "object_lock": {},
        "replaces": None,
        "replaced": None,
        "dag_run": {},
        "provider_version": __version__,
        "exported_at": format_utc(datetime.now(timezone.utc)),
        "derived_from": {"key": facts["key"], "sha256": facts["sha256"], "manifest_sha256": stored.sha256},
    }
    names = {field.name for field in dataclasses.fields(Manifest)}
    return Manifest(**{name: value for name, value in {**facts, **of_object, **kept}.items() if name in names})


@dataclass(frozen=True)
class _Place:
    """An archive that can be read and written.

    :param bucket: in S3; ``None`` for a folder.
    """

    archive: Archive
    layout: Layout
    bucket: str | None = None
    aws_conn_id: str | None = None

    @classmethod
    def of(cls, location: str | os.PathLike[str], aws_conn_id: str | None) -> _Place:
        text = os.fspath(location)
        if not text.startswith("s3://"):
            return cls(LocalArchive(text), Layout())
        bucket, _, root = text.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidArgumentError(f"{text!r} has no bucket; give s3://bucket/curation.")
        # Loads boto, which a folder does not need.
        from airflow_provider_curation.s3.archive import S3Archive

        return cls(S3Archive(bucket, aws_conn_id=aws_conn_id), Layout(root.strip("/")), bucket, aws_conn_id)

    def uri(self, relative: str) -> str:
        return self.archive.uri(self.layout.object_key(relative))

    def manifest(self, relative: str) -> StoredManifest | None:
        """Return an export's manifest; ``None`` if there is none that can be read."""
        body = self.archive.read(self.layout.manifest_key(relative))
        try:
            return None if body is None else StoredManifest.parse(body)
        except ManifestError as error:
            log.warning("%s is not a manifest: %s.", self.archive.uri(self.layout.manifest_key(relative)), error)
            return None

    def write(self, relative: str, stream: _Stream, describe: Any) -> None:
        """Write a file and then its manifest, or neither."""
        if self.bucket is None:
            self._write_file(Path(self.uri(relative)), stream)
            self.archive.put(self.layout.manifest_key(relative), describe({}).to_json())
            return
        from airflow_provider_curation.s3.exported_object import S3Object

        key, manifest_key = self.layout.object_key(relative), self.layout.manifest_key(relative)
        target = S3Object(self.bucket, key, manifest_key, aws_conn_id=self.aws_conn_id)
        target.check()
        target.present()
        try:
            target.begin(threading.Event())
            target.upload(stream)
            target.put_manifest(describe(target.stored()).to_json())
        except BaseException:
            target.undo()
            raise
        target.finish()

    @staticmethod
    def _write_file(path: Path, stream: _Stream) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                while chunk := stream.read(_BLOCK_BYTES):
                    file.write(chunk)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert what the command line names: 0 if all was converted, 1 if something could not be, 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_curation.convert",
        description="Derive Parquet files from an archive's JSONL exports, each proven against its manifest.",
    )
    parser.add_argument("location", help="the archive's root: s3://bucket/curation, or a folder")
    parser.add_argument("--to", choices=["parquet"], required=True, help="the format to derive")
    parser.add_argument("--start", help="exports whose windows end after this moment (with --end)")
    parser.add_argument("--end", help="exports whose windows begin before this moment (with --start)")
    chosen = parser.parse_args(arguments)
    failed = False
    try:
        waiting = conversions(chosen.location, chosen.start, chosen.end)
        for each in waiting:
            try:
                done = Converted(**convert_export(**each))
            except ConversionError as error:
                failed = True
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            else:
                print(f"{done.key}: {done.events:,} events")
        print(f"{len(waiting)} exports without a Parquet file were found.")
    except (CurationAuditError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
