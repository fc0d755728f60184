"""`capstream connect capillary --destroy`: removes what this connection made, users before what they use.

Only what carries the connection's mark goes. What the platform does not let go is kept and named with the reason: namespaces have
no deletion, a schema enabled for Profile stays for good (schema-registry.md 5.7, identity.md).
"""

from collections.abc import Mapping
from urllib.parse import quote

from capstream.kernel.json import Json
from capstream.relay.platform_client import PlatformClient, PlatformRefused
from capstream.relay.provision_changes import Change, Changes
from capstream.relay.provision_flows import CATALOG, FLOWS, KINDS, MAPPING_SETS, dataset_of, listed, mapping_sets
from capstream.relay.provision_schemas import NAMESPACE_NAMES, REGISTRY, XED, by_title, schema_path
from capstream.relay.provision_wanted import Half

_FORBIDDEN = (401, 403)
_NOT_OURS = "not made by this connection"


async def destroy(changes: Changes, relay: PlatformClient) -> None:
    """Remove everything this connection made. Errors: as PlatformClient.call; run again, it goes on where it stopped."""
    await _forget_source(changes, relay)
    schemas = {half.kind: await by_title(changes.client, "schemas", half.schema["title"]) for half in changes.wanted.halves}
    await _flow_service(changes)
    for half in changes.wanted.halves:
        if schema_id := schemas[half.kind]:
            await _data(changes, half, schema_id)
    for half in changes.wanted.halves:
        await _schema(changes, half, schemas[half.kind])
    for code in NAMESPACE_NAMES:
        changes.keep("namespace", code, "the platform has no deletion of namespaces")


async def _forget_source(changes: Changes, relay: PlatformClient) -> None:
    path = f"/relay/sources/{changes.wanted.source}"
    try:
        await relay.call("GET", path)
    except PlatformRefused as refusal:
        if refusal.status != 404:
            raise
        return
    if not changes.dry:
        await relay.call("DELETE", path)
    changes.made.append(Change("delete", "relay source", changes.wanted.source))


async def _flow_service(changes: Changes) -> None:
    """Remove dataflows, then their ends, then the account's connection."""
    wanted = changes.wanted
    flows = [half.dataflow for half in wanted.halves]
    for flow in await listed(changes.client, "flows"):
        if flow.get("name") in flows:
            await _remove(changes, "dataflow", flow, f"{FLOWS}/flows/{flow['id']}")
    for collection, stems in (
        ("sourceConnections", [f"{name} source" for name in flows]),
        ("targetConnections", [f"{name} target " for name in flows]),
        ("connections", [wanted.base_connection]),
    ):
        for item in await listed(changes.client, collection):
            name = str(item.get("name"))
            if name in stems or (collection == "targetConnections" and name.startswith(tuple(stems))):
                await _remove(changes, KINDS[collection], item, f"{FLOWS}/{collection}/{item['id']}")


async def _data(changes: Changes, half: Half, schema_id: str) -> None:
    for found in await mapping_sets(changes.client, half, schema_id):
        await _try(changes, "mapping set", half.mapping_name, f"{MAPPING_SETS}/{found['id']}")
    if found_set := await dataset_of(changes.client, half.dataset, schema_id):
        dataset_id, dataset = found_set
        await _remove(changes, "dataset", dataset, f"{CATALOG}/dataSets/{dataset_id}")


async def _schema(changes: Changes, half: Half, schema_id: str | None) -> None:
    if schema_id:
        found = await changes.client.call("GET", schema_path(schema_id), accept=XED)
        if "union" in found.get("meta:immutableTags", []):
            changes.keep("schema", half.schema["title"], "it is enabled for Profile, which is for good")
            changes.keep("field group", half.field_group["title"], "the schema uses it")
            return
        await _remove(changes, "schema", found, schema_path(schema_id))
    group_id = await by_title(changes.client, "fieldgroups", half.field_group["title"])
    if group_id:
        path = f"{REGISTRY}/tenant/fieldgroups/{quote(group_id, safe='')}"
        await _remove(changes, "field group", await changes.client.call("GET", path, accept=XED), path)


async def _remove(changes: Changes, kind: str, found: Mapping[str, Json], path: str) -> None:
    name = str(found.get("name") or found.get("title"))
    if changes.is_ours(found):
        await _try(changes, kind, name, path)
    else:
        changes.keep(kind, name, _NOT_OURS)


async def _try(changes: Changes, kind: str, name: str, path: str) -> None:
    """Delete; keep what the platform says is in use. What is gone already is no error."""
    try:
        await changes.write(Change("delete", kind, name), "DELETE", path)
    except PlatformRefused as refusal:
        if refusal.status in _FORBIDDEN:
            raise
        if refusal.status != 404:
            changes.keep(kind, name, refusal.reason)
