"""Rules for the definitions a tenant writes. Source: schema-registry.md 5.1-5.5. Pure, but for the standard library it reads."""

import re
from collections.abc import Iterator
from functools import cache

from capstream.aep.schema_registry.errors import Faults, Refusal
from capstream.aep.schema_registry.keywords import check_keywords, check_recursion
from capstream.kernel.json import Json
from capstream.xdm.compose import component_field
from capstream.xdm.library import standard_library
from capstream.xdm.names import XDM
from capstream.xdm.schema import Field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*|_[A-Za-z0-9][A-Za-z0-9_-]*|@(?:id|type)|[\w.-]+:[^\s\"\\\\]+")
"""A plain name; the object of a namespace; a name in standard notation."""
_STANDARD = frozenset({"_id", "_type"})  #: `@id` and `@type`, wherever they stand
_NAMED = ("properties", "definitions")
BEHAVIOURS = frozenset({XDM + "data/record", XDM + "data/time-series", XDM + "data/adhoc"})
KEPT = frozenset(
    {"title", "description", "type", "allOf", "definitions", "properties", "items", "required", "additionalProperties"}
    | {"meta:intendedToExtend", "meta:immutableTags", "meta:status", "meta:xdmType", "meta:datasetNamespace", "meta:enum"}
)
"""Top-level members a body may set; everything else there is computed by the server or dropped."""


def tidy(node: Json) -> Json:
    """Return the body with `$ref ` keys trimmed (documentation samples print a blank there) and `%23` read as `#`."""
    if isinstance(node, list):
        return [tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key.strip() if key.strip() == "$ref" else key: tidy(value) for key, value in node.items()}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = found["$ref"].strip().replace("%23", "#")
    return found


def checked_body(body: Json, kind: str) -> dict[str, Json]:
    """Return the members of a body that count, in their normal form. Errors: Refusal 1600 names the member."""
    if not isinstance(body, dict):
        raise Refusal(Faults.BAD_REQUEST, "The body must be a JSON object.")
    found = {key: value for key, value in tidy(body).items() if key in KEPT}
    if kind == "schemas":
        found = {key: value for key, value in found.items() if key not in {"definitions", "properties", "items", "required"}}
    title = found.get("title")
    if not isinstance(title, str) or not title.strip():
        raise Refusal(Faults.BAD_REQUEST, "title: a non-empty title is required.")
    found.setdefault("type", "object")
    _check_shape(found)
    found["allOf"] = _all_of(found)
    if not found["allOf"]:
        del found["allOf"]
    if kind != "datatypes" and "allOf" not in found and not (kind == "mixins" and found.get("properties")):
        raise Refusal(Faults.BAD_REQUEST, "allOf: at least one entry is required.")
    if kind == "mixins" and not isinstance(found.get("meta:intendedToExtend"), list):
        raise Refusal(Faults.BAD_REQUEST, "meta:intendedToExtend: a list of classes is required; [] fits any class.")
    for path, node in _definitions(found, ""):
        _check_definition(path, node)
    check_recursion(found)
    return found


def _check_shape(body: dict[str, Json]) -> None:
    check_keywords("", body)
    for entry in body.get("allOf", []):
        check_keywords("allOf", entry)
    for key in ("meta:intendedToExtend", "meta:immutableTags"):
        value = body.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise Refusal(Faults.BAD_REQUEST, f"{key}: must be a list of texts.")


def _all_of(body: dict[str, Json]) -> list[Json]:
    """Return the entries, each once, with one for every definition nobody names. ASSUMPTION: a definition counts by itself."""
    entries: dict[str, Json] = {}
    for entry in body.get("allOf", []):
        reference = entry.get("$ref") or (entry.get("items") or {}).get("$ref") or str(entry)
        entries.setdefault(reference, {**entry, "type": entry.get("type", "object"), "meta:xdmType": entry.get("type", "object")})
    if not any(reference.startswith("#") for reference in entries):
        for name in body.get("definitions", {}):
            reference = f"#/definitions/{name}"
            entries[reference] = {"$ref": reference, "type": "object", "meta:xdmType": "object"}
    return list(entries.values())


def _definitions(node: Json, path: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield (path of member names, definition) for every field a body defines."""
    if not isinstance(node, dict):
        raise Refusal(Faults.BAD_REQUEST, f"{path or 'definition'}: a field definition must be a JSON object.")
    check_keywords(path, node)
    for key in _NAMED:
        for name, child in (node.get(key) or {}).items():
            here = f"{path}/{name}" if key == "properties" else path
            if key == "properties":
                yield here, child
            yield from _definitions(child, here)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield f"{path}[*]", node[key]
            yield from _definitions(node[key], f"{path}[*]")


def _check_definition(path: str, node: Json) -> None:
    if not isinstance(node, dict):
        raise Refusal(Faults.BAD_REQUEST, f"{path}: a field definition must be a JSON object.")
    *above, name = path.removesuffix("[*]").split("/")
    reserved = name.startswith("_") and name not in _STANDARD and any(part.startswith("_") for part in above)
    if not path.endswith("[*]") and (reserved or not _NAME.fullmatch(name)):
        raise Refusal(Faults.BAD_REQUEST, f"{path}: names hold letters, digits, - and _ and do not start with _.")
    enum, labels = node.get("enum"), node.get("meta:enum")
    if isinstance(enum, list) and isinstance(labels, dict) and (extra := [key for key in labels if key not in enum]):
        raise Refusal(Faults.BAD_REQUEST, f"{path}: meta:enum holds values missing from enum: {', '.join(extra)}.")
    if isinstance(node.get("additionalProperties"), dict) and node.get("properties"):
        raise Refusal(Faults.BAD_REQUEST, f"{path}: a map (additionalProperties) cannot have properties.")


def check_namespace(root: Field, namespace: str) -> None:
    """Refuse custom fields outside the tenant's object; other names on the way must be objects of the standard.

    Errors: Refusal 1021 names the first field.
    """
    for path in _outside(root, namespace, ()):
        raise Refusal(
            Faults.NAMESPACE,
            "A custom field is defined under an invalid namespace. All custom fields must be defined under a top-level "
            f"field named {namespace}. Field: /{'/'.join(path)}.",
        )


def _outside(field: Field, namespace: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, child in field.children.items():
        here = (*path, name)
        if name == namespace:
            continue
        if child.kind == "object" and here in _standard_objects():
            yield from _outside(child, namespace, here)
        else:
            yield here


@cache
def _standard_objects() -> frozenset[tuple[str, ...]]:
    """Return the paths of all objects of standard classes and field groups, where custom fields may be added below."""
    found: set[tuple[str, ...]] = set()
    library = standard_library()
    for uri, document in library.items():
        if document["meta:resourceType"] in {"classes", "mixins"}:
            found.update(_object_paths(component_field(uri, library.get), ()))
    return frozenset(found)


def _object_paths(field: Field, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, child in field.children.items():
        if child.kind == "object":
            yield (*path, name)
            yield from _object_paths(child, (*path, name))
