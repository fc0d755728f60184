"""Composes components into the effective schema. Source: xdm.md 2, 3 and 5."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import cast

from capstream.kernel.json import Json
from capstream.xdm.formats import pattern_of
from capstream.xdm.merge import CompositionError, merge, placed
from capstream.xdm.names import XDM, compatible
from capstream.xdm.schema import INTEGER_RANGES, KINDS, Behaviour, Field, Kind, Schema

Lookup = Callable[[str], Json | None]
"""Returns the component document under an `$id`, or None."""

_CONTEXT = XDM + "common/extensible"
_BEHAVIOURS: dict[str, Behaviour] = {
    XDM + "data/record": "record",
    XDM + "data/time-series": "time-series",
    XDM + "data/adhoc": "adhoc",
}
_STRING_KINDS: dict[str, Kind] = {"date": "date", "date-time": "date-time"}
_EMPTY = Field(kind="object")


def compose(references: Sequence[str], lookup: Lookup, *, schema_id: str, title: str = "", version: str = "1.0") -> Schema:
    """Return the schema made of a class and field groups, the class first.

    Errors: CompositionError `reference` for an unknown `$id`, `conflict` for two types under one path, `definition`
    for a field nobody can read.
    """
    parts = [component_field(reference, lookup) for reference in references] or [_EMPTY]
    root = reduce(merge, parts)  # a data type alone may be an array or a map
    class_id = references[0] if references else ""
    return Schema(
        id=schema_id,
        title=title,
        behaviour=behaviour_of(class_id, lookup),
        class_id=class_id,
        root=replace(root, title="", source=""),
        version=version,
    )


def component_field(reference: str, lookup: Lookup) -> Field:
    """Return the composed field of one component."""
    return _Composer(lookup, ()).component(reference, "")


def document_field(document: Json, lookup: Lookup) -> Field:
    """Return the composed field of a component that is not stored yet."""
    return _Composer(lookup, ()).document(document, "")


def ancestors(reference: str, lookup: Lookup) -> list[str]:
    """Return the `$id`s a component extends, transitively, in the order of discovery, itself left out."""
    found: list[str] = []
    waiting = [reference]
    while waiting:
        document = lookup(waiting.pop(0)) or {}
        for entry in document.get("allOf", []):
            target = entry.get("$ref") or entry.get("items", {}).get("$ref") or "#"
            base = target.partition("#")[0]
            if base and base != _CONTEXT and base not in found:
                found.append(base)
                waiting.append(base)
    return found


def behaviour_of(reference: str, lookup: Lookup) -> Behaviour:
    """Return the behaviour a class extends; `record` when none is named."""
    for candidate in (reference, *ancestors(reference, lookup)):
        if candidate in _BEHAVIOURS:
            return _BEHAVIOURS[candidate]
    return "record"


@dataclass(frozen=True, slots=True)
class _Composer:
    """One walk down from a component. `trail` holds the components it is inside of, so that recursion ends."""

    lookup: Lookup
    trail: tuple[str, ...]

    def component(self, reference: str, path: str) -> Field:
        base, _, pointer = reference.partition("#")
        if base in self.trail:
            return _EMPTY
        document = self.lookup(base)
        if document is None:
            raise CompositionError("reference", path, f"refers to {base}, which does not exist")
        inner = _Composer(self.lookup, (*self.trail, base))
        if pointer:
            return inner.node(_resolve(document, pointer, path), document, path)
        return inner.document(document, path)

    def document(self, document: Json, path: str) -> Field:
        """Compose `allOf` in order, then the document's own properties."""
        if document.get("type") == "array" or _is_map(document):
            return self.node(document, document, path)
        return self._all_of(document, document, path)

    def _all_of(self, node: Json, document: Json, path: str) -> Field:
        found = _EMPTY
        for entry in node.get("allOf", []):
            if "$ref" not in entry and isinstance(entry.get("items"), dict):
                entry = entry["items"]
            if entry.get("$ref", "").partition("#")[0] == _CONTEXT:
                continue
            part = self.node({"type": "object", **entry}, document, path)
            found = merge(found, replace(part, title="", description="", source=""), path=path)
        return merge(found, self._own(node, document, path), path=path)

    def _own(self, node: Json, document: Json, path: str) -> Field:
        members: dict[str, Field] = {}  # one object for all: merging member by member would copy the growing object each time
        for name, child in (node.get("properties") or {}).items():
            way = compatible(name)
            here = ".".join((path, *way) if path else way)
            field = replace(self.node(child, document, here), xdm_field=name)
            first, whole = way[0], placed(way, field).children[way[0]]
            known = members.get(first)
            where = f"{path}.{first}" if path else first
            members[first] = whole if known is None else merge(known, whole, path=where)
        ways = [compatible(name) for name in node.get("required") or []]
        found = Field(kind="object", children=members, required=frozenset(way[0] for way in ways))
        for way in ways:
            if len(way) > 1:
                found = merge(found, _required(way), path=path)
        return found

    def node(self, node: Json, document: Json, path: str) -> Field:
        """Compose one definition: a reference, an object, a map, an array or a scalar."""
        if not isinstance(node, dict):
            raise CompositionError("definition", path, "a field definition must be a JSON object")
        if "$ref" in node:
            return self._reference(node, document, path)
        kind = kind_of(node, path)
        texts = _texts(node)
        if kind == "object":
            return replace(self._all_of(node, document, path), **texts)
        if kind == "array":
            items = node.get("items")
            inner = None if items is None else self.node(items, document, f"{path}[]")
            return Field(kind="array", items=inner, min_items=node.get("minItems"), max_items=node.get("maxItems"), **texts)
        if kind == "map":
            values = node.get("additionalProperties")
            inner = self.node(values, document, f"{path}.{{key}}") if isinstance(values, dict) else None
            return Field(kind="map", values=inner, **texts)
        return _scalar(kind, node, texts, path)

    def _reference(self, node: Json, document: Json, path: str) -> Field:
        reference = node["$ref"]
        if reference.startswith("#"):
            target = self.node(_resolve(document, reference[1:], path), document, path)
            return replace(target, **{key: text for key, text in _texts(node).items() if text})
        target = self.component(reference, path)
        base = reference.partition("#")[0]
        texts = {"title": "", "description": "", **{key: text for key, text in _texts(node).items() if text}}
        return replace(target, **{**texts, "source": base})


