"""Adds what the server computes to a resource. Source: schema-registry.md 2 (server-computed members)."""

from collections.abc import Sequence
from dataclasses import dataclass

from capstream.aep.call import Call
from capstream.aep.schema_registry.model import all_references
from capstream.kernel.json import Json, digest
from capstream.xdm.library import LIBRARY_VERSION
from capstream.xdm.names import alt_id

_COMPUTED = frozenset({"version", "meta:registryMetadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the checks found out about a resource that is about to be stored."""

    kind: str  #: `meta:resourceType`
    uri: str
    class_id: str  #: class of a schema, empty for components
    extends: Sequence[str]
    namespace: str  #: of the tenant, `_capstream`
    old: dict[str, Json] | None  #: what is stored now


def stamped(draft: Draft, wanted: dict[str, Json], call: Call) -> dict[str, Json]:
    """Return the stored form: ids, version, provenance and sandbox added to the members the client may set."""
    is_schema = draft.kind == "schemas"
    document: dict[str, Json] = {
        "$id": draft.uri,
        "meta:altId": alt_id(draft.uri),
        "meta:resourceType": draft.kind,
        "version": "1.0" if draft.old is None else _next(draft.old["version"]),
        **wanted,
        "refs": list(dict.fromkeys(all_references(wanted))),
        "imsOrg": call.caller.org_id,
        "meta:extensible": not is_schema,
        "meta:abstract": not is_schema,
        "meta:extends": list(draft.extends),
        "meta:xdmType": wanted.get("meta:xdmType") or wanted["type"],
    }
    if is_schema:
        document["meta:class"] = draft.class_id
    document |= {
        "meta:containerId": "tenant",
        "meta:sandboxId": call.sandbox.id,
        "meta:sandboxType": call.sandbox.type,
        "meta:tenantNamespace": draft.namespace,
    }
    return {**document, "meta:registryMetadata": _metadata(call, document, draft.old)}


def core(document: dict[str, Json]) -> dict[str, Json]:
    """Return the members that count as content: a write that changes none of them changes nothing."""
    return {key: value for key, value in document.items() if key not in _COMPUTED}


def _metadata(call: Call, document: dict[str, Json], old: dict[str, Json] | None) -> dict[str, Json]:
    created = (old or {}).get("meta:registryMetadata", {})
    return {
        "repo:createdDate": created.get("repo:createdDate", call.now_ms),
        "repo:lastModifiedDate": call.now_ms,
        "xdm:createdClientId": created.get("xdm:createdClientId", call.caller.client_id),
        "xdm:lastModifiedClientId": call.caller.client_id,
        "xdm:createdUserId": created.get("xdm:createdUserId", call.caller.user_id),
        "xdm:lastModifiedUserId": call.caller.user_id,
        "eTag": digest([document, call.now_ms]),
        "meta:globalLibVersion": LIBRARY_VERSION,
    }


def _next(version: str) -> str:
    major, _, minor = version.partition(".")
    return f"{major}.{int(minor or 0) + 1}"


def descriptor_metadata(call: Call, wanted: dict[str, Json], old: dict[str, Json] | None) -> dict[str, Json]:
    """Return the computed members of a descriptor."""
    before = old or {}
    return {
        "imsOrg": call.caller.org_id,
        "version": "1",
        "meta:containerId": "tenant",
        "meta:sandboxId": call.sandbox.id,
        "meta:sandboxType": call.sandbox.type,
        "createdUser": before.get("createdUser", call.caller.user_id),
        "createdClient": before.get("createdClient", call.caller.client_id),
        "updatedUser": call.caller.user_id,
        "created": before.get("created", call.now_ms),
        "updated": call.now_ms,
        "meta:registryMetadata": _metadata(call, wanted, old),
    }
