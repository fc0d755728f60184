"""What the mapping tests share: schemas from plain JSON Schema, the conformance cases, programs."""

from pathlib import Path
from typing import Any

from capstream.aep.data_prep.compiler import Program, compile_set
from capstream.aep.data_prep.rows import Row, rows_of
from capstream.kernel.json import Json, loads
from capstream.xdm.schema import Field, Schema

CASES = Path(__file__).parents[3] / "cases" / "data-prep.jsonl"
NOW_MS = 1_753_000_000_123
_KINDS: dict[str, Any] = {"integer": "long", "number": "number", "boolean": "boolean"}


def mapping_cases() -> list[dict[str, Json]]:
    return [case for line in CASES.read_bytes().splitlines() if (case := loads(line)).get("kind") == "mapping-set"]


def field(described: Json) -> Field:
    kind = described["type"]
    if kind == "string":
        texts: dict[str, Any] = {"date": "date", "date-time": "date-time"}
        return Field(kind=texts.get(described.get("format"), "string"))
    if kind == "array":
        return Field(kind="array", items=field(described["items"]))
    if kind == "object" and "additionalProperties" in described:
        return Field(kind="map", values=field(described["additionalProperties"]))
    if kind == "object":
        children = {name: field(child) for name, child in described["properties"].items()}
        return Field(kind="object", children=children, required=frozenset(described.get("required", ())))
    return Field(kind=_KINDS[kind], minimum=described.get("minimum"), maximum=described.get("maximum"))


def schema(described: Json) -> Schema | None:
    if described is None:
        return None
    return Schema(id="test", title="test", behaviour="record", class_id="test", root=field(described))


def rows(*listed: tuple[str, str, str]) -> list[Row]:
    """Return rows of (source type, source, destination); a source type may be its first letter."""
    kinds = {"A": "ATTRIBUTE", "S": "STATIC", "E": "EXPRESSION"}
    mappings = [{"sourceType": kinds.get(kind, kind), "source": source, "destination": to} for kind, source, to in listed]
    return rows_of({"mappings": mappings})


def program(listed: list[tuple[str, str, str]], described: Json = None, **options: bool) -> Program:
    return compile_set(rows(*listed), schema(described), clock=lambda: NOW_MS, **options)