def kind_of(node: Json, path: str = "") -> Kind:
    """Return the XDM type of a definition. Errors: CompositionError `definition` when it has none."""
    stated = node.get("meta:xdmType")
    kind = _computed(node)
    if stated in KINDS and (kind is None or stated == kind or {stated, kind} <= set(INTEGER_RANGES)):
        return cast("Kind", stated)
    if kind is None:
        raise CompositionError("definition", path, f"type {node.get('type')!r} is no XDM type")
    return kind


def _computed(node: Json) -> Kind | None:
    match node.get("type"):
        case "string":
            return _STRING_KINDS.get(node.get("format", ""), "string")
        case "integer":
            return _integer(node)
        case "number":
            return "number"
        case "boolean":
            return "boolean"
        case "array":
            return "array"
        case "object":
            return "map" if _is_map(node) else "object"
        case None if "properties" in node or "allOf" in node:
            return "object"
    return None


def _integer(node: Json) -> Kind:
    """An integer without bounds is `int`; a bound just outside a range still counts as that range's."""
    low, high = node.get("minimum"), node.get("maximum")
    if low is None or high is None:
        fits = all(-2147483648 <= bound <= 2147483648 for bound in (low, high) if bound is not None)
        return "int" if fits else "long"
    for kind in ("byte", "short", "int"):
        least, most = INTEGER_RANGES[kind]
        if least <= low and high <= most + 1:
            return kind
    return "long"


def _is_map(node: Json) -> bool:
    return isinstance(node.get("additionalProperties"), dict) and not node.get("properties")


def _scalar(kind: Kind, node: Json, texts: dict[str, Json], path: str) -> Field:
    if node.get("pattern"):
        try:
            pattern_of(node["pattern"])
        except ValueError as error:
            raise CompositionError("definition", path, str(error)) from None
    enum = node.get("enum")
    suggested = node.get("meta:enum")
    return Field(
        kind=kind,
        minimum=node.get("minimum"),
        maximum=node.get("maximum"),
        exclusive_minimum=node.get("exclusiveMinimum"),
        exclusive_maximum=node.get("exclusiveMaximum"),
        min_length=node.get("minLength"),
        max_length=node.get("maxLength"),
        pattern=node.get("pattern"),
        enum=tuple(enum) if enum else None,
        suggested=suggested if isinstance(suggested, dict) else None,
        format=node.get("format") if kind == "string" else None,
        default=node.get("default"),
        **texts,
    )


def _texts(node: Json) -> dict[str, Json]:
    return {
        "title": node.get("title") or "",
        "description": node.get("description") or "",
        "status": node.get("meta:status") or "",
    }


def _required(way: tuple[str, ...]) -> Field:
    first, *rest = way
    children = {first: _required(tuple(rest))} if rest else {}
    return Field(kind="object", children=children, required=frozenset({first}))


def _resolve(document: Json, pointer: str, path: str) -> Json:
    target = document
    for part in pointer.strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, dict) or name not in target:
            raise CompositionError(
                "reference", path, f"refers to #{pointer}, which does not exist in {document.get('$id', 'it')}"
            )
        target = target[name]
    return target
