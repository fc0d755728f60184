"""Shows resources in the form the Accept header asks for. Source: schema-registry.md 2."""

from dataclasses import replace

from capstream.aep.schema_registry.accept import Form
from capstream.aep.schema_registry.descriptors import normal_path
from capstream.aep.schema_registry.model import SchemaRegistry, all_references
from capstream.kernel.json import Json
from capstream.xdm.compose import ancestors
from capstream.xdm.render import flat, full
from capstream.xdm.schema import Field
from capstream.xdm.stored import annotated, compatible_names, without_texts

_SUMMARY = ("title", "$id", "meta:altId", "version")
_RESOLVED = ("allOf", "definitions", "properties", "required", "items", "additionalProperties")
_DEPRECATED = "xdm:descriptorDeprecated"


def summary(document: dict[str, Json]) -> dict[str, Json]:
    """Return the short form of a list."""
    return {key: document[key] for key in _SUMMARY if key in document}


def listed(registry: SchemaRegistry, sandbox_id: str, document: dict[str, Json], form: Form) -> dict[str, Json]:
    """Return a resource as an item of a list."""
    return summary(document) if "id" in form else _stored(registry, sandbox_id, document, form)


def shown(registry: SchemaRegistry, sandbox_id: str, document: dict[str, Json], form: Form) -> dict[str, Json]:
    """Return a resource as the answer of a lookup. Errors: CompositionError when its parts no longer fit together."""
    if "id" in form:
        return summary(document)
    found = _stored(registry, sandbox_id, document, form)
    if "full" in form or "flat" in form:
        found = _resolved(registry, sandbox_id, found, form)
    if "desc" in form:
        found["meta:descriptors"] = registry.descriptors(sandbox_id, document["$id"])
    return without_texts(found) if "notext" in form else found


def computed(registry: SchemaRegistry, sandbox_id: str, document: dict[str, Json]) -> dict[str, Json]:
    """Return a standard component with the members that are computed for tenant resources when they are stored."""
    if "meta:registryMetadata" in document:
        return document
    extends = ancestors(document["$id"], lambda uri: registry.document(sandbox_id, uri))
    return {
        **document,
        "refs": list(dict.fromkeys(all_references(document))),
        "meta:extends": extends,
        "meta:registryMetadata": {
            "eTag": registry.etag(sandbox_id, document["$id"]),
            "meta:globalLibVersion": document["version"],
        },
    }


def _stored(registry: SchemaRegistry, sandbox_id: str, document: dict[str, Json], form: Form) -> dict[str, Json]:
    found: dict[str, Json] = annotated(computed(registry, sandbox_id, document))
    return compatible_names(found) if form.notation == "xed" else found


def _resolved(registry: SchemaRegistry, sandbox_id: str, found: dict[str, Json], form: Form) -> dict[str, Json]:
    """Replace references by the members they stand for."""
    schema = registry.schema(sandbox_id, found["$id"])
    if schema is None:
        return found
    root = _deprecated(registry, sandbox_id, found["$id"], schema.root)
    standard_names = form.notation == "xdm"
    body = {key: value for key, value in found.items() if key not in _RESOLVED}
    if "flat" in form:
        return {**body, "properties": flat(root, standard_names=standard_names)}
    node = full(root, standard_names=standard_names)
    return body | {key: value for key, value in node.items() if key in _RESOLVED}


def _deprecated(registry: SchemaRegistry, sandbox_id: str, uri: str, root: Field) -> Field:
    """Mark the fields deprecated descriptors name."""
    for descriptor in registry.descriptors(sandbox_id, uri):
        if descriptor["@type"] == _DEPRECATED:
            stated = descriptor["xdm:sourceProperty"]
            for path in stated if isinstance(stated, list) else [stated]:
                root = _marked(root, normal_path(path).strip("/").split("/"))
    return root


def _marked(field: Field, path: list[str]) -> Field:
    if not path:
        return replace(field, status="deprecated")
    if field.items is not None:
        return replace(field, items=_marked(field.items, path))
    if field.values is not None:
        return replace(field, values=_marked(field.values, path[1:]))
    name = path[0].removesuffix("[*]")
    child = field.children.get(name)
    if child is None:
        return field
    return replace(field, children={**field.children, name: _marked(child, path[1:])})
