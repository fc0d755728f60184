"""What a registry holds, in figures. Source: schema-registry.md 10."""

from collections.abc import Sequence
from datetime import UTC, datetime

from capstream.aep.schema_registry.listing import sort_value
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.kernel.json import Json

_MOST = 10  #: ASSUMPTION: lists hold at most so many


def stats(registry: SchemaRegistry, sandbox_id: str, org_id: str) -> dict[str, Json]:
    """Return counts, the newest resources and which class has which schemas."""
    resources = registry.tenant(sandbox_id)
    kinds = [one["meta:resourceType"] for one in resources]
    counts = {kind: kinds.count(kind) for kind in ("schemas", "mixins", "datatypes", "classes")}
    return {
        "imsOrg": org_id,
        "tenantId": registry.tenant_id,
        "counts": {**counts, "unions": len(registry.unions(sandbox_id))},
        "recentlyCreatedResources": _recent(resources, "created"),
        "recentlyUpdatedResources": _recent(resources, "updated"),
        "classUsage": _usage(registry, sandbox_id, [one for one in resources if one["meta:resourceType"] == "schemas"]),
    }


def _recent(resources: Sequence[dict[str, Json]], what: str) -> list[Json]:
    newest = sorted(resources, key=lambda one: sort_value(one, what), reverse=True)[:_MOST]
    return [
        {
            "title": one["title"],
            "$id": one["$id"],
            "meta:altId": one["meta:altId"],
            "version": one["version"],
            "description": one.get("description", ""),
            f"meta:{what}": _moment(sort_value(one, what)),
        }
        for one in newest
    ]


def _moment(millis: int) -> str:
    moment = datetime.fromtimestamp(millis / 1000, UTC)
    return f"{moment:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)"


def _usage(registry: SchemaRegistry, sandbox_id: str, schemas: Sequence[dict[str, Json]]) -> list[Json]:
    found: list[Json] = []
    for class_id in dict.fromkeys(one["meta:class"] for one in schemas):
        document = registry.document(sandbox_id, class_id) or {}
        members = [one for one in schemas if one["meta:class"] == class_id]
        shown = [{"$id": one["$id"], "title": one["title"], "description": one.get("description", "")} for one in members]
        found.append(
            {
                "$id": class_id,
                "title": document.get("title", ""),
                "numberOfSchemas": len(members),
                "schemas": shown[:_MOST],
            }
        )
    return found
