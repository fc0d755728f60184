"""The first rows of a file, and what kind of file it is. Pure. Source: batch-ingestion.md B3, B4."""

import bz2
import csv
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from capstream.kernel.json import Json, JsonError, loads

ROWS = 100
READ_BYTES = 1 << 20  #: of a file that is read from its beginning
WHOLE_BYTES = 64 << 20  #: of one that must be read whole (parquet, zip, tar)

FILE_TYPES = ("delimited", "json", "parquet")
COMPRESSIONS = ("bzip2", "gzip", "deflate", "zipDeflate", "tarGzip", "tar")
_WHOLE = frozenset({"zipDeflate", "tarGzip", "tar"})
_BY_SUFFIX = {".gz": "gzip", ".bz2": "bzip2", ".tgz": "tarGzip", ".tar.gz": "tarGzip", ".tar": "tar", ".zip": "zipDeflate"}
_DELIMITERS = ",;\t|"


class BadFile(Exception):
    """The file cannot be shown; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """How to read a file."""

    file_type: str = "delimited"
    delimiter: str = ","
    encoding: str = "UTF-8"
    compression: str = ""

    @property
    def bytes_needed(self) -> int:
        """Return how many bytes of the file it takes to show its first rows."""
        return WHOLE_BYTES if self.file_type == "parquet" or self.compression in _WHOLE else READ_BYTES

    def shown(self) -> dict[str, Json]:
        """Return the properties as the service names them."""
        found: dict[str, Json] = {"fileType": self.file_type}
        if self.compression:
            found["compressionType"] = self.compression
        if self.file_type == "delimited":
            found["columnDelimiter"] = self.delimiter
        return found


@dataclass(frozen=True, slots=True)
class Preview:
    """Columns as (name, type), and rows as objects."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[dict[str, Json]]


def determined(name: str, head: bytes) -> Properties:
    """Return how a file is to be read, from its name and its first bytes. Errors: BadFile."""
    lower = name.lower()
    suffix = next((each for each in sorted(_BY_SUFFIX, key=len, reverse=True) if lower.endswith(each)), "")
    compression = _BY_SUFFIX.get(suffix, "")
    if not compression and head.startswith(b"\x1f\x8b"):
        compression = "gzip"
    if compression in _WHOLE:
        return Properties(file_type=_by_name(lower.removesuffix(suffix)) or "delimited", compression=compression)
    plain = unpacked(head, Properties(compression=compression))
    kind = _by_name(lower.removesuffix(suffix)) or _by_content(plain)
    found = Properties(file_type=kind, compression=compression)
    return replace(found, delimiter=_delimiter(plain)) if kind == "delimited" else found


def _by_name(name: str) -> str:
    kinds = {".csv": "delimited", ".tsv": "delimited", ".psv": "delimited", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
    kinds[".parquet"] = "parquet"
    return next((kind for suffix, kind in kinds.items() if name.endswith(suffix)), "")


def _by_content(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if head.lstrip()[:1] in (b"{", b"[") else "delimited"


def _delimiter(head: bytes) -> str:
    line = head.decode("utf-8", "replace").lstrip("\ufeff").partition("\n")[0]
    return max(_DELIMITERS, key=line.count) if line else ","


def unpacked(content: bytes, properties: Properties) -> bytes:
    """Return the content without its compression; of a cut-off file what its beginning gives. Errors: BadFile."""
    unpack = _UNPACKERS.get(properties.compression)
    if unpack is None:
        return content
    try:
        return unpack(content)[: READ_BYTES if properties.file_type != "parquet" else None]
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BadFile(f"the file is not {properties.compression}: {error}") from error


def _inflated(window: int) -> Callable[[bytes], bytes]:
    return lambda content: zlib.decompressobj(wbits=window).decompress(content, WHOLE_BYTES)


def _first_of_tar(content: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = next((each for each in archive if each.isfile()), None)
        file = archive.extractfile(member) if member else None
        return file.read(WHOLE_BYTES) if file else b""


def _first_of_zip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next((each.filename for each in archive.infolist() if not each.is_dir()), "")
        if not name:
            return b""
        with archive.open(name) as file:
            return file.read(WHOLE_BYTES)


_UNPACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": _inflated(31),
    "deflate": _inflated(-15),
    "bzip2": lambda content: bz2.BZ2Decompressor().decompress(content, WHOLE_BYTES),
    "tar": _first_of_tar,
    "tarGzip": _first_of_tar,
    "zipDeflate": _first_of_zip,
}


def preview(content: bytes, properties: Properties) -> Preview:
    """Return the first rows of a file. Errors: BadFile."""
    plain = unpacked(content, properties)
    if properties.file_type == "parquet":
        return _parquet(plain)
    try:
        text = plain.decode(properties.encoding, "replace").lstrip("\ufeff")
    except LookupError as error:
        raise BadFile(f"encoding {properties.encoding} is unknown") from error
    return _json(text) if properties.file_type == "json" else _delimited(text, properties.delimiter)


def _delimited(text: str, delimiter: str) -> Preview:
    if len(delimiter) != 1:
        raise BadFile("columnDelimiter must be a single character")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(lines, [])
        rows = [dict(zip(header, line, strict=False)) for line, _ in zip(lines, range(ROWS), strict=False) if line]
    except csv.Error as error:
        raise BadFile(f"the file is not delimited text: {error}") from error
    if not any(header):
        raise BadFile("the file has no header row")
    return Preview([(name, "string") for name in header], rows)


def _json(text: str) -> Preview:
    rows = _json_rows(text)
    columns: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            if columns.get(name, "null") == "null":
                columns[name] = _type(value)
    return Preview([(name, "string" if kind == "null" else kind) for name, kind in columns.items()], rows)


def _json_rows(text: str) -> list[dict[str, Json]]:
    try:
        whole = loads(text)
    except JsonError:
        rows = []
        for line in text.splitlines()[:ROWS]:
            try:
                rows.append(loads(line))
            except JsonError as error:
                if rows:  # the last line may be cut off
                    break
                raise BadFile(f"the file holds neither JSON nor a JSON object a line: {error}") from error
        whole = rows
    listed = whole if isinstance(whole, list) else [whole]
    if not all(isinstance(each, dict) for each in listed[:ROWS]):
        raise BadFile("the file must hold JSON objects")
    return listed[:ROWS]


def _type(value: Json) -> str:
    kinds = {bool: "boolean", int: "integer", float: "double", str: "string", dict: "object", list: "array"}
    return kinds.get(type(value), "null")


def _parquet(content: bytes) -> Preview:
    import pyarrow as pa  # noqa: PLC0415 - the gateway does without it until somebody looks into a Parquet file
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        rows = next(file.iter_batches(ROWS), None)
    except (pa.ArrowException, OSError) as error:
        raise BadFile(f"the file is no Parquet file: {error}") from error
    columns = [(field.name, str(field.type)) for field in file.schema_arrow]
    return Preview(columns, [] if rows is None else rows.to_pylist())
