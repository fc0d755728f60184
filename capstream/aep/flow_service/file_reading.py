"""The records of a file on disk, one after the other, in constant memory. Source: batch-ingestion.md B4, B6."""

import bz2
import csv
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from capstream.aep.flow_service.preview import BadFile, Properties
from capstream.kernel.json import Json, JsonError, loads

_PIECE = 1 << 18
_MOST_FIELD = 1 << 24  # characters of one field of a delimited file


class Line(NamedTuple):
    """A record, or the text of a row that is none."""

    record: dict[str, Json] | None
    corrupt: str = ""


def records(path: Path, properties: Properties) -> Iterator[Line]:
    """Yield the records of a file; an archive's files one after the other. Errors: BadFile when it cannot be read on."""
    try:
        if properties.file_type == "parquet":
            yield from _parquet(path)
            return
        for stream in _UNPACKERS.get(properties.compression, _plain)(path):
            text = io.TextIOWrapper(stream, encoding=_encoding(properties), errors="replace", newline="")
            yield from _json(text) if properties.file_type == "json" else _delimited(text, properties.delimiter)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, LookupError, csv.Error) as error:
        raise BadFile(f"{error or type(error).__name__}") from error


def _encoding(properties: Properties) -> str:
    return "utf-8-sig" if properties.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else properties.encoding


def _plain(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        yield file


def _gzip(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) as file:
        yield cast(IO[bytes], file)


def _bzip2(path: Path) -> Iterator[IO[bytes]]:
    with bz2.open(path) as file:
        yield file


class _Inflated(io.RawIOBase):
    """The content of a file of raw deflate."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(wbits=-15)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer; its type has a name from Python 3.12 on
        room = memoryview(buffer)
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(_PIECE)
            if not packed:
                raise EOFError("the file ends in the middle of its compressed data")
            found = self._inflater.decompress(packed, len(room))
            if found:
                room[: len(found)] = found
                return len(found)
        return 0


def _deflate(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        yield io.BufferedReader(cast(io.RawIOBase, _Inflated(file)))


def _tar(path: Path) -> Iterator[IO[bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield file


def _zip(path: Path) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as file:
                    yield file


_UNPACKERS: Mapping[str, Callable[[Path], Iterator[IO[bytes]]]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "deflate": _deflate,
    "tar": _tar,
    "tarGzip": _tar,
    "zipDeflate": _zip,
}


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_MOST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _delimited(text: io.TextIOWrapper, delimiter: str) -> Iterator[Line]:
    """Yield rows as objects of texts: an empty field is null, a row of another length than the header is corrupt."""
    with _long_fields():
        rows = csv.reader(text, delimiter=delimiter)
        header = next(rows, [])
        if not any(header):
            raise BadFile("the file has no header row")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                yield Line(None, delimiter.join(row))
            else:
                yield Line({name: value if value != "" else None for name, value in zip(header, row, strict=True)})


def _json(text: io.TextIOWrapper) -> Iterator[Line]:
    """Yield the objects of a file that has one to a line; a line that holds an array gives its elements."""
    for line in text:
        if not line.strip():
            continue
        try:
            found = loads(line)
        except JsonError:
            yield Line(None, line.rstrip("\r\n"))
            continue
        for each in found if isinstance(found, list) else [found]:
            yield Line(each) if isinstance(each, dict) else Line(None, line.rstrip("\r\n"))


def _parquet(path: Path) -> Iterator[Line]:
    import pyarrow as pa  # noqa: PLC0415 - the gateway does without it until a run reads Parquet
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1000):
                yield from (Line(_without_nulls(row)) for row in batch.to_pylist())
    except pa.ArrowException as error:
        raise BadFile(str(error)) from error


def _without_nulls(value: dict[str, Json]) -> dict[str, Json]:
    """Return a row without what it has no value for: a column of Parquet is there for every row."""
    return {name: _cleaned(each) for name, each in value.items() if each is not None}


def _cleaned(value: Json) -> Json:
    if isinstance(value, dict):
        return _without_nulls(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value if each is not None]
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)  # a Parquet timestamp without a zone
    return value
