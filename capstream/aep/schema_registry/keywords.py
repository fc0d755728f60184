"""Values of the JSON Schema keywords in a tenant's definitions. Source: schema-registry.md 5.5, xdm.md 3. Pure."""

from collections.abc import Callable, Iterator

from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.kernel.json import Json

_Check = Callable[[Json], bool]


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_object(value: Json) -> bool:
    return isinstance(value, dict)


def _are_texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_objects(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


_SHAPES: dict[str, tuple[_Check, str]] = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_is_number, "a number")),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (_is_count, "a whole number of at least 0")),
    **dict.fromkeys(("pattern", "format", "title", "description", "$ref", "meta:xdmType", "meta:status"), (_is_text, "a text")),
    **dict.fromkeys(("properties", "definitions", "items", "meta:enum"), (_is_object, "a JSON object")),
    "allOf": (_are_objects, "a list of JSON objects"),
    "required": (_are_texts, "a list of member names"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of at least one value"),
    "additionalProperties": (lambda value: isinstance(value, bool | dict), "true, false or a JSON object"),
}
_PAIRS = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_VALUES: dict[str, _Check] = {
    "string": _is_text,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
}


def check_keywords(path: str, node: dict[str, Json]) -> None:
    """Refuse a keyword whose value JSON Schema does not allow. Errors: Refusal 1600 names the field and the keyword."""
    for keyword, (fits, expected) in _SHAPES.items():
        if keyword in node and not fits(node[keyword]):
            raise Refusal(Faults.BAD_REQUEST, f"{path or '/'}: {keyword} must be {expected}.")
    for low, high in _PAIRS:
        if low in node and high in node and node[low] > node[high]:
            raise Refusal(Faults.BAD_REQUEST, f"{path or '/'}: {low} {node[low]} is above {high} {node[high]}: no value fits.")
    kind = node.get("type")
    allowed = _VALUES.get(kind) if isinstance(kind, str) else None
    for value in node.get("enum", []):
        if allowed is not None and not allowed(value):
            raise Refusal(Faults.BAD_REQUEST, f"{path or '/'}: enum holds {value!r}, which is no {kind}.")


def check_recursion(document: dict[str, Json]) -> None:
    """Refuse local references that lead into themselves. Errors: Refusal 1600 names the reference."""
    _follow(document, document, ())


def _follow(document: dict[str, Json], node: Json, trail: tuple[str, ...]) -> None:
    for reference in _local_references(node):
        if reference in trail:
            raise Refusal(Faults.BAD_REQUEST, f"{reference}: a definition cannot contain itself.")
        _follow(document, _target(document, reference), (*trail, reference))


def _local_references(node: Json) -> Iterator[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith("#"):
            yield target
        for value in node.values():
            yield from _local_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _local_references(value)


def _target(document: Json, reference: str) -> Json:
    """Return what a local reference names, None when it names nothing: composition tells about that."""
    found = document
    for part in filter(None, reference.lstrip("#").split("/")):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found
