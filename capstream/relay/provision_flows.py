"""Connections, datasets, mapping sets and dataflows: found by name, else made. Source: flow-service.md 9, catalog.md 4."""

from collections.abc import Mapping

from capstream.kernel.errors import Permanent
from capstream.kernel.json import Json, dumps
from capstream.relay.platform_client import PlatformClient
from capstream.relay.provision_changes import NEW, Change, Changes
from capstream.relay.provision_schemas import XED
from capstream.relay.provision_wanted import Half

FLOWS = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"
MAPPING_SETS = "/data/foundation/conversion/mappingSets"
_FULL = "application/vnd.adobe.xed-full+json;version=1"

CAPILLARY_SPEC = "6360f136-5980-4111-8bdf-15d29eab3b5a"
STREAMING_FLOW_SPEC = "e77fde5a-22a8-11ed-861d-0242ac120002"
PRINTED_FLOW_SPEC = "6499120c-0b15-42dc-936e-847ea3c24d72"
DATA_LAKE_SPEC = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
KINDS = {"connections": "base connection", "sourceConnections": "source connection", "targetConnections": "target connection"}


async def specs(client: PlatformClient) -> tuple[str, str]:
    """Return the connection and flow spec of the Capillary source; the printed ids are the fall-back (flow-service.md 0)."""
    found = await client.items(f"{FLOWS}/connectionSpecs")
    spec_id = next((str(spec["id"]) for spec in found if _is_capillary(spec)), CAPILLARY_SPEC)
    flow_specs = await client.items(f"{FLOWS}/flowSpecs")
    fitting = [str(spec["id"]) for spec in flow_specs if spec_id in (spec.get("sourceConnectionSpecIds") or ())]
    for preferred in (STREAMING_FLOW_SPEC, PRINTED_FLOW_SPEC):
        if preferred in fitting:
            return spec_id, preferred
    return spec_id, fitting[0] if fitting else PRINTED_FLOW_SPEC


def _is_capillary(spec: Mapping[str, Json]) -> bool:
    attributes = (spec.get("sourceSpec") or {}).get("attributes") or {}
    label = (attributes.get("uiAttributes") or {}).get("label") or {}
    texts = [label] if isinstance(label, str) else [str(label.get("text", "")), str(label.get("key", ""))]
    return any("capillary" in text.lower() for text in texts) or b"capillary" in dumps(spec.get("attributes")).lower()


async def listed(client: PlatformClient, collection: str) -> list[dict[str, Json]]:
    """Return what is alive in a collection of the Flow Service."""
    found = await client.items(f"{FLOWS}/{collection}", params={"limit": "100"})
    return [item for item in found if item.get("state") != "deleted"]


async def found_or_made(changes: Changes, collection: str, body: dict[str, Json], same: tuple[str, ...] = ("name",)) -> str:
    """Return the id of the connection that agrees with `body` in the members `same`, made when there is none."""
    kind, name = KINDS[collection], str(body["name"])
    for item in await listed(changes.client, collection):
        if all(item.get(member) == body[member] for member in same):
            changes.keep(kind, name)
            return str(item["id"])
    body = {**body, "description": changes.described(str(body["description"]))}
    made = await changes.write(Change("create", kind, name), "POST", f"{FLOWS}/{collection}", body=body, instead={"id": NEW})
    return str(made["id"])


async def base_connection(changes: Changes, spec_id: str, auth: Mapping[str, Json]) -> str:
    """Return the id of the account's connection."""
    body = {
        "name": changes.wanted.base_connection,
        "description": "Account of the Capillary source",
        "connectionSpec": {"id": spec_id, "version": "1.0"},
        "auth": {"specName": "OAuth generic-rest-connector", "params": dict(auth)},
    }
    return await found_or_made(changes, "connections", body)


