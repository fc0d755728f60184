"""Connections, datasets, mapping sets and dataflows: found by name, else made. Source: flow-service.md 9, catalog.md 4."""

from collections.abc import Mapping

from capstream.kernel.errors import Permanent
from capstream.kernel.json import Json, dumps
from capstream.relay.platform_client import PlatformClient, PlatformRefused
from capstream.relay.provision_changes import NEW, Change, Changes
from capstream.relay.provision_drift import rows_told
from capstream.relay.provision_schemas import XED
from capstream.relay.provision_wanted import Half

FLOWS = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"
MAPPING_SETS = "/data/foundation/conversion/mappingSets"
_FULL = "application/vnd.adobe.xed-full+json;version=1"

_PAGE, _MOST_SETS = 100, 10_000

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
    name = changes.wanted.base_connection
    body = {
        "name": name,
        "description": "Account of the Capillary source",
        "connectionSpec": {"id": spec_id, "version": "1.0"},
        "auth": {"specName": "OAuth generic-rest-connector", "params": dict(auth)},
    }
    found = next((item for item in await listed(changes.client, "connections") if item.get("name") == name), None)
    if found is None:
        return await found_or_made(changes, "connections", body)
    old = ((found.get("auth") or {}).get("params") or {}).get("clientId")
    if old == auth["clientId"] or not changes.is_ours(found):
        other = f"it holds client {old}, and was not made by this connection" if old != auth["clientId"] else ""
        changes.keep("base connection", name, other)
    else:
        operation = {"op": "replace", "path": "/auth/params", "value": dict(auth)}
        change = Change("update", "base connection", name, f"client {auth['clientId']} instead of {old}")
        await changes.write(change, "PATCH", f"{FLOWS}/connections/{found['id']}", body=[operation], etag=str(found["etag"]))
    return str(found["id"])


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
        await _dataset_up_to_date(changes, half, *found)
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


async def _dataset_up_to_date(changes: Changes, half: Half, dataset_id: str, found: Mapping[str, Json]) -> None:
    tags = found.get("tags") or {}
    lacking = [name for name in ("unifiedProfile", "unifiedIdentity") if "enabled:true" not in (tags.get(name) or ())]
    operations: list[Json] = [{"op": "add", "path": f"/tags/{name}", "value": ["enabled:true"]} for name in lacking]
    said = [f"enable {name}" for name in lacking]
    if not found.get("enableErrorDiagnostics"):
        operations.append({"op": "add", "path": "/enableErrorDiagnostics", "value": True})
        said.append("keep error diagnostics")
    if not operations:
        changes.keep("dataset", half.dataset)
    elif not changes.is_ours(found):
        changes.keep("dataset", half.dataset, f"it was not made by this connection; lacking: {', '.join(said)}")
    else:
        change = Change("update", "dataset", half.dataset, ", ".join(said))
        await changes.write(change, "PATCH", f"{CATALOG}/dataSets/{dataset_id}", body=operations)


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
    found = await flow_by_name(changes.client, half.dataflow)
    if found is not None and await _fills_nothing(changes, found):
        change = Change("delete", "dataflow", half.dataflow, "its dataset is gone, and a dataflow keeps its ends")
        await changes.write(change, "DELETE", f"{FLOWS}/flows/{found['id']}")
        found = None
    if found is None:
        source_id = await _source(changes, half, base_id, spec_id)
        target_id = await _target(changes, half, dataset_id, schema_id)
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
        flow_id, mapping_id = str(found["id"]), await _flow_up_to_date(changes, half, schema_id, dataset_id, found)
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
    found = await _sets_of_schema(client, schema_id, {"name": half.mapping_name})
    return [each for each in found if each.get("name") == half.mapping_name]


async def _sets_of_schema(client: PlatformClient, schema_id: str, query: Mapping[str, str]) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    for start in range(0, _MOST_SETS, _PAGE):
        page = await client.call("GET", MAPPING_SETS, params={**query, "start": str(start), "limit": str(_PAGE)})
        listed_here = page.get("data") or page.get("mappingSets") or []
        found += [each for each in listed_here if _schema_of(each) == schema_id]
        if len(listed_here) < _PAGE:
            break
    return found


def _schema_of(mapping_set: Mapping[str, Json]) -> str:
    return str((((mapping_set.get("outputSchema") or {}).get("schemaRef")) or {}).get("id") or "")


