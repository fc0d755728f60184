"""The internal flows: one for each Profile-enabled dataset, from the data lake to Profile. Source: flow-service.md 9.1.

They follow from the datasets, so nothing is stored and nobody can change them. aepp looks for them by the name of their
source connection, for example before it deletes a dataset. ASSUMPTION for ids and names.
"""

from uuid import NAMESPACE_URL, uuid5

from capstream.aep.call import Call
from capstream.aep.catalog.rules import profile_enabled
from capstream.aep.flow_service.entities import FLOWS, SOURCE_CONNECTIONS, TARGET_CONNECTIONS, FlowService, Kind
from capstream.aep.flow_service.errors import invalid, not_found
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.rules import schema_of_dataset
from capstream.aep.flow_service.shelf import Entities
from capstream.aep.flow_service.specs import DATA_LAKE, LAKE_TO_PROFILE, PROFILE_SERVICE

_LAKE = {"id": DATA_LAKE, "version": "1.0"}
_PROFILE = {"id": PROFILE_SERVICE, "version": "1.0"}


def all_of(service: FlowService, call: Call, kind: Kind) -> Entities:
    """Return the entities of one kind, the internal ones among them."""
    return service.shelf(kind).all(call.sandbox.id, lambda: _internal(service, call, kind))


def one_of(service: FlowService, call: Call, kind: Kind) -> Document:
    """Return the entity a path names, internal or not. Errors: 1439-404."""
    resource_id = call.params["id"]
    found = service.of(kind).get(call.sandbox.id, resource_id) or all_of(service, call, kind).derived(resource_id)
    if found is None:
        raise not_found(call, kind.name, resource_id)
    return found


def changeable(service: FlowService, call: Call, kind: Kind) -> Document:
    """Return the entity a path names for a change. Errors: 1439-404, 1100 for internal ones."""
    found = service.of(kind).get(call.sandbox.id, call.params["id"])
    if found is None:
        one_of(service, call, kind)
        raise invalid(call, f"{kind.name} {call.params['id']} is internal; it follows the Profile tag of its dataset")
    return found


def _internal(service: FlowService, call: Call, kind: Kind) -> dict[str, Document]:
    made = {}
    for dataset_id, dataset in service.datasets.all(call.sandbox.id).items():
        if profile_enabled(dataset):
            document = _document(call, kind, dataset_id, dataset)
            made[document["id"]] = document
    return made


def _id(call: Call, kind: Kind, dataset_id: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"capstream/{call.sandbox.id}/{dataset_id}/{kind.name}"))


def _document(call: Call, kind: Kind, dataset_id: str, dataset: Document) -> Document:
    identity = _id(call, kind, dataset_id)
    updated = int(dataset["updated"])
    etag = f'"{identity[:8]}-0000-0200-0000-{updated // 1000:08x}0000"'
    common = {
        "id": identity,
        "createdAt": dataset["created"],
        "updatedAt": updated,
        "createdBy": dataset.get("createdUser", ""),
        "updatedBy": dataset.get("updatedUser", ""),
        "createdClient": dataset.get("createdClient", ""),
        "updatedClient": dataset.get("createdClient", ""),
        "sandboxId": call.sandbox.id,
        "sandboxName": call.sandbox.name,
        "imsOrgId": call.caller.org_id,
        "state": "enabled",
        "version": etag,
        "etag": etag,
    }
    return common | _members(call, kind, dataset_id, dataset)


def _members(call: Call, kind: Kind, dataset_id: str, dataset: Document) -> Document:
    if kind is SOURCE_CONNECTIONS:
        # aepp compares this name exactly.
        return {
            "name": "Datalake Source Connection",
            "connectionSpec": _LAKE,
            "data": {"format": "parquet_xdm"},
            "params": {"dataSetId": dataset_id},
        }
    if kind is TARGET_CONNECTIONS:
        schema_id, content_type = schema_of_dataset(dataset)
        schema = {"id": schema_id, "version": content_type}
        return {"name": "Profile Target Connection", "connectionSpec": _PROFILE, "data": {"schema": schema}, "params": {}}
    source, target = _id(call, SOURCE_CONNECTIONS, dataset_id), _id(call, TARGET_CONNECTIONS, dataset_id)
    return {
        "name": f"Profile flow of {dataset['name']}",
        "flowSpec": {"id": LAKE_TO_PROFILE, "version": "1.0"},
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "inheritedAttributes": {
            "properties": {},
            "sourceConnections": [{"id": source, "connectionSpec": _LAKE}],
            "targetConnections": [{"id": target, "connectionSpec": _PROFILE}],
        },
        "transformations": [],
        "runs": f"/runs?property=flowId=={_id(call, FLOWS, dataset_id)}",
        "lastOperation": {"started": dataset["created"], "updated": dataset["updated"], "operation": "create"},
    }
