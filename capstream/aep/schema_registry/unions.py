"""Unions: one read-only view over all schemas of a class that are enabled for Profile. Source: schema-registry.md 8, xdm.md 5."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

from capstream.kernel.json import Json, digest
from capstream.xdm.compose import component_field
from capstream.xdm.library import standard_library
from capstream.xdm.merge import merge
from capstream.xdm.names import XDM, alt_id
from capstream.xdm.schema import Field, Schema

UNION_SUFFIX = "__union"
_PROFILE = XDM + "context/profile"


def union_document(
    class_document: dict[str, Json], members: Sequence[dict[str, Json]], *, library_version: str
) -> dict[str, Json]:
    """Return the stored form of the union of `members`, which are the tagged schemas of the class."""
    class_id = class_document["$id"]
    groups = dict.fromkeys(
        entry["$ref"] for member in members for entry in member["allOf"] if entry.get("$ref") not in {None, class_id}
    )
    extends = dict.fromkeys([class_id, *(item for member in members for item in member["meta:extends"]), *groups])
    body: dict[str, Json] = {
        "$id": class_id + UNION_SUFFIX,
        "meta:altId": alt_id(class_id) + UNION_SUFFIX,
        "meta:resourceType": "unions",
        "version": "1.0",
        "title": class_document.get("title", ""),
        "type": "object",
        "description": class_document.get("description", ""),
        "allOf": [{"$ref": reference, "type": "object", "meta:xdmType": "object"} for reference in (class_id, *groups)],
        "imsOrg": members[0].get("imsOrg", ""),
        "meta:extensible": False,
        "meta:abstract": False,
        "meta:extends": [*extends, *(member["$id"] for member in members)],
        "meta:xdmType": "object",
        "meta:class": class_id,
        "meta:containerId": "tenant",
        "meta:sandboxId": members[0].get("meta:sandboxId", ""),
        "meta:sandboxType": members[0].get("meta:sandboxType", ""),
        "meta:tenantNamespace": members[0].get("meta:tenantNamespace", ""),
        "meta:immutableTags": ["union"],  # ASSUMPTION: shown on the union too
    }
    etag = digest([body, [member["meta:registryMetadata"]["eTag"] for member in members]])
    return {**body, "meta:registryMetadata": {"eTag": etag, "meta:globalLibVersion": library_version}}


def union_schema(schemas: Sequence[Schema], *, union_id: str, title: str, events: Callable[[], Schema | None]) -> Schema:
    """Return the merged schema with the fields every union has. Errors: CompositionError when types conflict.

    `events` gives the union of events, asked for by the profile union alone.
    """
    first = schemas[0]
    root = reduce(_merged, (schema.root for schema in schemas))
    root = _merged(root, _standard_member("context/identitymap", "identityMap"))
    if first.behaviour == "record":
        root = _merged(root, _standard_member("context/profile-segmentation", "segmentMembership"))
    if first.class_id == _PROFILE:
        of_events = events()
        items = Field(kind="object") if of_events is None else of_events.root
        root = _merged(root, _holder("timeSeriesEvents", Field(kind="array", items=items, title="Time-series events")))
    return Schema(
        id=union_id, title=title, behaviour=first.behaviour, class_id=first.class_id, root=replace(root, required=frozenset())
    )


def _merged(first: Field, second: Field) -> Field:
    return merge(first, second, suggestions=True)


def _standard_member(component: str, name: str) -> Field:
    root = component_field(XDM + component, standard_library().get)
    return _holder(name, root.children[name])


def _holder(name: str, child: Field) -> Field:
    return Field(kind="object", children={name: child})
