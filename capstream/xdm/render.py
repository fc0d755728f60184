"""Writes a composed field back as JSON Schema, in either notation. Source: schema-registry.md 2 (`-full`, `-flat`)."""

from collections.abc import Iterator

from capstream.kernel.json import Json
from capstream.xdm.schema import INTEGER_RANGES, Field

_KEYWORDS = (
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("exclusive_minimum", "exclusiveMinimum"),
    ("exclusive_maximum", "exclusiveMaximum"),
    ("min_length", "minLength"),
    ("max_length", "maxLength"),
    ("min_items", "minItems"),
    ("max_items", "maxItems"),
    ("pattern", "pattern"),
    ("default", "default"),
)
_TEXTUAL = {"date": "date", "date-time": "date-time"}


def full(field: Field, *, standard_names: bool = False) -> dict[str, Json]:
    """Return the definition with all members resolved; `standard_names` undoes compatibility notation."""
    node = _own(field)
    if field.kind == "object":
        members = list(_members(field, standard_names=standard_names))
        node["properties"] = {name: full(child, standard_names=standard_names) for name, child, _ in members}
        required = [name for name, _, needed in members if needed]
        if required:
            node["required"] = required
    if field.items is not None:
        node["items"] = full(field.items, standard_names=standard_names)
    if field.values is not None:
        node["additionalProperties"] = full(field.values, standard_names=standard_names)
    return node


def flat(field: Field, *, standard_names: bool = False, prefix: str = "") -> dict[str, Json]:
    """Return path -> definition for every member, steps joined by `/`, items of arrays as `a[*]/b`."""
    found: dict[str, Json] = {}
    for name, child, _ in _members(field, standard_names=standard_names):
        path = f"{prefix}/{name}" if prefix else name
        found[path] = _own(child)
        inner, inner_path = child, path
        while inner.items is not None:
            inner, inner_path = inner.items, f"{inner_path}[*]"
        found.update(flat(inner, standard_names=standard_names, prefix=inner_path))
    return found


def _members(field: Field, *, standard_names: bool) -> Iterator[tuple[str, Field, bool]]:
    """Yield (name, child, required); in standard notation the objects made from prefixes vanish."""
    for name, child in field.children.items():
        if standard_names and child.converted:
            yield from _members(child, standard_names=True)
        else:
            shown = child.xdm_field or name if standard_names else name
            yield shown, child, name in field.required


def _own(field: Field) -> dict[str, Json]:
    node: dict[str, Json] = {}
    if field.title:
        node["title"] = field.title
    if field.description:
        node["description"] = field.description
    node["type"] = _json_type(field)
    shown_format = _TEXTUAL.get(field.kind) or field.format
    if shown_format:
        node["format"] = shown_format
    for attribute, keyword in _KEYWORDS:
        value = getattr(field, attribute)
        if value is not None:
            node[keyword] = value
    if field.kind in INTEGER_RANGES and field.kind != "int":
        low, high = INTEGER_RANGES[field.kind]
        node.setdefault("minimum", low)
        node.setdefault("maximum", high)
    if field.enum is not None:
        node["enum"] = list(field.enum)
    if field.suggested is not None:
        node["meta:enum"] = dict(field.suggested)
    return {**node, **_annotations(field)}


def _annotations(field: Field) -> dict[str, Json]:
    notes: dict[str, Json] = {"meta:xdmType": field.kind}
    if field.xdm_field:
        notes["meta:xdmField"] = field.xdm_field
    if field.converted:
        notes["meta:xedConverted"] = True
    if field.source:
        notes["meta:referencedFrom"] = field.source
    if field.status:
        notes["meta:status"] = field.status
    return notes


def _json_type(field: Field) -> str:
    if field.kind in INTEGER_RANGES:
        return "integer"
    if field.kind in _TEXTUAL:
        return "string"
    return "object" if field.kind == "map" else field.kind