async def _mapping_set(changes: Changes, half: Half, schema_id: str) -> str:
    """Return a mapping set with the wanted rows: one that is there, of this name before others, else a new one."""
    rows = changes.filled(half.mapping)
    known = [] if schema_id == NEW else await _sets_of_schema(changes.client, schema_id, {})
    for found in sorted(known, key=lambda each: each.get("name") != half.mapping_name):
        whole = await changes.client.call("GET", f"{MAPPING_SETS}/{found['id']}")
        if not rows_told(rows, whole.get("mappings")):
            changes.keep("mapping set", str(found.get("name") or half.mapping_name))
            return str(found["id"])
    body = {
        "name": half.mapping_name,
        "outputSchema": {"schemaRef": {"id": schema_id, "contentType": _FULL}},
        "mappings": rows,
    }
    change = Change("create", "mapping set", half.mapping_name)
    return str((await changes.write(change, "POST", MAPPING_SETS, body=body, instead={"id": NEW}))["id"])


async def _flow_up_to_date(changes: Changes, half: Half, schema_id: str, dataset_id: str, found: dict[str, Json]) -> str:
    """Bring an existing dataflow up to date: mapping, settings, state. Return the id of its mapping set."""
    mapping_id, operations, said = await _wanted_mapping(changes, half, schema_id, found)
    if not (found.get("options") or {}).get("errorDiagnosticsEnabled"):
        operations.append({"op": "add", "path": "/options/errorDiagnosticsEnabled", "value": True})
        said.append("switch error diagnostics on")
    path, etag = f"{FLOWS}/flows/{found['id']}", str(found["etag"])
    if operations:
        change = Change("update", "dataflow", half.dataflow, "; ".join(said))
        answer = await changes.write(change, "PATCH", path, body=operations, etag=etag, instead={"etag": etag})
        etag = str(answer.get("etag") or etag)
    if found.get("state") == "disabled":
        change = Change("update", "dataflow", half.dataflow, "enable it")
        await changes.write(change, "POST", f"{path}/action?op=ENABLE")
    elif not operations:
        changes.keep("dataflow", half.dataflow, await _wrong_end(changes.client, found, dataset_id))
    return mapping_id


async def _wanted_mapping(
    changes: Changes, half: Half, schema_id: str, found: dict[str, Json]
) -> tuple[str, list[dict[str, Json]], list[str]]:
    """Return the mapping set a dataflow shall use, and what changes it to that, as operations and in words."""
    old, wanted = mapping_of(found), changes.filled(half.mapping)
    rows = await _rows_of(changes.client, old)
    said = rows_told(wanted, rows)
    if old and rows is not None and (not said or not half.replaces_mapping):
        hint = f"its rows differ from the packaged ones; name them under mapping to exchange them ({said})" if said else ""
        changes.keep("mapping set", half.mapping_name, hint)
        return old, [], []
    new = await _mapping_set(changes, half, schema_id)
    operation = {"op": "replace" if old else "add", "path": "/transformations/0", "value": _transformation(new)}
    return new, [operation], [f"use the new mapping: {said}"]


async def _rows_of(client: PlatformClient, mapping_id: str) -> Json:
    """Return the rows of a mapping set, None when there is none."""
    found = await _if_there(client, f"{MAPPING_SETS}/{mapping_id}") if mapping_id else None
    return None if found is None else found.get("mappings") or []


async def _wrong_end(client: PlatformClient, found: Mapping[str, Json], dataset_id: str) -> str:
    """Return why a dataflow that is there is not the wanted one after all: its ends cannot be changed."""
    fills = await _filled(client, found)
    if not fills or dataset_id in (NEW, fills):
        return ""
    return f"it fills dataset {fills}, not {dataset_id}: give the dataflow another name, or delete it and connect again"


async def _fills_nothing(changes: Changes, found: Mapping[str, Json]) -> bool:
    """Return whether a dataflow this connection made fills a dataset that is gone."""
    fills = await _filled(changes.client, found) if changes.is_ours(found) else ""
    return bool(fills) and await _if_there(changes.client, f"{CATALOG}/dataSets/{fills}") is None


async def _filled(client: PlatformClient, found: Mapping[str, Json]) -> str:
    """Return the dataset a dataflow fills, empty when its target connection is gone."""
    for target_id in found.get("targetConnectionIds") or ():
        target = await _if_there(client, f"{FLOWS}/targetConnections/{target_id}")
        return str((target["items"][0].get("params") or {}).get("dataSetId") or "") if target else ""
    return ""


async def _if_there(client: PlatformClient, path: str) -> Json:
    """Return the answer to a GET, None when there is no such thing."""
    try:
        return await client.call("GET", path)
    except PlatformRefused as refusal:
        if refusal.status != 404:
            raise
        return None


async def _tidy(changes: Changes, half: Half, schema_id: str, used: str) -> None:
    """Remove mapping sets of this half that no dataflow uses any more."""
    known = [] if schema_id == NEW else await mapping_sets(changes.client, half, schema_id)
    if all(str(found["id"]) == used for found in known):
        return
    others = {mapping_of(each) for each in await listed(changes.client, "flows") if each.get("name") != half.dataflow}
    for found in known:
        if str(found["id"]) not in {used, *others}:
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