async def dataset_of(client: PlatformClient, name: str, schema_id: str) -> tuple[str, dict[str, Json]] | None:
    """Return id and record of the dataset of this name and schema."""
    found = await client.call("GET", f"{CATALOG}/dataSets", params={"name": name, "limit": "100"})
    for dataset_id, dataset in found.items():
        if dataset.get("name") == name and (dataset.get("schemaRef") or {}).get("id") == schema_id:
            return str(dataset_id), dataset
    return None


async def dataset(changes: Changes, half: Half, schema_id: str) -> str:
    """Return the id of the dataset, enabled for Profile and Identity."""
    if found := await dataset_of(changes.client, half.dataset, schema_id):
        changes.keep("dataset", half.dataset)
        return found[0]
    body = {
        "name": half.dataset,
        "description": changes.described("Filled by the Capillary source"),
        "schemaRef": {"id": schema_id, "contentType": XED},
        "tags": {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]},
        "enableErrorDiagnostics": True,
    }
    change = Change("create", "dataset", half.dataset)
    made = await changes.write(change, "POST", f"{CATALOG}/dataSets", body=body, instead=[NEW])
    return str(made[0]).rsplit("/", 1)[-1]


async def flow_by_name(client: PlatformClient, name: str) -> dict[str, Json] | None:
    """Return the dataflow of this name."""
    return next((flow for flow in await listed(client, "flows") if flow.get("name") == name), None)


def mapping_of(flow: Mapping[str, Json]) -> str:
    """Return the id of the mapping set a dataflow uses, or an empty text."""
    steps = (step.get("params") or {} for step in flow.get("transformations") or ())
    return next((str(params["mappingId"]) for params in steps if "mappingId" in params), "")


async def flow(changes: Changes, half: Half, schema_id: str, base_id: str, spec_ids: tuple[str, str]) -> dict[str, Json]:
    """Return ids and names of a dataflow and what belongs to it; all is made, or brought up to date, where it has to be."""
    spec_id, flow_spec_id = spec_ids
    dataset_id = await dataset(changes, half, schema_id)
    source_id = await _source(changes, half, base_id, spec_id)
    target_id = await _target(changes, half, dataset_id, schema_id)
    found = await flow_by_name(changes.client, half.dataflow)
    if found is None:
        mapping_id = await _mapping_set(changes, half, schema_id)
        body = {
            "name": half.dataflow,
            "description": changes.described("Capillary to Experience Platform"),
            "flowSpec": {"id": flow_spec_id, "version": "1.0"},
            "sourceConnectionIds": [source_id],
            "targetConnectionIds": [target_id],
            "options": {"errorDiagnosticsEnabled": True},
            "transformations": [_transformation(mapping_id)],
        }
        change = Change("create", "dataflow", half.dataflow)
        flow_id = str((await changes.write(change, "POST", f"{FLOWS}/flows", body=body, instead={"id": NEW}))["id"])
    else:
        flow_id, mapping_id = str(found["id"]), await _current_mapping(changes, half, schema_id, found)
    await _tidy(changes, half, schema_id, mapping_id)
    return {
        f"{half.kind}_schema_id": schema_id,
        f"{half.kind}_dataset_id": dataset_id,
        f"{half.kind}_dataset_name": half.dataset,
        f"{half.kind}_flow_name": half.dataflow,
        f"{half.kind}_flow_id": flow_id,
        f"{half.kind}_mapping_id": mapping_id,
    }


def _transformation(mapping_id: str) -> dict[str, Json]:
    return {"name": "Mapping", "params": {"mappingId": mapping_id, "mappingVersion": 0}}


async def _source(changes: Changes, half: Half, base_id: str, spec_id: str) -> str:
    body = {
        "name": f"{half.dataflow} source",
        "description": "Capillary events",
        "baseConnectionId": base_id,
        "connectionSpec": {"id": spec_id, "version": "1.0"},
        "data": {"format": "json"},
    }
    return await found_or_made(changes, "sourceConnections", body, ("name", "baseConnectionId"))


