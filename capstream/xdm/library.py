"""The standard components: behaviours, classes, field groups and data types under Adobe's own ids. Source: xdm.md 8."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from capstream.kernel.json import Json
from capstream.xdm.names import alt_id
from capstream.xdm.outline import absolute, properties

LIBRARY_VERSION = "1.31.4"
"""Version of the standard the components follow."""

_FILES = (
    "behaviours",
    "classes",
    "groups_profile",
    "groups_event",
    "groups_shared",
    "groups_other",
    "types_person",
    "types_commerce",
    "types_identity",
    "types_context",
)


@cache
def standard_library() -> Mapping[str, dict[str, Json]]:
    """Return `$id` -> component document (JSON Schema, standard notation). Treat the documents as read-only."""
    found: dict[str, dict[str, Json]] = {}
    for name in _FILES:
        text = files("capstream.xdm").joinpath("components", f"{name}.toml").read_text(encoding="utf-8")
        table = tomllib.loads(text)
        for entry in table["component"]:
            document = _document(entry, table["resource"])
            found[document["$id"]] = document
    return MappingProxyType(found)


def _document(entry: dict[str, Json], resource: str) -> dict[str, Json]:
    own, required = properties(entry.get("fields", ""))
    uri = absolute(entry["id"])
    slug = uri.rsplit("/", 1)[-1]
    extends = [absolute(reference) for reference in entry.get("extends", [])]
    document: dict[str, Json] = {
        "$id": uri,
        "meta:altId": alt_id(uri),
        "meta:resourceType": resource,
        "version": LIBRARY_VERSION,
        "title": entry["title"],
        "type": "object",
        "description": "",
        "definitions": {slug: {"properties": own, **({"required": required} if required else {})}},
        "allOf": [{"$ref": reference} for reference in extends] + [{"$ref": f"#/definitions/{slug}"}],
        "meta:extensible": True,
        "meta:abstract": True,
        "meta:status": entry.get("status", "stable"),
        "meta:xdmType": "object",
    }
    if extends:
        document["meta:extends"] = extends
    if "fits" in entry:
        document["meta:intendedToExtend"] = [absolute(reference) for reference in entry["fits"]]
    if "required" in entry:
        document["required"] = entry["required"]
    return document
