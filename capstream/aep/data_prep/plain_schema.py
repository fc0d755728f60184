"""JSON Schema with everything in it to a schema the compiler reads: mapping cases, `-full` answers, files of users. Pure."""

from typing import cast

from capstream.kernel.json import Json
from capstream.xdm.schema import KINDS, Field, Kind, Schema

_DEEPEST = 64
_KINDS: dict[str, Kind] = {"integer": "long", "number": "number", "boolean": "boolean", "array": "array", "object": "object"}
_TEXTS: dict[str, Kind] = {"date": "date", "date-time": "date-time"}


class BadSchema(ValueError):
    """The text is no schema a mapping can lead to."""


def plain_schema(described: Json, *, schema_id: str = "") -> Schema:
    """Return the schema of a JSON Schema without references.

    Errors: BadSchema. Source: data-prep.md 9 (`schema`); an integer without bounds is a `long`.
    """
    root = _field(described, "", 0)
    if root.kind not in {"object", "map"}:
        raise BadSchema(f"schema: a record is an object, not {root.kind}; write type: object with properties")
    title = str(described.get("title") or schema_id)
    return Schema(id=schema_id, title=title, behaviour="record", class_id="", root=root)


def _field(described: Json, path: str, depth: int) -> Field:
    where = path or "schema"
    if not isinstance(described, dict):
        raise BadSchema(f"{where}: the definition of a field is a JSON object")
    if depth > _DEEPEST:
        raise BadSchema(f"{where}: nested deeper than {_DEEPEST} levels")
    if "$ref" in described or "allOf" in described:
        raise BadSchema(f"{where}: references are not followed; write the schema out, or name its id on a server")
    kind = _kind(described, where)
    if kind == "array":
        items = described.get("items")
        return Field(kind=kind, items=None if items is None else _field(items, f"{path}[*]", depth + 1))
    if kind == "map":
        values = described.get("additionalProperties")
        return Field(kind=kind, values=_field(values, f"{path}.*", depth + 1) if isinstance(values, dict) else None)
    if kind == "object":
        properties = described.get("properties") or {}
        children = {name: _field(one, f"{path}.{name}" if path else name, depth + 1) for name, one in properties.items()}
        return Field(kind=kind, children=children, required=frozenset(described.get("required") or ()))
    return Field(kind=kind, minimum=described.get("minimum"), maximum=described.get("maximum"))


def _kind(described: dict[str, Json], where: str) -> Kind:
    stated, kind = described.get("meta:xdmType"), described.get("type")
    if stated in KINDS:
        return cast("Kind", stated)
    if kind == "string":
        return _TEXTS.get(described.get("format", ""), "string")
    if kind in {"object", None} and isinstance(described.get("additionalProperties"), dict) and not described.get("properties"):
        return "map"
    if kind is None and "properties" in described:
        return "object"
    if kind not in _KINDS:
        known = ", ".join(["string", *_KINDS])
        raise BadSchema(f"{where}: type {kind!r} is unknown; known are {known}")
    return _KINDS[kind]
