"""The files users exchange: mapping rows as CSV, JSON or XLSX. Pure. Source: data-prep.md 1.10 (ASSUMPTION: column names)."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from capstream.aep.data_prep.rows import Row, SourceType, row_of, source_type_of
from capstream.aep.data_prep.rules import misfits
from capstream.kernel.json import Json, JsonError, loads
from capstream.lang.paths import PathError, parse_path
from capstream.xdm.schema import Schema

COLUMNS = ("source", "destination", "sourceType", "name", "description")
_ALIASES = {
    "source": "source", "sourcefield": "source", "sourcedata": "source", "sourceattribute": "source",
    "destination": "destination", "targetfield": "destination", "target": "destination", "destinationxdmpath": "destination",
    "xdmfield": "destination",
    "sourcetype": "sourceType", "type": "sourceType",
    "name": "name", "description": "description",
}  # fmt: skip
_PLAIN_PATH = re.compile(r"(?:[\w $@.:-]|\[(?:\*|[0-9]*)\]|\\.|\$\{[^}]*\})+", re.DOTALL)
_MOST_ROWS = 10_000
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row that cannot be imported. `line` is 0 when the whole file cannot."""

    place: str  #: `line 3` of a CSV, `row 3` of a sheet, `item 3` of a JSON array
    reason: str


class NotImported(ValueError):
    """Nothing is imported. Carries every Misfit."""

    def __init__(self, misfits: Sequence[Misfit]) -> None:
        super().__init__("; ".join(f"{one.place}: {one.reason}" for one in misfits))
        self.misfits = tuple(misfits)


@dataclass(frozen=True, slots=True)
class Imported:
    """One mapping of a file and where it stood."""

    place: str
    mapping: dict[str, Json]  #: sourceType, source, destination, and name and description when they say something

    @property
    def row(self) -> Row:
        """Return what the compiler reads of it."""
        return row_of(self.mapping)


def read_mappings(content: bytes, file_name: str) -> list[Imported]:
    """Return the mappings of a file; its name tells the format. Errors: NotImported."""
    if len(content) > _MOST_BYTES:
        raise _whole(f"the file is larger than {_MOST_BYTES >> 20} MiB; split it")
    suffix = file_name.lower().rpartition(".")[2]
    if suffix == "json":
        return _json_mappings(content)
    if suffix == "csv":
        return _table(_csv_lines(content))
    if suffix == "xlsx":
        return _table(_sheet_lines(content))
    raise _whole("the name must end in .csv, .json or .xlsx")


def check(found: Sequence[Imported], schema: Schema | None) -> None:
    """Refuse mappings that fail V1 or V2, each with its line. Errors: NotImported."""
    wrong = misfits([one.row for one in found], schema)
    listed = [Misfit(one.place, reason) for one, reasons in zip(found, wrong, strict=True) for reason in reasons]
    if listed:
        raise NotImported(listed)


def write_csv(mappings: Iterable[dict[str, Json]]) -> str:
    """Return stored or posted mappings as CSV; reading it back gives the same mappings."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for mapping in mappings:
        row = row_of(mapping)
        texts = [mapping.get(name) or "" for name in ("name", "description")]
        writer.writerow([row.source, row.destination, str(row.source_type), *texts])
    return written.getvalue()


def _whole(reason: str) -> NotImported:
    return NotImported([Misfit("file", reason)])


# ---- JSON -------------------------------------------------------------------------------------------------------------


def _json_mappings(content: bytes) -> list[Imported]:
    try:
        value = loads(content.removeprefix(b"\xef\xbb\xbf"))
    except (JsonError, RecursionError) as error:
        raise _whole(f"not JSON: {error}") from error
    items = value.get("mappings") if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise _whole("an array of mappings, or a mapping set with mappings, is needed")
    return _collected((f"item {at}", item) for at, item in enumerate(items, 1))


def _collected(items: Iterable[tuple[str, Json]]) -> list[Imported]:
    found: list[Imported] = []
    wrong: list[Misfit] = []
    for place, item in items:
        if isinstance(item, dict) and not (item.get("destination") or item.get("destinationXdmPath")):
            continue  # a row nobody has mapped yet
        try:
            found.append(Imported(place, _mapping(item)))
        except ValueError as error:
            wrong.append(Misfit(place, str(error)))
    if len(found) > _MOST_ROWS:
        raise _whole(f"{len(found)} mappings; a set holds at most {_MOST_ROWS}")
    if wrong:
        raise NotImported(wrong)
    if not found:
        raise _whole("it holds no mapping: no row has a destination")
    return found


def _mapping(item: Json) -> dict[str, Json]:
    if not isinstance(item, dict):
        raise ValueError("a mapping is an object with sourceType, source and destination")
    row = row_of(item)
    mapping: dict[str, Json] = {"sourceType": str(row.source_type), "source": row.source, "destination": row.destination}
    return mapping | {name: item[name] for name in ("name", "description") if item.get(name)}


# ---- tables -----------------------------------------------------------------------------------------------------------


def _csv_lines(content: bytes) -> Iterator[tuple[str, list[str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _whole(f"the text must be UTF-8: byte {error.start} is not") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = 0
    try:
        for cells in reader:
            yield f"line {before + 1}", cells
            before = reader.line_num
    except csv.Error as error:
        raise NotImported([Misfit(f"line {before + 1}", f"not CSV: {error}")]) from error


def _sheet_lines(content: bytes) -> Iterator[tuple[str, list[str]]]:
    from openpyxl import load_workbook  # noqa: PLC0415 - slow to import, and hardly anybody needs it
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    try:
        sheet = load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets[0]
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            yield f"row {number}", [_cell(value) for value in cells]
    except (zipfile.BadZipFile, InvalidFileException, KeyError, IndexError, ValueError, SyntaxError) as error:
        raise _whole(f"not an XLSX workbook: {error}") from error


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _table(lines: Iterator[tuple[str, list[str]]]) -> list[Imported]:
    header = next((cells for _, cells in lines if any(cells)), [])
    columns = [_ALIASES.get("".join(cell.lower().split())) for cell in header]
    for needed in ("source", "destination"):
        if columns.count(needed) != 1:
            raise _whole(f"the header must have one column {needed}; it is {', '.join(header)[:200] or 'empty'}")
    return _collected((place, _item(columns, cells)) for place, cells in lines if any(cells))


def _item(columns: Sequence[str | None], cells: Sequence[str]) -> dict[str, Json]:
    item: dict[str, Json] = {name: cell for name, cell in zip(columns, cells, strict=False) if name is not None}
    item.setdefault("source", "")
    item.setdefault("destination", "")
    if not str(item.get("sourceType") or "").strip():
        item["sourceType"] = str(guessed_type(item["source"]))
    elif source_type_of(item["sourceType"]) is None:
        item["sourceType"] = str(item["sourceType"]).strip()
    return item


def guessed_type(source: str) -> SourceType:
    """Return the source type of a row that states none: a plain path is an attribute, all else an expression."""
    if _PLAIN_PATH.fullmatch(source) is None or " - " in source:
        return SourceType.EXPRESSION
    try:
        parse_path(source)
    except PathError:
        return SourceType.EXPRESSION
    return SourceType.ATTRIBUTE
