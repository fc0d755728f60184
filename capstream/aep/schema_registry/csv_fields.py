"""Reads the CSV form of a schema into field definitions. Source: schema-registry.md 9 (csv2schema). Pure.

ASSUMPTIONS: a header row is optional; custom fields named without the tenant's object are put into it; values of `enum`
are separated by `|` or `;`, each `value` or `value:label`; `[]` or `[*]` after a name on the way means an array of objects;
a row of a standard group takes the whole group.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from types import MappingProxyType

from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.kernel.json import Json, JsonError, loads
from capstream.xdm.schema import INTEGER_RANGES

COLUMNS = (
    *("isIgnored", "isCustom", "fieldGroupId", "fieldGroupName", "fieldPath", "displayName", "fieldDescription", "dataType"),
    *("isRequired", "isArray", "isIdentity", "identityNamespace", "isPrimaryIdentity", "minimum", "maximum", "enum"),
    *("stringPattern", "format", "minLength", "maxLength", "properties", "$ref", "comment"),
)
_TYPES: Mapping[str, dict[str, Json]] = MappingProxyType(
    {
        **{name: {"type": "string"} for name in ("", "string")},
        **{name: {"type": "number"} for name in ("number", "double", "float", "decimal")},
        **{name: {"type": "integer"} for name in ("integer", "int")},
        **{
            name: {"type": "integer", "minimum": INTEGER_RANGES[name][0], "maximum": INTEGER_RANGES[name][1]}
            for name in ("byte", "short", "long")
        },
        "boolean": {"type": "boolean"},
        "date": {"type": "string", "format": "date"},
        **{name: {"type": "string", "format": "date-time"} for name in ("date-time", "datetime", "timestamp")},
        "object": {"type": "object"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    }
)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "y"}), frozenset({"", "false", "0", "no", "n"})
_TIMES = frozenset({"date", "date-time"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line that counts."""

    line: int
    cells: Mapping[str, str]

    def flag(self, name: str) -> bool:
        """Return a yes or no. Errors: Refusal 1600 for anything else."""
        text = self.cells[name].lower()
        if text not in _TRUE | _FALSE:
            raise self.refused(name, f"{self.cells[name]!r} is neither true nor false")
        return text in _TRUE

    def number(self, name: str, read: Callable[[str], float]) -> float | None:
        """Return a number, None for an empty cell. Errors: Refusal 1600."""
        if not self.cells[name]:
            return None
        try:
            return read(self.cells[name])
        except ValueError:
            raise self.refused(name, f"{self.cells[name]!r} is no number") from None

    def refused(self, column: str, reason: str) -> Refusal:
        """Return the refusal that names line and column."""
        return Refusal(Faults.BAD_REQUEST, f"csv-file, line {self.line}, {column}: {reason}.")


def rows(text: str) -> list[Row]:
    """Return the lines of a file that are neither ignored nor empty. Errors: Refusal 1600."""
    try:
        return list(_rows(text))
    except csv.Error as error:
        raise Refusal(Faults.BAD_REQUEST, f"csv-file: it cannot be read: {error}.") from None


def _rows(text: str) -> Iterator[Row]:
    columns: Sequence[str] = COLUMNS
    reader = csv.reader(StringIO(text.removeprefix("\ufeff")), strict=True)
    for cells in reader:
        names = [cell.strip().removesuffix("*") for cell in cells]
        if "fieldPath" in names and "isCustom" in names:
            columns = names
        elif any(cell.strip() for cell in cells):
            found = dict.fromkeys(COLUMNS, "") | {
                name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name in COLUMNS
            }
            row = Row(reader.line_num, found)
            if not row.flag("isIgnored"):
                for name in ("isCustom", "fieldPath"):
                    if not found[name]:
                        raise row.refused(name, "a value is required")
                yield row


def custom_fields(of_group: Sequence[Row], namespace: str) -> dict[str, Json]:
    """Return the properties of a custom field group, all below the tenant's object. Errors: Refusal 1600 names the line."""
    root: dict[str, Json] = {"type": "object", "properties": {}}
    for row in of_group:
        way = [step for step in row.cells["fieldPath"].replace("/", ".").split(".") if step]
        if not way or way == [namespace]:
            raise row.refused("fieldPath", "it names no field")
        _place(root, way if way[0] == namespace else [namespace, *way], row)
    properties: dict[str, Json] = root["properties"]
    return properties


def _place(holder: dict[str, Json], way: Sequence[str], row: Row) -> None:
    for step in way[:-1]:
        name = step.removesuffix("[*]").removesuffix("[]")
        child = holder["properties"].setdefault(name, _holder(is_array=name != step))
        holder = child.get("items", child) if child.get("type") == "array" else child
        if "properties" not in holder:
            raise row.refused("fieldPath", f"{name} is no object on an earlier line")
    name = way[-1].removesuffix("[*]").removesuffix("[]")
    known, fresh = holder["properties"].get(name), _definition(row, is_array=name != way[-1])
    if known is not None and not (fresh.get("type") == known.get("type") == "object" and "properties" in fresh):
        raise row.refused("fieldPath", f"{row.cells['fieldPath']} is defined twice")
    if known is not None:
        fresh["properties"] = known.get("properties", {}) | fresh["properties"]
    holder["properties"][name] = fresh
    if row.flag("isRequired"):
        holder["required"] = [*holder.get("required", []), name]


def _holder(*, is_array: bool) -> dict[str, Json]:
    node: dict[str, Json] = {"type": "object", "properties": {}}
    return {"type": "array", "items": node} if is_array else node


def _definition(row: Row, *, is_array: bool) -> dict[str, Json]:
    name = row.cells["dataType"].lower()
    if row.cells["$ref"]:
        node: dict[str, Json] = {"$ref": row.cells["$ref"], "type": "object"}
    elif name not in _TYPES:
        raise row.refused("dataType", f"{row.cells['dataType']!r} is none of {', '.join(filter(None, _TYPES))}")
    else:
        node = {**_TYPES[name], **_rules(row, _TYPES[name])}
    if name == "object" and not row.cells["$ref"]:
        node["properties"] = _members(row)
    texts = {"title": row.cells["displayName"], "description": row.cells["fieldDescription"]}
    shown = {key: text for key, text in texts.items() if text}
    return {"type": "array", "items": node, **shown} if is_array or row.flag("isArray") else {**node, **shown}


def _rules(row: Row, base: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if base["type"] in {"number", "integer"}:
        read: Callable[[str], float] = int if base["type"] == "integer" else float
        found = {name: row.number(name, read) for name in ("minimum", "maximum")}
    elif base["type"] == "string" and base.get("format") not in _TIMES:
        least = row.number("minLength", int)
        found = {"minLength": 1 if least is None else least, "maxLength": row.number("maxLength", int)}
        found |= {"pattern": row.cells["stringPattern"] or None, "format": row.cells["format"] or None}
    values = [value.strip() for value in row.cells["enum"].replace(";", "|").split("|") if value.strip()]
    if values:
        labels = {value.partition(":")[0]: value.partition(":")[2] or value for value in values}
        found |= {"enum": list(labels), "meta:enum": labels}
    return {key: value for key, value in found.items() if value is not None}


def _members(row: Row) -> dict[str, Json]:
    if not row.cells["properties"]:
        return {}
    try:
        found = loads(row.cells["properties"])
    except JsonError:
        found = None
    if not isinstance(found, dict):
        raise row.refused("properties", "a JSON object of field definitions is needed")
    return found