async def _target(changes: Changes, half: Half, dataset_id: str, schema_id: str) -> str:
    body = {
        "name": f"{half.dataflow} target {dataset_id}",
        "description": "Dataset of the dataflow",
        "connectionSpec": {"id": DATA_LAKE_SPEC, "version": "1.0"},
        "data": {"schema": {"id": schema_id, "version": _FULL}},
        "params": {"dataSetId": dataset_id},
    }
    return await found_or_made(changes, "targetConnections", body)


async def mapping_sets(client: PlatformClient, half: Half, schema_id: str) -> list[dict[str, Json]]:
    """Return the mapping sets of a half: those of its name and schema."""
    page = await client.call("GET", MAPPING_SETS, params={"name": half.mapping_name, "limit": "100"})
    return [
        found
        for found in page.get("data") or page.get("mappingSets") or []
        if found.get("name") == half.mapping_name and _schema_of(found) == schema_id
    ]


def _schema_of(mapping_set: Mapping[str, Json]) -> str:
    return str((((mapping_set.get("outputSchema") or {}).get("schemaRef")) or {}).get("id") or "")


def _rows(mappings: Json) -> list[tuple[str, str]]:
    return [(str(row.get("source")), str(row.get("destination"))) for row in mappings or ()]


async def _mapping_set(changes: Changes, half: Half, schema_id: str) -> str:
    """Return a mapping set with the wanted rows: one an earlier run left behind, else a new one."""
    rows = changes.filled(half.mapping)
    for found in [] if schema_id == NEW else await mapping_sets(changes.client, half, schema_id):
        if _rows((await changes.client.call("GET", f"{MAPPING_SETS}/{found['id']}")).get("mappings")) == _rows(rows):
            changes.keep("mapping set", half.mapping_name)
            return str(found["id"])
    body = {
        "name": half.mapping_name,
        "outputSchema": {"schemaRef": {"id": schema_id, "contentType": _FULL}},
        "mappings": rows,
    }
    change = Change("create", "mapping set", half.mapping_name)
    return str((await changes.write(change, "POST", MAPPING_SETS, body=body, instead={"id": NEW}))["id"])


async def _current_mapping(changes: Changes, half: Half, schema_id: str, found: dict[str, Json]) -> str:
    """Return the id of the mapping set of an existing dataflow after exchanging it if its rows are not the wanted ones."""
    old = mapping_of(found)
    rows = (await changes.client.call("GET", f"{MAPPING_SETS}/{old}")).get("mappings") if old else None
    if old and (not half.replaces_mapping or _rows(rows) == _rows(changes.filled(half.mapping))):
        changes.keep("mapping set", half.mapping_name)
        changes.keep("dataflow", half.dataflow)
        return old
    new = await _mapping_set(changes, half, schema_id)
    operation = {"op": "replace" if old else "add", "path": "/transformations/0", "value": _transformation(new)}
    change = Change("update", "dataflow", half.dataflow, "use the new mapping")
    await changes.write(change, "PATCH", f"{FLOWS}/flows/{found['id']}", body=[operation], etag=str(found["etag"]))
    return new


async def _tidy(changes: Changes, half: Half, schema_id: str, used: str) -> None:
    """Remove mapping sets of this half that no dataflow uses any more."""
    for found in [] if schema_id == NEW else await mapping_sets(changes.client, half, schema_id):
        if str(found["id"]) != used:
            change = Change("delete", "mapping set", half.mapping_name, "replaced")
            await changes.write(change, "DELETE", f"{MAPPING_SETS}/{found['id']}")


async def inlet_url(client: PlatformClient, base_id: str, flow_id: str) -> str:
    """Return the streaming endpoint. Errors: Permanent when neither resource shows one."""
    for path, member in ((f"connections/{base_id}", "auth"), (f"flows/{flow_id}", "options")):
        answer = await client.call("GET", f"{FLOWS}/{path}")
        found = answer["items"][0].get(member) or {}
        url = found.get("params", found).get("inletUrl")
        if url:
            return str(url)
    raise Permanent("NO_INLET", "neither the base connection nor the dataflow shows a streaming endpoint URL")
